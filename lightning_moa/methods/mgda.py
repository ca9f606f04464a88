"""MGDA (Desideri, 2012): one policy that moves along the min-norm point of its objectives' gradients.

Policy: one that knows no preference. Objective: PPO, its m losses apart. Aggregation: `MGDA`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_moa.aggregation import gapo
from lightning_moa.methods.base import Alignment


class MGDA(Alignment):
    """No preference enters: each batch's gradients give the weights."""

    aggregation = gapo.MGDA

    def preference(self, step: int) -> Tensor:
        return torch.full((self.m,), 1 / self.m)
