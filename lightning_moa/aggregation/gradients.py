"""What every aggregator that looks at the objectives' own gradients shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_moa.errors import BrokenContract, NotFinite, UserError
from lightning_moa.processes import full_size, summed, together, world_size


def gradients(losses: Tensor, tensors: Sequence[Tensor], *, keep: bool = True) -> list[Tensor]:
    """The gradient of each loss with respect to each tensor.

    Where several processes train one policy, the gradients of parameters, which all of them share, are averaged: no
    hook does it for `torch.autograd.grad`. Those of activations belong to a process's own rows and stay as they are.

    Args:
        losses: (m,).
        tensors: n of them, which the losses hang on.
        keep: leave the graph in place for a backward pass to come.

    Returns:
        n tensors (m, size of the tensor), in the tensors' own types.

    Raises:
        UserError: the losses hang on none of the tensors.
    """
    return _gradients(losses, tensors, keep)[0]


def _gradients(
    losses: Tensor, tensors: Sequence[Tensor], keep: bool = True
) -> tuple[list[Tensor], list[bool]]:
    """The same, and which tensors any loss hangs on."""
    rows: list[list[Tensor]] = [[] for _ in tensors]
    reached = [False] * len(tensors)
    for loss in losses:
        found = torch.autograd.grad(loss, list(tensors), retain_graph=keep, allow_unused=True)
        for i, (tensor, gradient) in enumerate(zip(tensors, found, strict=True)):
            reached[i] |= gradient is not None
            rows[i].append(tensor.new_zeros(full_size(tensor)) if gradient is None else gradient.flatten())
    if not any(reached):
        raise UserError(
            "the losses do not hang on the probed tensors: is their policy the one that is trained?"
        )
    stacked = [torch.stack(row) for row in rows]
    for each, tensor in zip(stacked, tensors, strict=True):
        if together() and tensor.is_leaf:
            torch.distributed.all_reduce(each)
            each /= world_size()
    return stacked, reached


def gramian(stacked: Sequence[Tensor], tensors: Sequence[Tensor]) -> np.ndarray:
    """(m, m) float64 inner products <g_i, g_j> of the gradients that `gradients` gave for these tensors.

    Of the loss on all processes' rows together: what a process's own activations add is summed over processes, each
    of whose losses counts for an equal share of the whole.
    """
    parts = {True: torch.zeros(0), False: torch.zeros(0)}
    for each, tensor in zip(stacked, tensors, strict=True):
        # One tensor at a time in double precision: inner products of long vectors that nearly cancel.
        wide = each.double()
        product = wide @ wide.T
        seen = parts[tensor.is_leaf]
        parts[tensor.is_leaf] = product if not len(seen) else seen + product.to(seen.device)
    if len(parts[False]) and together():
        parts[False] = summed(parts[False]) / world_size() ** 2
    return np.sum([part.cpu().numpy() for part in parts.values() if len(part)], axis=0)


class _Known(torch.autograd.Function):
    """A number whose gradient in some tensors is known: nothing else is gone back through."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, found: Sequence[Tensor | None], *tensors: Tensor) -> Tensor:
        ctx.found = found
        return total.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(None if each is None else upstream.to(each) * each for each in ctx.found)


class GradientAggregator(ABC):
    """Finds weights from the Gramian of the objectives' gradients: the update is along sum_i weights_i g_i.

    The gradients are those of the probed tensors, the `parameters` of a call (see `policies.Probe`). The scalar that
    is returned holds the weights as constants, so that one ordinary backward pass makes the update.

    Attributes:
        whole: the probed tensors are all that the losses train, and in this process alone. Then the update is known
            when the weights are, and the backward pass of what is returned ends at once. `Alignment` says so.
    """

    whole = False

    looks_at_gradients = True
    """By which a study knows that it needs probed tensors."""
    of_each = True
    """By which it knows that each objective must have a loss of its own."""
    looks_at_preference = True
    """Whether the weights hang on the preference."""

    def __init__(self) -> None:
        self._logs: dict[str, float] = {}

    def __call__(self, losses: Tensor, preference: Tensor, parameters: Sequence[Tensor] = ()) -> Tensor:
        """sum_i weights_i L_i of losses (m,), or of (g, m) averaged over groups.

        Raises:
            UserError: there is nothing to take gradients of, or a gradient is not finite (`NotFinite`).
        """
        if not len(parameters):
            raise UserError(f"{type(self).__name__} needs probed tensors: its product's `probe` is empty")
        if losses.shape[-1] != preference.shape[-1]:
            raise UserError(
                f"{type(self).__name__}: {losses.shape[-1]} loss for {preference.shape[-1]} objectives, each needs one "
                "of its own; with PPO, ppo.weigh=surrogates keeps them apart"
            )
        each = losses if losses.ndim == 1 else losses.mean(0)
        stacked, reached = _gradients(each, parameters)
        total = self.weighted(losses, preference, gramian(stacked, parameters))
        # Of several preferences each has weights of its own, and the gradients are those of their mean.
        if not self.whole or losses.ndim != 1:
            return total
        (weights,) = torch.autograd.grad(total, losses, retain_graph=True)
        found = [
            (weights.to(rows) @ rows).view_as(tensor) if there else None
            for rows, tensor, there in zip(stacked, parameters, reached, strict=True)
        ]
        known: Tensor = _Known.apply(total.detach(), found, *parameters)
        return known

    def weighted(self, losses: Tensor, preference: Tensor, gramian: np.ndarray) -> Tensor:
        """The same of a Gramian (m, m) that is known already: of gradients that were taken of other forward passes."""
        if not np.isfinite(gramian).all():
            raise NotFinite(f"{type(self).__name__}: a gradient is not finite")
        known = preference.detach().double().cpu().numpy()
        weights = self._checked(self.solve(gramian, known), known)
        self._log(gramian, weights if weights.ndim == 1 else weights.mean(0))
        return (torch.from_numpy(weights).to(losses) * losses).sum(-1).mean()

    def _checked(self, found: Any, preference: np.ndarray) -> np.ndarray:
        """What `solve` gave, as numbers of a shape that it may have: another would be broadcast over the losses."""
        shapes = list(dict.fromkeys([preference.shape[-1:], preference.shape]))
        came = type(found).__name__
        try:
            weights = np.asarray(
                found.detach().cpu() if isinstance(found, Tensor) else found, dtype=np.float64
            )
            came = str(weights.shape)
        except (TypeError, ValueError):
            weights = np.array(np.nan)
        if weights.shape not in shapes:
            allowed = " or ".join(map(str, shapes))
            raise BrokenContract(
                f"{type(self).__name__}.solve: weights of shape {allowed} are expected, {came} came"
            )
        return weights

    @abstractmethod
    def solve(self, gramian: np.ndarray, preference: np.ndarray) -> np.ndarray:
        """The weights of the gradients.

        Args:
            gramian: (m, m) float64 inner products of the losses' gradients.
            preference: (m,), or (g, m) for g preferences a batch.

        Returns:
            (m,), or (g, m) where the preference enters; each at least 0, where the method does not say otherwise.
        """

    def logs(self) -> dict[str, float]:
        """Of the last update, on the probed tensors: each objective's weight and gradient norm."""
        return self._logs

    def _log(self, gramian: np.ndarray, weights: np.ndarray) -> None:
        norms = np.sqrt(np.diag(gramian))
        self._logs = {f"weight_{i}": float(weight) for i, weight in enumerate(weights)}
        self._logs |= {f"gradient_norm_{i}": float(norm) for i, norm in enumerate(norms)}
