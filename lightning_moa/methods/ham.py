"""HaM (Mukherjee et al., 2024): K policies at once, by the hypervolume of their objectives.

Policy: heads on one backbone. Objective: reward-weighted likelihood. Aggregation: hypervolume.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_moa.methods.base import Alignment


class HaM(Alignment):
    """Maximises vol({Lbar(theta_k)}_k) (HaM, eq. 6); nobody's preference is asked for."""

    def preference(self, step: int) -> Tensor:
        """Equal weights, which hypervolume doesn't look at."""
        return torch.full((self.m,), 1 / self.m)
