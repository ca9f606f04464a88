"""For which preferences a method's policies are trained. Light: no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.pareto import check_preference, preference_grid

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class TrainedOn:
    """The preferences that a method trains a policy for each of; made by one of the functions below."""

    kind: str
    rows: Rows = ()
    objective: int = 0

    @staticmethod
    def sampled() -> TrainedOn:
        """One policy; preferences are drawn, or none is needed."""
        return TrainedOn("sampled")

    @staticmethod
    def corners() -> TrainedOn:
        """A policy for each objective alone."""
        return TrainedOn("corners")

    @staticmethod
    def corner(objective: int) -> TrainedOn:
        """One policy, for one objective alone, by its place among them."""
        if objective < 0:
            raise UserError(f"TrainedOn.corner({objective}): an objective's place, from 0, is expected")
        return TrainedOn("corner", objective=objective)

    @staticmethod
    def centre() -> TrainedOn:
        """One policy, for equal weights."""
        return TrainedOn("centre")

    @staticmethod
    def grid() -> TrainedOn:
        """A policy for each point of the grid that policies are measured on."""
        return TrainedOn("grid")

    @staticmethod
    def interior() -> TrainedOn:
        """A policy for each of these points without a zero."""
        return TrainedOn("interior")

    @staticmethod
    def given(preferences: Any) -> TrainedOn:
        """A policy for each of these preferences, (n, m), n >= 1.

        Raises:
            UserError: none, or one that is off the simplex.
        """
        rows = as_rows(preferences)
        if not rows or not rows[0]:
            raise UserError("TrainedOn.given: one or more preferences are needed")
        for row in rows:
            check_preference(row, len(rows[0]))
        return TrainedOn("given", rows=rows)

    @property
    def one_policy(self) -> bool:
        """Whether a single policy is trained, whatever the number of objectives."""
        return self.kind in ("sampled", "corner", "centre") or len(self.rows) == 1

    def preferences(self, m: int, step: float) -> list[list[float] | None]:
        """One for each policy; None is a policy for all.

        Args:
            m: number of objectives.
            step: spacing of the grid that policies are measured on.

        Raises:
            UserError: nothing is left to train for, or preferences of another number of objectives.
        """
        if self.kind == "sampled":
            return [None]
        grid = preference_grid(m, step)
        rows = {
            "corners": np.eye(m),
            "grid": grid,
            "interior": grid[(grid > 0).all(axis=1)],
            "centre": np.full((1, m), 1 / m),
            "corner": np.eye(m)[self.objective : self.objective + 1],
            "given": np.array(self.rows),
        }[self.kind]
        if not len(rows):
            inside = f", which takes evaluation.grid_step=1/{m} or less" if self.kind == "interior" else ""
            raise UserError(
                f"TrainedOn.{self.kind}: no preference of {m} objectives is left to train for{inside}"
            )
        if rows.shape[1] != m:
            raise UserError(f"TrainedOn.given: preferences of {rows.shape[1]} objectives; the study has {m}")
        return [[float(value) for value in row] for row in rows]


def as_rows(preferences: Sequence[Sequence[float]] | np.ndarray) -> Rows:
    """Preferences (n, m) as hashable rows.

    Raises:
        UserError: something else.
    """
    try:
        return tuple(tuple(float(value) for value in row) for row in preferences)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"preferences={preferences}: rows of numbers are expected, such as [[1, 0], [0, 1]]"
        ) from error
