"""Nash-MTL (Navon et al., 2022). TorchJD's own takes the gradients themselves, and a conic solver."""

from __future__ import annotations

import numpy as np

from lightning_moa.aggregation.gradients import GradientAggregator
from lightning_moa.errors import NotFinite
from lightning_moa.pareto import min_norm_weights

STATIONARY = 1e-7
"""Length of the shortest mixture of gradients of length 1 that counts as none."""
TURNS = 500
"""Of Newton's method, which takes some ten, and more close to stationary points."""


class NashMTL(GradientAggregator):
    """Update as a bargain: d = argmax over directions of length 1 of sum_i lambda_i log <g_i, d>.

    So d = sum_i a_i g_i with <g_i, d> = lambda_i / a_i: gains in proportion to the preference, whatever the scale of a
    loss. Equal weights are the paper's, whose bargain has objectives of equal power. An objective of weight 0 is left
    out. At a Pareto-stationary point, or where an objective has no gradient, there is no update.

    The a_i are exact: they minimise a'Ga / 2 - sum_i lambda_i log a_i, which is convex, by Newton's damped method. The
    authors solve a sequence of approximations.
    """

    def solve(self, gramian: np.ndarray, preference: np.ndarray) -> np.ndarray:
        if preference.ndim == 2:
            return np.stack([self.solve(gramian, row) for row in preference])
        weights, bargain = np.zeros(len(preference)), preference > 0
        lengths = np.sqrt(np.diag(gramian))[bargain]
        if not lengths.all():
            return weights
        unit = gramian[np.ix_(bargain, bargain)] / np.outer(lengths, lengths)
        shortest = min_norm_weights(unit)
        if shortest @ unit @ shortest <= STATIONARY**2:
            return weights
        weights[bargain] = _bargain(unit, preference[bargain]) / lengths
        return weights


def _bargain(gramian: np.ndarray, power: np.ndarray) -> np.ndarray:
    """The a > 0, (m,), with G a = power / a."""
    a = np.sqrt(power)
    for _ in range(TURNS):
        slope = gramian @ a - power / a
        step = -np.linalg.solve(gramian + np.diag(power / a**2), slope)
        # Newton's decrement, in the measure in which the logarithm's weight is 1.
        decrement = np.sqrt(max(-slope @ step, 0.0) / power.min())
        if decrement < 1e-10:
            return a
        a = a + step / (1 + decrement if decrement > 0.1 else 1.0)
    raise NotFinite(f"NashMTL: no bargain was found in {TURNS} turns")
