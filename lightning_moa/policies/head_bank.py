"""Several output heads in the place of a model's own one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_moa.errors import UserError
from lightning_moa.policies.gates import PlainGate
from lightning_moa.policies.layers import AdaptedLinear, normal
from lightning_moa.policies.steering import Steering


class Terms(NamedTuple):
    """What a head makes of hidden states (tokens, d): its logits are hidden weight' + bias + inner up'."""

    weight: Tensor
    """(vocabulary, d)"""
    bias: Tensor | None
    """(vocabulary,)"""
    inner: Tensor | None = None
    """(tokens, r), made of the hidden states."""
    up: Tensor | None = None
    """(vocabulary, r)"""


class Head(Protocol):
    """An output head that is trained; besides these it is a module that maps hidden states to logits."""

    def terms(self, hidden: Tensor) -> Terms:
        """What its logits of hidden states (tokens, d) are made of, for those who form them bit by bit."""
        ...

    def merged(self) -> tuple[Tensor, Tensor | None]:
        """Weight (vocabulary, d) and bias (vocabulary,) of the one linear layer that it amounts to."""
        ...


class FullHead(nn.Module):
    """A head with a weight and a bias of its own, theta_k of HaM's Section 3.5.

    They are kept in float32 at least, so that small steps are not lost, and used in the type of the hidden states.
    """

    def __init__(self, base: nn.Linear, jitter: float, generator: torch.Generator | None) -> None:
        super().__init__()
        weight = _copy(base.weight)
        if jitter:
            weight += normal(len(weight), weight.shape[1], jitter, weight, generator)
        self.weight = nn.Parameter(weight)
        self.bias = None if base.bias is None else nn.Parameter(_copy(base.bias))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

    def terms(self, hidden: Tensor) -> Terms:
        return Terms(self.weight, self.bias)

    def merged(self) -> tuple[Tensor, Tensor | None]:
        return self.weight, self.bias


class LowRankHead(AdaptedLinear):
    """W0 + B_k A_k on the model's own head W0, which stays frozen and is shared. A bias is the model's own."""

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        steering: Steering,
        dropout: float,
        jitter: float,
        generator: torch.Generator | None,
    ) -> None:
        like = base.weight
        a = normal(rank, base.in_features, base.in_features**-0.5, like, generator)
        b = torch.zeros(base.out_features, rank, device=like.device)
        if jitter:
            b = normal(base.out_features, rank, jitter, like, generator)
        super().__init__(base, (a, b), PlainGate(rank, 1.0), steering, dropout)

    def terms(self, hidden: Tensor) -> Terms:
        inner = F.linear(self.dropout(hidden).to(self.lora_A.dtype), self.lora_A)
        return Terms(self.base.weight, self.base.bias, inner, self.lora_B)

    def merged(self) -> tuple[Tensor, Tensor | None]:
        return self.base.weight.float() + self.delta(), self.base.bias


class Choice:
    """Which of its heads a bank answers with, as `Steering` says how the adapters do.

    Attributes:
        head: index of the head in force; None before one is chosen.
        seen: where the bank leaves the hidden states that reach it, unchanged, instead of logits; None: logits.
    """

    def __init__(self) -> None:
        self.head: int | None = None
        self.seen: list[Tensor] | None = None

    @contextmanager
    def using(self, head: int) -> Iterator[None]:
        """Answer with this head inside the block, and with the former one after it."""
        former, self.head = self.head, head
        try:
            yield
        finally:
            self.head = former

    @contextmanager
    def watching(self) -> Iterator[list[Tensor]]:
        """Let hidden states through inside the block; the list given takes them."""
        self.seen = []
        try:
            yield self.seen
        finally:
            self.seen = None


class HeadBank(nn.Module):
    """K heads in the place of a model's output head: the chosen one answers, or the model's own in the reference.

    It sees what the model's own head would see, so everything before it, such as OPT's `project_out`, is shared.
    """

    gathered_whole = True
    """Where weights are shared out among processes, a call of this module needs those of all its children."""

    def __init__(
        self, base: nn.Linear, heads: Sequence[nn.Module], steering: Steering, choice: Choice
    ) -> None:
        super().__init__()
        self.base = base
        self.heads = nn.ModuleList(heads)
        self.steering = steering
        self.choice = choice

    def forward(self, x: Tensor, ask: Callable[[Sequence[Head]], Tensor] | None = None) -> Tensor:
        """The logits of hidden states x; or what `ask` makes of all heads, here, where their weights are whole."""
        if ask is not None:
            return ask(list(self.heads))  # type: ignore[arg-type]
        if self.choice.seen is not None:
            # Contiguous, so that a model that wants its logits so hands this very tensor on.
            x = x.contiguous()
            self.choice.seen.append(x)
            return x
        if not self.steering.enabled:
            return self.base(x)
        if self.choice.head is None:
            raise UserError(
                f"a policy of {len(self.heads)} heads is {len(self.heads)} policies: take one with head(k)"
            )
        logits: Tensor = self.heads[self.choice.head](x)
        return logits


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True)
