"""Min-norm aggregation: MGDA, GAPO and P-GAPO.

GAPO's paper (Li et al., 2025) is known to us by its abstract and by others' notes on it. Known: MGDA on gradients that
are divided by the p-th power of their norm, p = 1 and 2, P-GAPO's weights, gradients of the last layer. Our reading,
which alone makes the notes' theorem true: the exponent stands on the plain 2-norm, and the step is taken along the
combined rescaled gradients.
"""

from __future__ import annotations

import numpy as np

from lightning_moa.aggregation.gradients import GradientAggregator
from lightning_moa.errors import UserError
from lightning_moa.pareto import min_norm_weights


class GAPO(GradientAggregator):
    """Gradient-adaptive policy optimisation: d = sum_i alpha_i h_i with h_i = g_i / ||g_i||^p.

    alpha minimises ||d|| over the simplex. So <g_i, d> = ||d||^2 ||g_i||^p for every objective with alpha_i > 0, and
    at least that for the others: no objective gets worse, to first order, and the progress of each grows with the p-th
    power of its gradient. p = 0 is MGDA, whose progress is equal; p = 1 looks at directions alone, so the scale of a
    reward does not matter, and with two objectives alpha is always (1/2, 1/2). The length of d depends on p, hence
    plain gradient descent needs another learning rate for each; it is not brought to a common length here.

    An objective without a gradient stands at a Pareto-stationary point: there is no update.

    Args:
        p: power of the norm that a gradient is divided by, at least 0; the paper has 1 and 2.
    """

    looks_at_preference = False

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        if not (np.isfinite(p) and p >= 0):
            raise UserError(f"GAPO: p={p}; allowed are 0 and above")
        self.p = float(p)

    def solve(self, gramian: np.ndarray, preference: np.ndarray) -> np.ndarray:
        norms = np.sqrt(np.diag(gramian))
        if self.p and not norms.all():
            return np.zeros(len(norms))
        divisors = norms**self.p
        rescaled: np.ndarray = min_norm_weights(gramian / np.outer(divisors, divisors)) / divisors
        return rescaled


class MGDA(GradientAggregator):
    """The multiple-gradient descent algorithm (Desideri, 2012; Sener and Koltun, 2018): the min-norm point of the
    gradients' convex hull, a direction along which every objective gains at the same rate or more."""

    looks_at_preference = False

    def solve(self, gramian: np.ndarray, preference: np.ndarray) -> np.ndarray:
        return min_norm_weights(gramian)


class PGAPO(GradientAggregator):
    """P-GAPO: d = sum_i lambda_i g_i / ||g_i||, the user's preference over gradients of equal length.

    No min-norm problem is solved: a weight of 0 takes no notice of its objective. With g preferences a batch the norms
    are those of the whole batch's gradients.
    """

    def solve(self, gramian: np.ndarray, preference: np.ndarray) -> np.ndarray:
        norms = np.sqrt(np.diag(gramian))
        # An objective without a gradient adds none.
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        weights: np.ndarray = preference * inverse
        return weights
