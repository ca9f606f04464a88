"""Penalty boundary intersection (Zhang and Li, 2007)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_moa.aggregation.tchebycheff import shortfall
from lightning_moa.errors import UserError

LEAST_WEIGHT = 1e-6
"""A preference's smaller weights count as this: a ray along an axis has no end."""


class BoundaryIntersection:
    """d_1 + theta d_2, to minimise, of the shortfalls v_i = z_i + L_i: d_1 = <v, u> is how far v has come along the ray
    u from the ideal point, d_2 = ||v - d_1 u|| how far it is off the ray.

    The ray goes through the points where all lambda_i v_i are equal, u_i ~ 1 / lambda_i, so that a larger weight asks
    for a smaller loss, as it does with Tchebycheff. (Zhang and Li's weight vector is the ray itself.) With a large
    theta the minimum is where the ray meets the front, whatever the front's shape; with a small one it is off the ray,
    and need not be on the front.

    Args:
        theta: weight of the distance from the ray, at least 0; 5 is the usual one.
        ideal_point: z, one value per objective, at least as large as the objective can become; None is 0.

    Raises:
        UserError: a theta below 0.
    """

    of_each = True

    def __init__(self, theta: float = 5.0, ideal_point: Sequence[float] | None = None) -> None:
        if not (np.isfinite(theta) and theta >= 0):
            raise UserError(f"BoundaryIntersection: theta={theta}; it must be at least 0")
        self.theta = float(theta)
        self.ideal_point = None if ideal_point is None else list(ideal_point)

    def __call__(self, losses: Tensor, preference: Tensor, parameters: Sequence[Tensor] = ()) -> Tensor:
        """The scalar of losses (m,) or (g, m), averaged over the groups."""
        short = shortfall(losses, self.ideal_point)
        ray = torch.nn.functional.normalize(1 / preference.to(short).clamp(min=LEAST_WEIGHT), dim=-1, eps=0.0)
        along = (short * ray).sum(-1)
        off = torch.linalg.vector_norm(short - along[..., None] * ray, dim=-1)
        return (along + self.theta * off).mean()
