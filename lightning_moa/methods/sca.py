"""SCA on one backbone: K linear scalarisations, a head each (ours; the paper's SCA has a model for each).

Policy: heads on one backbone. Objective: reward-weighted likelihood. Aggregation: linear, a preference a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from lightning_moa.data.stepping import StepData
from lightning_moa.errors import UserError
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.head_watch import head_watch
from lightning_moa.objectives.base import Run
from lightning_moa.pareto import check_preference
from lightning_moa.policies import Heads
from lightning_moa.task_files import HEADS


class HeadwiseSCA(Alignment):
    """Head k maximises sum_j w_kj Lbar_j(theta_k) (HaM, eq. 5).

    Args:
        head_preferences: w, (K, m).

    Raises:
        UserError: not as many as the policy has heads.
    """

    def __init__(self, *args: Any, head_preferences: Sequence[Sequence[float]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = np.array([check_preference(row, self.m) for row in head_preferences])
        if not isinstance(self.policy, Heads) or self.policy.heads != len(rows):
            raise UserError(f"head_preferences: {len(rows)} given, one for each head of the policy is needed")
        self.head_preferences = torch.from_numpy(rows).float()

    def callbacks(self, run: Run, rows: StepData, out: Path) -> list[Callback]:
        """The look at the heads that the section `heads` asks for."""
        return head_watch(run, self, rows, out / HEADS)

    def preference(self, step: int) -> Tensor:
        return self.head_preferences
