"""CAGrad (Liu et al., 2021). TorchJD's own needs cvxpy and a conic solver; the authors use scipy's too."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from lightning_moa.aggregation.gradients import GradientAggregator
from lightning_moa.errors import UserError

FLAT = 1e-9
"""Length of a mixture of the gradients, relative to their own, that counts as none."""


class CAGrad(GradientAggregator):
    """Conflict-averse gradient descent: the d within c ||g_0|| of g_0 whose least gain min_i <g_i, d> is largest.

    g_0 = sum_i lambda_i g_i is linear scalarisation's; the paper has equal weights. With w over the simplex that
    minimises <g_w, g_0> + c ||g_0|| ||g_w||, g_w = sum_i w_i g_i, it is d = g_0 + c ||g_0|| g_w / ||g_w||. c = 0 is
    linear scalarisation; the larger c, the closer to MGDA. With c < 1 it rests where linear scalarisation does.

    Args:
        c: at least 0; the paper has .2 to .5.

    Raises:
        UserError: a c below 0.
    """

    def __init__(self, c: float = 0.4) -> None:
        super().__init__()
        if not (np.isfinite(c) and c >= 0):
            raise UserError(f"CAGrad: c={c}; it must be at least 0")
        self.c = float(c)

    def solve(self, gramian: np.ndarray, preference: np.ndarray) -> np.ndarray:
        if preference.ndim == 2:
            return np.stack([self.solve(gramian, row) for row in preference])
        scale = np.diag(gramian).max()
        if not scale:
            return preference
        scaled = gramian / scale
        towards = scaled @ preference
        radius = self.c * np.sqrt(max(preference @ towards, 0.0))
        mixed = self._mixed(scaled, towards, radius)
        length = np.sqrt(max(mixed @ scaled @ mixed, 0.0))
        if radius == 0 or length <= FLAT:
            return preference
        weights: np.ndarray = preference + radius / length * mixed
        return weights

    @staticmethod
    def _mixed(gramian: np.ndarray, towards: np.ndarray, radius: float) -> np.ndarray:
        """w of the gradients that g_w is mixed of, (m,) on the simplex."""

        def value(w: np.ndarray) -> tuple[float, np.ndarray]:
            product = gramian @ w
            length = np.sqrt(max(w @ product, FLAT**2))
            return float(w @ towards + radius * length), towards + radius * product / length

        m = len(gramian)
        # Convex; from several starts, since its kink at length 0 can stop a solver that expects none.
        starts = [np.full(m, 1 / m), *np.eye(m)]
        found = [
            minimize(
                value,
                start,
                jac=True,
                method="SLSQP",
                bounds=[(0, 1)] * m,
                constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(m)},
                options={"ftol": 1e-14, "maxiter": 500},
            )
            for start in starts
        ]
        best = np.clip(min(found, key=lambda one: one.fun).x, 0.0, None)
        weights: np.ndarray = best / best.sum()
        return weights
