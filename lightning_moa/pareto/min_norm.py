"""The shortest vector in the convex hull of m gradients, from their inner products alone.

It is the common direction of MGDA (Désidéri 2012): along it every objective's loss falls at least as fast as
the squared length of that vector, and where it is 0 no direction improves all objectives at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError

TOLERANCE = 1e-5
"""How far a Gramian's correlations may be from symmetric and positive semi-definite: float32's long sums."""

LONGEST = 1.001
"""How long a point squared may come out, in units of the shortest gradient's, before rounding is to blame."""

LIMITS = np.finfo(np.float64)


def min_norm_weights(gramian: ArrayLike) -> np.ndarray:
    """The weights alpha on the simplex that minimise ||sum_i alpha_i g_i||^2 (MGDA; GAPO with p = 0).

    With d = sum_i alpha_i g_i they satisfy <g_i, d> >= ||d||^2 for every i, with equality where alpha_i > 0,
    and ||d|| <= min_i ||g_i||. Closed form for m = 2,
    alpha_1 = clip(<g_2 - g_1, g_2> / ||g_1 - g_2||^2, 0, 1); otherwise Wolfe's algorithm (1976), an active-set
    method that is exact but for rounding and ends after finitely many steps. Deterministic.

    The gradients' lengths are taken out before solving, so they may differ by any factor. The conditions hold
    up to the rounding of the Gramian's entries: with L = sum_j alpha_j ||g_j||, <g_i, d> is off by some
    1e-15 ||g_i|| L and ||d||^2 by some 1e-15 L^2. So a Gramian can't tell from 0 what is shorter than about
    1e-8 of the gradients it is mixed of: where long gradients cancel out that closely, a gradient that much
    shorter may get the weight in their stead, and the conditions then fail for some of the long ones.

    Permuting the gradients permutes the point d and, where they are unique, the weights. They aren't unique
    where several mixtures make the same d: duplicates (rows equal but for rounding) then share their weight
    evenly, of other mixtures one is returned. If gradients are zero (shorter than 1.5e-154, whose squares
    float64 can't hold), they share all the weight evenly and d = 0.

    Args:
        gramian: (m, m), m >= 1, entry (i, j) the inner product <g_i, g_j>; at least float32's accuracy.

    Returns:
        (m,) float64, non-negative, summing to 1; [1.] for m = 1.

    Raises:
        UserError: empty, not square, NaN or infinite, or not symmetric and positive semi-definite within
            1e-5 of the gradients' lengths, as every matrix of inner products is.
    """
    gramian = _as_gramian(gramian)
    squares = gramian.diagonal()
    correlations = _correlations(gramian)
    zero = squares < LIMITS.tiny
    if zero.any():
        return zero / zero.sum()
    lengths = np.sqrt(squares)
    inverse_lengths = lengths.min() / lengths
    solve = _pair if len(lengths) == 2 else _wolfe
    # Lengths of 1e-150 beside 1e+150 overflow in points that the solver then rejects.
    with np.errstate(over="ignore", invalid="ignore"):
        weights = solve(correlations, inverse_lengths) * inverse_lengths
    return _share_among_duplicates(weights / weights.sum(), correlations, inverse_lengths)


def _pair(correlations: np.ndarray, inverse_lengths: np.ndarray) -> np.ndarray:
    """The two weights times lengths, up to a common factor: the closed form without its squares."""
    scaled = np.maximum(inverse_lengths - correlations[0, 1] * inverse_lengths[::-1], 0)
    # Both vanish only for two equal gradients.
    return scaled if scaled.any() else np.ones(2)


def _wolfe(correlations: np.ndarray, inverse_lengths: np.ndarray) -> np.ndarray:
    """Minimise v'Cv over v >= 0 with r'v = 1: Wolfe's algorithm in v_i = alpha_i ||g_i|| / min_j ||g_j||.

    C holds the correlations and r the inverse lengths (largest 1), so mu = v'Cv is ||d||^2 in units of the
    shortest gradient's, and v is optimal where Cv >= mu r. Each round lets the gradient that violates this
    most into the support, moves to the shortest point of its affine hull, and drops what turned negative.
    """
    noise = _noise(len(inverse_lengths))
    magnitudes = np.abs(correlations)
    v = np.zeros(len(inverse_lengths))
    v[inverse_lengths.argmax()] = 1
    # In exact arithmetic mu falls in every round, hence no support comes twice; rounding is held to the same.
    seen = {(v > 0).tobytes()}
    barred = np.zeros(len(v), dtype=bool)
    while True:
        products = correlations @ v
        bounds = (v @ products) * inverse_lengths
        violations = bounds - products
        violations[(violations <= noise * (np.abs(bounds) + magnitudes @ v)) | (v > 0) | barred] = 0
        if not violations.any():
            return v
        entering = int(violations.argmax())
        trial = _enter(v, entering, correlations, inverse_lengths)
        if trial is None or (trial > 0).tobytes() in seen:
            barred[entering] = True
            continue
        v = trial
        seen.add((v > 0).tobytes())
        barred[:] = False


def _enter(
    v: np.ndarray, entering: int, correlations: np.ndarray, inverse_lengths: np.ndarray
) -> np.ndarray | None:
    """The shortest point over a support within v's and `entering`; None where rounding hides it."""
    support = v > 0
    support[entering] = True
    while True:
        target = _affine_minimum(support, correlations, inverse_lengths)
        # Exactly computed, the entering gradient gets a positive weight at first.
        if target is None or (v[entering] == 0 and target[entering] <= 0):
            return None
        falling = np.flatnonzero(support & (target <= 0))
        if not falling.size:
            # Exactly computed, mu falls from 1. NaN fails this test too.
            return target if abs(target @ correlations @ target) <= LONGEST else None
        # Go towards the target as far as all stay non-negative; who is first at 0 leaves the support.
        shares = v[falling] / (v[falling] - target[falling])
        v = np.maximum(v + shares.min() * (target - v), 0)
        v[falling[shares.argmin()]] = 0
        support = v > 0


def _affine_minimum(
    support: np.ndarray, correlations: np.ndarray, inverse_lengths: np.ndarray
) -> np.ndarray | None:
    """The v, of any sign, that minimises v'Cv with r'v = 1 and v = 0 outside the support; None if C hides it.

    Lagrange's conditions: C v = mu r and r'v = 1 on the support.
    """
    chosen = np.flatnonzero(support)
    n = len(chosen)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = correlations[chosen][:, chosen]
    system[:n, n] = system[n, :n] = inverse_lengths[chosen]
    right = np.zeros(n + 1)
    right[n] = 1
    try:
        solution = np.linalg.solve(system, right)
    except np.linalg.LinAlgError:
        return None
    v = np.zeros(len(support))
    v[chosen] = solution[:n]
    return v


def _share_among_duplicates(
    weights: np.ndarray, correlations: np.ndarray, inverse_lengths: np.ndarray
) -> np.ndarray:
    """Give gradients that are equal but for rounding the mean of their weights."""
    noise = _noise(len(weights))
    equal = (np.abs(correlations[:, None] - correlations) <= noise).all(axis=2)
    equal &= np.abs(inverse_lengths[:, None] - inverse_lengths) <= noise * inverse_lengths
    first = equal.argmax(axis=1)
    sums, counts = np.bincount(first, weights)[first], np.bincount(first)[first]
    return sums / counts


def _noise(m: int) -> float:
    """What rounding may do to a correlation, or to a sum of m terms relative to its largest."""
    return 16 * m * float(LIMITS.eps)


def _as_gramian(gramian: ArrayLike) -> np.ndarray:
    """`gramian` as a finite float64 array (m, m) with a non-negative diagonal."""
    try:
        array = np.asarray(gramian, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError("gramian: not an array of numbers of shape (m, m)") from error
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise UserError(f"gramian: shape {array.shape}, allowed is (m, m) with m >= 1")
    if not np.isfinite(array).all():
        i, j = np.argwhere(~np.isfinite(array))[0]
        raise UserError(
            f"gramian: entry ({i}, {j}) is {array[i, j]}, allowed are finite numbers: gradients without NaN and "
            f"shorter than {np.sqrt(LIMITS.max):.1e}, whose squares float64 can hold"
        )
    if (array.diagonal() < 0).any():
        i = int(array.diagonal().argmin())
        raise UserError(f"gramian: entry ({i}, {i}) is {array[i, i]}, allowed are squared lengths >= 0")
    return array


def _correlations(gramian: np.ndarray) -> np.ndarray:
    """<g_i, g_j> / (||g_i|| ||g_j||), made symmetric, positive semi-definite but for rounding."""
    # A square that underflowed counts as the smallest that doesn't, so that its row may be checked too.
    lengths = np.sqrt(np.maximum(gramian.diagonal(), LIMITS.tiny))
    with np.errstate(over="ignore"):
        correlations = gramian / lengths / lengths[:, None]
    _check(np.abs(correlations) <= 1 + TOLERANCE, gramian, "more than the two lengths allow")
    _check(np.abs(correlations - correlations.T) <= TOLERANCE, gramian, "not the same as its mirror image")
    correlations = (correlations + correlations.T) / 2
    lowest = np.linalg.eigvalsh(correlations)[0]
    if lowest < -TOLERANCE * len(gramian):
        raise UserError(
            f"gramian: not positive semi-definite (its correlations' lowest eigenvalue is {lowest:.2g}), "
            "allowed are matrices of inner products"
        )
    return correlations


def _check(allowed: np.ndarray, gramian: np.ndarray, what: str) -> None:
    if not allowed.all():
        i, j = np.argwhere(~allowed)[0]
        raise UserError(
            f"gramian: entry ({i}, {j}) is {gramian[i, j]}, {what}; allowed are inner products <g_i, g_j>"
        )
