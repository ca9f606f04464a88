"""Rewarded Soups: the policies' updates are interpolated by the preference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_moa.deployments.base import Deployed, Deployment, Load, Trained
from lightning_moa.deployments.trained_on import TrainedOn
from lightning_moa.errors import UserError


@dataclass(frozen=True)
class Soup(Deployment):
    """delta W = sum_i lambda_i delta W_i (Rame et al., 2023), for each preference of the grid."""

    def check(self, trained_on: TrainedOn) -> None:
        if trained_on.kind not in ("corners", "given"):
            raise UserError(
                f"Soup needs a policy for each objective: TrainedOn.corners, or as many as given; not "
                f"TrainedOn.{trained_on.kind}"
            )
        if any(len(row) != len(trained_on.rows) for row in trained_on.rows):
            raise UserError(
                f"Soup needs a policy for each objective: {len(trained_on.rows)} preferences of "
                f"{len(trained_on.rows[0])} objectives are given"
            )

        for i, row in enumerate(trained_on.rows):
            if any(row[i] <= weight for j, weight in enumerate(row) if j != i):
                raise UserError(
                    f"Soup mixes policy i in by weight i: preference {i} of those given, {list(row)}, needs its "
                    f"largest weight on objective {i}"
                )

    def policies(self, trained: Trained) -> Iterator[Deployed]:
        yield Deployed("soup", trained.soup(), trained.grid)

    def load(self, grid: int, policies: int, members: int) -> Load:
        return Load(grid=grid, passes=grid, held=policies)
