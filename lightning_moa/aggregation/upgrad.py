"""UPGrad (Quinton and Rey, 2024). TorchJD's own needs a solver of quadratic programs; scipy's suffices."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from lightning_moa.aggregation.gradients import GradientAggregator


class UPGrad(GradientAggregator):
    """d = sum_i lambda_i p(g_i): each gradient is moved to the nearest direction that no objective loses by, to first
    order, and the preference weighs what comes out. Without conflicts it is linear scalarisation.

    p(g_i) = J' v with v = argmin over v >= e_i of ||J' v||, J's rows being the gradients.
    """

    def solve(self, gramian: np.ndarray, preference: np.ndarray) -> np.ndarray:
        root, lengths = root_of(gramian)
        # Of gradients of length 1: those of very different lengths have weights of very different sizes.
        moved = np.stack([one + nnls(root, -root @ one)[0] for one in np.eye(len(gramian))])
        inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        found: np.ndarray = (preference * lengths) @ moved * inverse
        # An objective without a gradient conflicts with none; its weight is the preference's, as the others' is.
        return np.where(lengths > 0, found, preference)


def root_of(gramian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, m) vectors, one a column, with the inner products of the gradients brought to length 1, and the lengths (m,).
    A gradient of length 0 stays 0."""
    lengths = np.sqrt(np.diag(gramian))
    divisors = np.where(lengths > 0, lengths, 1.0)
    values, vectors = np.linalg.eigh(gramian / np.outer(divisors, divisors))
    return np.sqrt(np.clip(values, 0.0, None))[:, None] * vectors.T, lengths
