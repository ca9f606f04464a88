"""Augmented Tchebycheff scalarisation (Steuer and Choo, 1983)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from lightning_moa.aggregation.tchebycheff import shortfall
from lightning_moa.errors import UserError


class AugmentedTchebycheff:
    """max_i lambda_i (z_i + L_i) + rho sum_i (z_i + L_i), to minimise.

    Tchebycheff's minima include points at which some objective could gain and none lose; the sum takes these out, and
    gives every objective a gradient, those of weight 0 too. As rho goes to 0 it becomes Tchebycheff's.

    Args:
        rho: weight of the sum, at least 0; 0 is Tchebycheff.
        ideal_point: z, one value per objective, at least as large as the objective can become; None is 0.

    Raises:
        UserError: a rho below 0.
    """

    of_each = True

    def __init__(self, rho: float = 0.05, ideal_point: Sequence[float] | None = None) -> None:
        if not (np.isfinite(rho) and rho >= 0):
            raise UserError(f"AugmentedTchebycheff: rho={rho}; it must be at least 0")
        self.rho = float(rho)
        self.ideal_point = None if ideal_point is None else list(ideal_point)

    def __call__(self, losses: Tensor, preference: Tensor, parameters: Sequence[Tensor] = ()) -> Tensor:
        """The scalar of losses (m,) or (g, m), averaged over the groups."""
        short = shortfall(losses, self.ideal_point)
        return ((preference * short).amax(-1) + self.rho * short.sum(-1)).mean()
