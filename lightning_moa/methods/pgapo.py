"""P-GAPO (Li et al., 2025): one policy for one user's preference over gradients of equal length.

Policy: one that knows no preference. Objective: PPO, its m losses apart. Aggregation: `PGAPO`.
"""

from __future__ import annotations

from torch import Tensor

from lightning_moa.aggregation import gapo
from lightning_moa.errors import UserError
from lightning_moa.methods.base import Alignment


class PGAPO(Alignment):
    """Trains for the one preference `at`."""

    aggregation = gapo.PGAPO

    def preference(self, step: int) -> Tensor:
        if self.at is None:
            raise UserError("PGAPO: a policy needs the preference that it is trained for (at=...)")
        return self.at
