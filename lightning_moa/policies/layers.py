"""The adapted linear layer, and which layers of a model are adapted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_moa.errors import UserError
from lightning_moa.policies.steering import Steering

FOLD_LIMIT = 256 * 256
"""Largest weight (entries) whose update is added to it before it meets the activations, rather than apart."""

SMALLEST_SHARE = 4
"""Rows that a preference must have in a batch for it to be worth weights of its own."""

Factors = tuple[Tensor, Tensor]
"""A, (r, in), and B, (out, r)."""


class AdaptedLinear(nn.Module):
    """y = W0 x + B (gate(preference) * (A x)), any linear base layer: float32, bfloat16, 8-bit or 4-bit.

    The gate multiplies the activations of A, so one mechanism serves one preference for the whole batch and
    one per example. The factors are given to the constructor, since parameters that are written to after it
    are out of reach where DeepSpeed partitions them as they are made. They keep their own type over any base.
    """

    def __init__(
        self, base: nn.Linear, factors: Factors, gate: nn.Module, steering: Steering, dropout: float
    ) -> None:
        super().__init__()
        self.base = base
        self.lora_A = nn.Parameter(factors[0])
        self.lora_B = nn.Parameter(factors[1])
        self.gate = gate
        self.steering = steering
        self.dropout = nn.Dropout(dropout)
        self._held: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.steering.enabled:
            return self.base(x)
        weight = self._held if self._held is not None else self._folded(x.dtype)
        if weight is None:
            return self._apart(x)
        if weight.ndim == 2:
            return F.linear(x, weight, self.base.bias)
        # Rows are batch-major, so each preference's share of them is contiguous.
        y = torch.bmm(x.reshape(len(weight), -1, x.shape[-1]), weight).view(*x.shape[:-1], -1)
        return y if self.base.bias is None else y + self.base.bias

    def hold(self) -> None:
        """Keep the weight that the preference in force makes of the base's, where there is one, until `release`:
        for many calls without gradient in which neither changes."""
        self._held = self._folded(self.base.weight.dtype)

    def release(self) -> None:
        """Go back to a weight made at each call."""
        self._held = None

    def _apart(self, x: Tensor) -> Tensor:
        """Base and update on their own, for a layer of any type and size."""
        y = self.base(x)
        gate = self.gate(self.steering.preference)
        inner = F.linear(self.dropout(x).to(self.lora_A.dtype), self.lora_A)
        update = F.linear(_gated(inner, gate.to(inner.dtype)), self.lora_B)
        return y + update.to(y.dtype)

    def _folded(self, dtype: torch.dtype) -> Tensor | None:
        """W0 + B diag(gate) A: (out, in), or (g, in, out) for the g preferences of a batch's shares. None where it
        may not stand in for the two paths."""
        if not self.steering.enabled or not self._folds(dtype):
            return None
        preference, distinct = self.steering.preference, self.steering.distinct()
        gate = self.gate(distinct)
        # A gate that knows no preference makes one weight, whatever the rows are asked for.
        if preference is None or gate.ndim == 1:
            return torch.addmm(self.base.weight, self.lora_B * gate, self.lora_A)
        if len(preference) < SMALLEST_SHARE * len(gate):
            return None
        # Contiguous as (g, in, out), which `bmm` reads three times as fast as the transpose.
        gated, up = self.lora_A.T * gate[:, None], self.lora_B.T.expand(len(gate), -1, -1)
        return torch.baddbmm(self.base.weight.T, gated, up)

    def delta(self) -> Tensor:
        """The update B diag(gate) A at the preference (m,) in force, (out, in), float32."""
        gate = self.gate(self.steering.preference).float()
        return (self.lora_B.float() * gate) @ self.lora_A.float()

    def _folds(self, dtype: torch.dtype) -> bool:
        """Whether W0 + B diag(gate) A may stand in for the two paths: same result up to rounding, and a small
        layer is a fifth faster, and three times with several preferences. Not in reduced precision, where the sum
        would swallow small updates."""
        weight = self.base.weight
        return (
            weight.dtype == self.lora_A.dtype == dtype == torch.float32
            # Also false for a quantised (packed) and for a partitioned (empty) weight.
            and weight.shape == (self.base.out_features, self.base.in_features)
            and weight.numel() <= FOLD_LIMIT
            and not (self.training and self.dropout.p > 0)
            and not torch.is_autocast_enabled(weight.device.type)
        )


def _gated(inner: Tensor, gate: Tensor) -> Tensor:
    """inner (batch, ..., r) or (batch * time, r) times the gate, (r,) or (batch, r).

    Some models (OPT) flatten batch and time for their feed-forward layers; rows are batch-major in both
    forms.
    """
    if gate.ndim == 1:
        return inner * gate
    return (inner.reshape(len(gate), -1, gate.shape[-1]) * gate[:, None]).reshape(inner.shape)


def resolve_targets(model: nn.Module, targets: str | Sequence[str]) -> list[str]:
    """Qualified names of the linear layers to adapt.

    Args:
        model: a transformers causal language model.
        targets: "all-linear-and-head"; "all-linear", which leaves out the output head; any other text, which
            takes each linear layer whose qualified name contains it (Panacea: "layers."); several such texts,
            "[q_proj,v_proj]" or a sequence of them; or the names themselves.

    Raises:
        UserError: nothing matches, or one of several texts matches nothing.
    """
    linears = [name for name, module in model.named_modules() if is_linear(module)]
    head = output_name(model)
    if not isinstance(targets, str):
        return _named(model, linears, list(targets))
    if targets.startswith("["):
        return _named(model, linears, [each.strip() for each in targets.strip("[]").split(",")])
    body = [name for name in linears if name != head]
    if targets.startswith("all-linear") and not body:
        raise UserError(
            f"targets={targets}: {type(model).__name__} has no linear layers below its output head"
        )
    named = {"all-linear-and-head": linears, "all-linear": body}
    return named[targets] if targets in named else _named(model, linears, [targets])


def _named(model: nn.Module, linears: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The layers that bear one of the names, or whose names contain one of the texts, in the model's order."""
    if set(texts) <= set(linears) and texts:
        return list(texts)
    for text in texts or [""]:
        if not text or not any(text in name for name in linears):
            raise UserError(
                f"targets: no linear layer's name of {type(model).__name__} contains {text!r}; allowed are "
                f"all-linear-and-head, all-linear, or parts of names such as {', '.join(linears[:2])}"
            )
    return [name for name in linears if any(text in name for text in texts)]


def is_linear(module: nn.Module | None) -> bool:
    """Whether a module is a linear layer: torch's, or GPT-2's, which holds its weight the other way round."""
    return isinstance(module, nn.Linear) or _is_transposed(module)


def output_name(model: Any) -> str | None:
    """The qualified name of a model's output head, whatever it is called; None where it has none."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return None if head is None else next(name for name, module in model.named_modules() if module is head)


def _is_transposed(module: nn.Module | None) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def as_linear(module: Any) -> nn.Linear:
    """The layer itself, or a linear one that shares the weights of one of GPT-2's (and remembers it)."""
    if not _is_transposed(module):
        return module
    rows, columns = module.weight.shape
    linear = nn.Linear(rows, columns, device="meta")
    linear.weight = nn.Parameter(module.weight.T, requires_grad=False)
    linear.bias = module.bias
    # Past `__setattr__`, which would make its weights part of the model a second time.
    linear.__dict__["shared_with"] = module
    return linear


def _as_it_was(linear: nn.Linear) -> nn.Module:
    """The layer that `as_linear` was given, with the weights that the linear one has now."""
    module: Any = linear.__dict__.get("shared_with")
    if module is None:
        return linear
    module.weight = nn.Parameter(
        linear.weight.detach().T.contiguous(), requires_grad=linear.weight.requires_grad
    )
    module.bias = linear.bias
    return module


def inject(model: nn.Module, targets: Sequence[str], make: Callable[[str, nn.Linear], AdaptedLinear]) -> None:
    """Put `make(name, linear)` in the place of each target. The base's parameters are frozen.

    Raises:
        UserError: the model is adapted already.
    """
    if any(isinstance(module, AdaptedLinear) for module in model.modules()):
        raise UserError("this model carries an adapter already: call the former policy's unload() first")
    model.requires_grad_(False)
    for name in targets:
        model.set_submodule(name, make(name, as_linear(model.get_submodule(name))))


def eject(model: nn.Module) -> None:
    """Put the base layers back in the place of the adapted ones."""
    for name, module in list(model.named_modules()):
        if isinstance(module, AdaptedLinear):
            model.set_submodule(name, _as_it_was(module.base))


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """The adapted layers by their qualified names."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


def normal(rows: int, columns: int, std: float, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """(rows, columns) float32 drawn from N(0, std^2) on the CPU, so that a seed means the same on every
    device. On the meta device, which has no numbers, none are drawn."""
    if like.is_meta:
        return torch.empty(rows, columns, device="meta")
    return (torch.randn(rows, columns, generator=generator) * std).to(like.device)
