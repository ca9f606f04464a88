"""Smooth Tchebycheff scalarisation (Lin et al., 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from lightning_moa.aggregation.tchebycheff import shortfall
from lightning_moa.errors import UserError


class SmoothTchebycheff:
    """mu log sum_i exp(lambda_i (z_i + L_i) / mu), to minimise: Tchebycheff's maximum without its kink.

    It lies between max_i lambda_i (z_i + L_i) and that plus mu log m. As mu goes to 0 it becomes Tchebycheff's, and all
    of the gradient goes to the largest term; a large mu shares it out among all, by the softmax of the terms over mu.

    Args:
        mu: above 0, in units of a weighted loss.
        ideal_point: z, one value per objective, at least as large as the objective can become; None is 0.

    Raises:
        UserError: a mu that is not above 0.
    """

    of_each = True

    def __init__(self, mu: float = 0.1, ideal_point: Sequence[float] | None = None) -> None:
        if not (np.isfinite(mu) and mu > 0):
            raise UserError(f"SmoothTchebycheff: mu={mu}; it must be above 0")
        self.mu = float(mu)
        self.ideal_point = None if ideal_point is None else list(ideal_point)

    def __call__(self, losses: Tensor, preference: Tensor, parameters: Sequence[Tensor] = ()) -> Tensor:
        """The scalar of losses (m,) or (g, m), averaged over the groups."""
        terms = preference * shortfall(losses, self.ideal_point) / self.mu
        return self.mu * terms.logsumexp(-1).mean()
