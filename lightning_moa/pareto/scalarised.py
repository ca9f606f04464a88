"""Tchebycheff's optimum where the objective space is convex, from what linear scalarisation finds there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from lightning_moa.errors import UserError

Best = Callable[[np.ndarray], np.ndarray]
"""Weights (m,) on the simplex to the objectives (m,) of a policy that maximises their weighted sum."""


def tchebycheff_optimum(best: Best, preference: ArrayLike, ideal: ArrayLike) -> np.ndarray:
    """(m,) objectives of the policy that maximises min_i lambda_i (J_i - z_i) (Panacea, eq. 7).

    By duality: max_pi min_i lambda_i (J_i - z_i) is the least, over mu on the simplex, of
    max_pi sum_i mu_i lambda_i (J_i - z_i), a linear scalarisation; it is convex in mu. Exact but for the solver's
    tolerance where the objectives are concave in the policy and `best` is exact and unique.

    Args:
        best: linear scalarisation's answer.
        preference: (m,), all above 0.
        ideal: (m,) z, at least what each objective can become.

    Raises:
        UserError: shapes that don't fit together, a weight that isn't above 0, or no convergence.
    """
    weights, z = np.asarray(preference, dtype=np.float64), np.asarray(ideal, dtype=np.float64)
    if weights.ndim != 1 or weights.shape != z.shape or not (weights > 0).all():
        raise UserError(
            f"tchebycheff: preference {weights.tolist()}: allowed are m = {z.size} weights above 0"
        )

    def dual(mu: np.ndarray) -> tuple[float, np.ndarray]:
        slope = weights * (best(mu * weights / (mu @ weights)) - z)
        return float(mu @ slope), slope

    m = len(weights)
    found = minimize(
        dual,
        np.full(m, 1 / m),
        jac=True,
        method="SLSQP",
        bounds=[(1e-9, 1.0)] * m,
        constraints={"type": "eq", "fun": lambda mu: mu.sum() - 1, "jac": lambda mu: np.ones(m)},
        options={"ftol": 1e-13, "maxiter": 500},
    )
    if not found.success:
        raise UserError(f"tchebycheff: preference {weights.tolist()}: {found.message}")
    return best(found.x * weights / (found.x @ weights))
