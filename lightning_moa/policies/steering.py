"""The preference that a policy's layers are steered by, and the checks that it must pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from lightning_moa.errors import UserError

TOLERANCE = 1e-4
"""How far a preference's sum may be from 1."""


class Steering:
    """What all adapted layers of one policy read in a forward pass.

    Attributes:
        preference: (m,) for the whole batch or (batch, m), one per example; None before one is set.
        enabled: False turns the adapters off, which leaves the base model.
    """

    def __init__(self) -> None:
        self.preference: Tensor | None = None
        self.enabled = True
        self._shares: tuple[Tensor, Tensor] | None = None

    def distinct(self) -> Tensor | None:
        """The preference without repetition: (g, m) where the batch falls into g equal, contiguous shares of one
        preference each, as it does on a grid of preferences; (m,) and None as they are."""
        preference = self.preference
        if preference is None or preference.ndim == 1:
            return preference
        if self._shares is None or self._shares[0] is not preference:
            counts = torch.unique_consecutive(preference, dim=0, return_counts=True)[1]
            self._shares = preference, preference[:: math.gcd(*counts.tolist())]
        return self._shares[1]

    @contextmanager
    def using(self, preference: Tensor | None, enabled: bool = True) -> Iterator[None]:
        """Use this state inside the block, and put back the former one after it."""
        former = self.preference, self.enabled
        self.preference, self.enabled = preference, enabled
        try:
            yield
        finally:
            self.preference, self.enabled = former

    def remember(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """The two contexts of `torch.utils.checkpoint`: a layer recomputed in the backward pass is steered as
        it was in its forward pass, whatever the policy was used for in between."""
        preference, enabled = self.preference, self.enabled
        return nullcontext(), _Again(lambda: self.using(preference, enabled))


class _Again(AbstractContextManager[None]):
    """A context that may be entered one time after another: where several gradients are taken of one forward pass, a
    layer is recomputed for each."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make
        self._entered: AbstractContextManager[None] | None = None

    def __enter__(self) -> None:
        self._entered = self._make()
        self._entered.__enter__()

    def __exit__(self, *raised: Any) -> None:
        if self._entered is not None:
            self._entered.__exit__(*raised)


def of_rows(preference: Tensor | None, rows: Tensor) -> Tensor | None:
    """Those of some rows of a batch: of a preference (m,) for all rows it itself, wherever either lies."""
    if preference is None or preference.ndim == 1:
        return preference
    return preference[rows.to(preference.device)]


def check_preference(preference: Tensor, m: int, batch_size: int | None = None) -> Tensor:
    """A preference as float32, without gradient.

    Args:
        preference: (m,) or (batch, m), each row on the simplex.
        m: number of objectives.
        batch_size: rows of the batch that it is for; None where that is not known yet.

    Raises:
        UserError: another shape, a negative or not finite value, or a row that does not sum to 1.
    """
    shape = tuple(preference.shape)
    if len(shape) not in (1, 2) or shape[-1] != m:
        raise UserError(f"preference of shape {shape}: allowed are ({m},) and (batch, {m})")
    if len(shape) == 2 and batch_size is not None and shape[0] != batch_size:
        raise UserError(
            f"preference of shape {shape} for a batch of {batch_size} rows: one row each is needed"
        )
    value = preference.detach().to(torch.float32)
    # Written so that NaN fails it.
    on_simplex = (value >= 0).all() & ((value.sum(-1) - 1).abs() <= TOLERANCE).all()
    if not bool(on_simplex):
        rows = value.reshape(-1, m)
        bad = ~((rows >= 0).all(-1) & ((rows.sum(-1) - 1).abs() <= TOLERANCE))
        worst = [round(entry, 6) for entry in rows[bad][0].tolist()]
        raise UserError(
            f"preference {worst}: its {m} values must be at least 0 and sum to 1 (within {TOLERANCE:g})"
        )
    return value
