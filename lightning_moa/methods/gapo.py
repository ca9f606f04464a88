"""GAPO (Li et al., 2025): one policy that balances m objectives by the directions of their gradients.

Policy: one that knows no preference. Objective: PPO, its m losses apart. Aggregation: `GAPO(p)`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_moa.aggregation import gapo
from lightning_moa.methods.base import Alignment


class GAPO(Alignment):
    """No preference enters: each batch's gradients give the weights."""

    aggregation = gapo.GAPO

    def preference(self, step: int) -> Tensor:
        return torch.full((self.m,), 1 / self.m)
