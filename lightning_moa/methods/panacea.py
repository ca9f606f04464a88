"""Panacea (Zhong et al., 2024): one policy for all preferences.

Policy: SVD-LoRA, the preference among its singular values. Objective: DPO. Aggregation: linear scalarisation
(Panacea-LS) or Tchebycheff (Panacea-Tche).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_moa.methods.base import Alignment
from lightning_moa.objectives.base import Run
from lightning_moa.pareto import sample_preferences


class Panacea(Alignment):
    """Algorithm 1: each batch is drawn a preference from the simplex, which is put in all weight matrices.

    Args:
        preferences_per_batch: how many are drawn for a batch, one for each equal share of it.
        concentration: of the Dirichlet distribution that they are drawn from; 1 is uniform on the simplex.
        vertex_share: how often a drawn preference is replaced by one objective alone.
    """

    @classmethod
    def arguments(cls, run: Run) -> dict[str, Any]:
        """Those of the objective's settings that say what is drawn, where it has them."""
        names = ("preferences_per_batch", "concentration", "vertex_share")
        drawn = {name: getattr(run.settings, name) for name in names if hasattr(run.settings, name)}
        return {**drawn, **super().arguments(run)}

    def __init__(
        self,
        *args: Any,
        preferences_per_batch: int = 1,
        concentration: float = 1.0,
        vertex_share: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.preferences_per_batch = preferences_per_batch
        self.concentration = concentration
        self.vertex_share = vertex_share

    def preference(self, step: int) -> Tensor:
        generator = np.random.default_rng([self.seed, step])
        drawn = sample_preferences(
            self.m, self.preferences_per_batch, generator, self.concentration, self.vertex_share
        )
        preferences = torch.from_numpy(drawn).float()
        return preferences[0] if self.preferences_per_batch == 1 else preferences
