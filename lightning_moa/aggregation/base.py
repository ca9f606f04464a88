"""The form that every aggregator has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor


class Aggregator(Protocol):
    """m losses to one scalar whose gradient is the update."""

    def __call__(self, losses: Tensor, preference: Tensor, parameters: Sequence[Tensor] = ()) -> Tensor:
        """Aggregate.

        Args:
            losses: (m,) or (g, m), to minimise (the negatives of the objectives).
            preference: of the same shape, each row on the simplex.
            parameters: the trained parameters, for aggregators that look at gradients.

        Returns:
            A scalar to minimise.
        """
        ...


class Run(Protocol):
    """What an aggregator is built from, by a classmethod `build(run)` where its class has one; else its constructor
    gets `options`."""

    @property
    def m(self) -> int:
        """Number of objectives."""
        ...

    @property
    def seed(self) -> int: ...

    @property
    def stage(self) -> int:
        """0; from 1 on where an earlier training is gone on with."""
        ...

    @property
    def accumulate(self) -> int:
        """Batches of an update."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """What the method says of it besides its settings."""
        ...

    def section(self, name: str) -> Any:
        """The settings of one of its sections, as its dataclass."""
        ...
