"""Several policies on one backbone: an output head each (HaM)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from lightning_moa.answers import Sections
from lightning_moa.errors import UserError
from lightning_moa.policies.base import Policy
from lightning_moa.policies.files import PolicyRun
from lightning_moa.policies.head_bank import Choice, FullHead, HeadBank, LowRankHead
from lightning_moa.policies.layers import Factors, resolve_targets
from lightning_moa.policies.lora import LoRA
from lightning_moa.policies.model import as_model
from lightning_moa.policies.settings import AdapterConfig, HeadsConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Heads(LoRA):
    """K policies that share a backbone with LoRA; policy k has the output head theta_k (HaM, Section 3.5).

    With several heads it is not a policy to sample from itself: `head(k)` is one, and `head_logps` gives the log-probs
    under all of them from one pass. All start exactly as the reference, unless `jitter` is given. Heads that are equal
    tie in whatever compares them; a maximum then passes its gradient to one of them alone.

    Args:
        model: a transformers causal language model, changed in place; or its hub id or folder. Its token embedding
            stays as it is, where it was tied to the output head too.
        heads: K.
        rank: of the backbone's LoRA.
        scaling: factor on the backbone's update (peft's lora_alpha / r).
        targets: which linear layers of the backbone are adapted, as `resolve_targets` takes them.
        head_rank: None gives each policy a full head, vocabulary x d, as in the paper; a number r an update B_k A_k of
            rank r on the model's own head, so that many heads fit beside a large vocabulary.
        dropout: on the input of all adapters, low-rank heads included, in training.
        jitter: standard deviation of noise on each head at the start (on B_k where it is low-rank), which sets heads
            apart from one another; a single head has none.
        seed: of all first values; None draws them from torch's global generator.

    Raises:
        UserError: a number out of range, targets that take in the output head, or a model whose output head is no
            linear layer in floating point.
    """

    sections: ClassVar[Sections] = {"adapter": AdapterConfig, "heads": HeadsConfig}
    linear_in = ("heads", "number")
    logits_of_responses = True
    may_be_several = True

    @classmethod
    def build(cls, run: PolicyRun) -> Self:
        adapter: AdapterConfig = run.section("adapter")
        heads: HeadsConfig = run.section("heads")
        adapter.check_plain("Heads")
        given = {
            "heads": heads.number,
            "rank": adapter.rank,
            "head_rank": heads.rank,
            "jitter": heads.jitter,
            "scaling": adapter.scaling,
            "targets": adapter.targets,
            "dropout": adapter.dropout,
            "seed": run.seed,
        }
        return cls(run.model, **{**given, **run.options})

    def __init__(
        self,
        model: PreTrainedModel | str | Path,
        heads: int = 5,
        rank: int = 64,
        *,
        scaling: float = 2.0,
        targets: str | Sequence[str] = "all-linear",
        head_rank: int | None = None,
        dropout: float = 0.0,
        jitter: float = 0.0,
        seed: int | None = None,
    ) -> None:
        _check_sizes(heads, head_rank, jitter)
        model = as_model(model)
        place, base = output_head(model)
        # Resolved here, so that a refusal leaves the model as it was.
        named = resolve_targets(model, targets)
        if place in named:
            raise UserError(f"targets take in the output head, {place}: the heads stand in its place")
        super().__init__(model, rank, scaling=scaling, targets=named, dropout=dropout, seed=seed)
        self.heads = self.several = heads
        self._options |= {"heads": heads, "head_rank": head_rank, "jitter": jitter}
        self.choice = Choice()
        if heads == 1:
            self.choice.head = 0
        self._place = place
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        noise = jitter if heads > 1 else 0.0

        def make() -> nn.Module:
            if head_rank is None:
                return FullHead(base, noise, generator)
            return LowRankHead(base, head_rank, self.steering, dropout, noise, generator)

        model.set_submodule(place, HeadBank(base, [make() for _ in range(heads)], self.steering, self.choice))

    @property
    def bank(self) -> HeadBank:
        """The heads' modules."""
        return self.model.get_submodule(self._place)  # type: ignore[return-value]

    def head(self, k: int) -> HeadPolicy:
        """Policy k, 0 <= k < K: a view, no weight is copied."""
        return HeadPolicy(self, self._checked_head(k))

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What all heads see, (batch, time, d), from one pass of the backbone; arguments as for `forward`.

        Raises:
            UserError: inside `reference()`, where there is but one head, the model's own; or a model that does more
                to its logits than its output head does.
        """
        if not self.steering.enabled:
            raise UserError("inside reference() all heads are the model's own: ask for response_logps there")
        with self.choice.watching() as seen:
            logits = self.run(input_ids, attention_mask).logits
        # The same values, if not the same object: what watches a module's calls may wrap what it gives.
        if logits.data_ptr() != seen[0].data_ptr() or logits.shape != seen[0].shape:
            raise UserError(
                f"{type(self.model).__name__} changes its logits after the output head; heads do not know how"
            )
        hidden: Tensor = logits
        return hidden

    def trained_state(self) -> dict[str, Tensor]:
        """The backbone's adapters, as in `AdapterPolicy`, and `<output head>.heads.<k>.<tensor>` of each head."""
        return super().trained_state() | {
            f"{self._place}.heads.{name}": value
            for name, value in self.bank.heads.state_dict().items()
            if ".base." not in name
        }

    def factors(self) -> dict[str, Factors]:
        """Not of heads, which no update of the adapted layers alone makes up."""
        raise UserError("a soup's members have the base's output head; this Heads has heads of its own")

    def members(self) -> list[tuple[str, Policy]]:
        return [(f"head {k}", self.head(k)) for k in range(self.heads)]

    def unload(self) -> PreTrainedModel:
        self.model.set_submodule(self._place, self.bank.base)
        return super().unload()

    def merge(self, preference: Tensor | None = None) -> PreTrainedModel:
        """Of a single head, as `merge_head` gives it."""
        with self.fixed(preference):
            return self.merge_head(self.choice.head or 0)

    def merge_head(self, k: int) -> PreTrainedModel:
        """Policy k as a plain transformers model, a deep copy, its output head untied from the token embedding."""
        bank, chosen = self.bank, self._checked_head(k)
        # The copy is made without the heads, which may be larger than all the rest.
        self.model.set_submodule(self._place, bank.base)
        try:
            with self.choice.using(chosen):
                model = super().merge()
        finally:
            self.model.set_submodule(self._place, bank)
        weight, bias = bank.heads[chosen].merged()  # type: ignore[operator]
        plain: nn.Linear = model.get_submodule(self._place)  # type: ignore[assignment]
        plain.weight = nn.Parameter(weight.detach().to(torch.float32, copy=True))
        if bias is not None:
            plain.bias = nn.Parameter(bias.detach().to(torch.float32, copy=True))
        model.config.tie_word_embeddings = False
        return model

    @contextmanager
    def fixed(self, preference: Tensor | None) -> Iterator[None]:
        if self.choice.head is None:
            raise UserError(f"a policy of {self.heads} heads is {self.heads} models: take merge_head(k)")
        with super().fixed(preference):
            yield

    def export(self, preference: Tensor | None, folder: str | Path) -> None:
        """Not for heads, which a LoRA file cannot hold: save `merge_head(k)`, a whole model, instead."""
        raise UserError(
            "export: a LoRA cannot hold an output head; save_model(merge_head(k)) writes policy k"
        )

    def _checked_head(self, k: int) -> int:
        if not 0 <= k < self.heads:
            raise UserError(f"head {k}: allowed are 0 to {self.heads - 1}")
        return k


class HeadPolicy(Policy):
    """One of the policies of `Heads`, which owns its weights; training one changes the backbone of all.

    Args:
        policy: which owns it.
        index: k.
    """

    policy: Heads

    def __init__(self, policy: Heads, index: int) -> None:
        super().__init__(policy.model)
        # Not as a submodule: its parameters are here already, by the model.
        object.__setattr__(self, "policy", policy)
        self.index = index

    @contextmanager
    def steered(self, preference: Tensor | None, batch_size: int | None = None) -> Iterator[None]:
        with self.policy.choice.using(self.index):
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        with self.policy.held():
            yield

    @contextmanager
    def reference(self) -> Iterator[None]:
        with self.policy.reference():
            yield

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Those of the backbone and of this head."""
        heads = self.policy.bank.heads
        others = {id(p) for k, head in enumerate(heads) if k != self.index for p in head.parameters()}
        return [p for p in self.policy.trainable_parameters() if id(p) not in others]

    def merge(self, preference: Tensor | None = None) -> PreTrainedModel:
        """A plain transformers model, as `Heads.merge_head` gives it; a preference steers nothing."""
        return self.policy.merge_head(self.index)

    def _checkpointing(self) -> dict[str, object]:
        return self.policy._checkpointing()


def output_head(model: PreTrainedModel) -> tuple[str, nn.Linear]:
    """A model's own output head and its qualified name.

    Raises:
        UserError: there is none, or it is no linear layer in floating point.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or not head.weight.is_floating_point():
        raise UserError(
            f"{type(model).__name__}: its output head is no linear layer in floating point, which heads build on"
        )
    return next(name for name, module in model.named_modules() if module is head), head


def _check_sizes(heads: int, head_rank: int | None, jitter: float) -> None:
    if heads < 1:
        raise UserError(f"heads={heads}: must be at least 1")
    if head_rank is not None and head_rank < 1:
        raise UserError(f"head_rank={head_rank}: must be at least 1, or none for full heads")
    if not jitter >= 0:
        raise UserError(f"jitter={jitter}: must be at least 0")
