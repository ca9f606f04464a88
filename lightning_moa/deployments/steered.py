"""One policy that takes the preference (Panacea)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_moa.deployments.base import Deployed, Deployment, Load, Trained, need_one
from lightning_moa.deployments.trained_on import TrainedOn


@dataclass(frozen=True)
class Steered(Deployment):
    """The policy is asked for each preference of the grid, at the end and at each step at which it was saved."""

    def check(self, trained_on: TrainedOn) -> None:
        need_one(self, trained_on)

    def policies(self, trained: Trained) -> Iterator[Deployed]:
        for step in (*trained.snapshots(), None):
            policy = trained.load(step=step)
            yield Deployed("steered", policy, trained.grid, step)
            policy.unload()

    def load(self, grid: int, policies: int, members: int) -> Load:
        return Load(grid=grid, passes=grid)
