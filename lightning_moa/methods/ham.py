"""HaM (Mukherjee et al., 2024): K policies at once, by the hypervolume of their objectives.

Policy: heads on one backbone. Objective: reward-weighted likelihood. Aggregation: hypervolume.
"""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from lightning_moa.aggregation import volume
from lightning_moa.data.stepping import StepData
from lightning_moa.errors import UserError
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.head_watch import head_watch
from lightning_moa.objectives.base import Run
from lightning_moa.objectives.likelihood import RewardWeightedLikelihood
from lightning_moa.task_files import HEADS


class HaM(Alignment):
    """Maximises vol({Lbar(theta_k)}_k) (HaM, eq. 6); nobody's preference is asked for."""

    aggregation = volume.Hypervolume

    def setup(self, stage: str) -> None:
        """Refuses an objective that has no value above the hypervolume's reference, 0: nothing would be learned."""
        objective = self.objective
        unshifted = isinstance(objective, RewardWeightedLikelihood) and objective.z is None
        if unshifted and objective.z_factor is None and isinstance(self.aggregator, volume.Hypervolume):
            raise UserError(
                "HaM: RewardWeightedLikelihood without z has no value above hypervolume's reference, 0; give it "
                "z_factor=2.0, or z"
            )
        super().setup(stage)

    def callbacks(self, run: Run, rows: StepData, out: Path) -> list[Callback]:
        """The look at the heads that the section `heads` asks for."""
        return head_watch(run, self, rows, out / HEADS)

    def preference(self, step: int) -> Tensor:
        """Equal weights, which hypervolume doesn't look at."""
        return torch.full((self.m,), 1 / self.m)
