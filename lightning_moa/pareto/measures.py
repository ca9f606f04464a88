"""Measures of a set of points: distance to a front, margin over another, evenness, agreement with the preferences.

Spacing, sparsity and inner product are the measures of Panacea's later version (NeurIPS 2024). None of the
evenness measures says how good a front is: a method that gives the same point for every preference has a
spacing and a sparsity of 0, the best value. Read them beside the hypervolume.
"""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.pareto.points import as_points


def igd(points: ArrayLike, front: ArrayLike) -> float:
    """Inverted generational distance: the mean distance from the front's points to the nearest of `points`.

    Args:
        points: (n, m), n >= 1.
        front: (k, m), k >= 1, samples of the exact front.

    Returns:
        A length in the objectives' units; lower is better, 0 if every front point is hit.
    """
    points, front = _points_and_front(points, front)
    return float(moocore.igd(points, ref=front, maximise=True))


def igd_plus(points: ArrayLike, front: ArrayLike) -> float:
    """IGD+: as `igd`, but counts only the objectives in which a point falls short of the front's point.

    Unlike IGD it never prefers a dominated set. Shapes and direction as in `igd`.
    """
    points, front = _points_and_front(points, front)
    return float(moocore.igd_plus(points, ref=front, maximise=True))


def additive_epsilon(front_a: ArrayLike, front_b: ArrayLike) -> float:
    """How far front a must be raised, in every objective at once, until it equals or dominates all of front b.

    Zitzler et al.'s (2003) additive epsilon indicator, max over b of min over a of max_j (b_j - a_j): at most 0
    exactly where every point of b is equalled or dominated by some point of a. Below 0 it is the margin by which a
    can be lowered and still be so, and a then dominates b in the sense of `dominates`. Points that others of their
    own front dominate change nothing. `additive_epsilon(a, b)` and `additive_epsilon(b, a)` are independent of
    each other and may both be above 0.

    Args:
        front_a: (n, m), n >= 1, higher is better.
        front_b: (k, m), k >= 1.

    Returns:
        A length in the objectives' units, which must be comparable; lower is better for a.

    Raises:
        UserError: no points in either, NaN, infinite values, or another shape.
    """
    winner = as_points(front_a, "front_a")
    loser = as_points(front_b, "front_b", winner.shape[1] if len(winner) else None)
    if not len(winner) or not len(loser):
        raise UserError("additive epsilon: no points; allowed is at least one point in each front")
    return float(moocore.epsilon_additive(winner, ref=loser, maximise=True))


def spacing(points: ArrayLike) -> float:
    """Standard deviation (divided by n) of the distances from each point to its nearest neighbour.

    Lower is more even. Distances are Euclidean.

    Args:
        points: (n, m).

    Returns:
        A length, or NaN for fewer than two points.
    """
    points = as_points(points)
    if len(points) < 2:
        return float("nan")
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min(axis=1).std())


def sparsity(points: ArrayLike) -> float:
    """Mean squared gap between neighbours: sum_i ||xi^i - xi^{i+1}||^2 / (m (n - 1)) over the sorted points.

    Lower is denser. Each objective's values are sorted by themselves, xi^i holding the i-th smallest of each.
    On a front with m = 2 that is the same as sorting the points along it; for m > 2, where points have no
    natural order, it keeps the value independent of the order of the objectives.

    Args:
        points: (n, m).

    Returns:
        A squared length, or NaN for fewer than two points.
    """
    points = as_points(points)
    if len(points) < 2:
        return float("nan")
    gaps = np.diff(np.sort(points, axis=0), axis=0)
    return float((gaps**2).sum() / (points.shape[1] * (len(points) - 1)))


def inner_product(preferences: ArrayLike, points: ArrayLike) -> float:
    """Mean over i of <lambda^i, xi^i>: the scalarised value that each preference got. Higher is better.

    Args:
        preferences: (n, m).
        points: (n, m), row i is what preference i led to.

    Returns:
        The mean, or NaN for no points.
    """
    points = as_points(points)
    preferences = as_points(preferences, "preferences", points.shape[1])
    if len(preferences) != len(points):
        raise UserError(f"preferences: {len(preferences)} rows, allowed is one per point ({len(points)})")
    if not len(points):
        return float("nan")
    return float((preferences * points).sum(axis=1).mean())


def expected_utility(utilities: ArrayLike) -> float:
    """Mean over preferences of the best utility that any of a method's policies has there (Zintgraf et al., 2015).

    Args:
        utilities: (n, k), of n policies at k preferences, higher is better.

    Returns:
        A utility. What is chosen among the policies is the best for each preference, whatever they were asked for.
    """
    return float(_best(utilities).mean())


def maximum_utility_loss(utilities: ArrayLike, best: ArrayLike) -> float:
    """The most that any preference loses against the best policy that exists (Zintgraf et al., 2015).

    Args:
        utilities: as for `expected_utility`.
        best: (k,), utility of the best policy of each preference.

    Returns:
        A utility; lower is better, 0 if each preference has its best policy.
    """
    found, known = _best(utilities), np.asarray(best, dtype=np.float64)
    if known.shape != found.shape:
        raise UserError(
            f"best: shape {known.shape}, allowed is one value for each of {len(found)} preferences"
        )
    return float((known - found).max())


def _best(utilities: ArrayLike) -> np.ndarray:
    """(k,) the largest of each column."""
    found = as_points(utilities, "utilities")
    if not len(found):
        raise UserError("utilities: no policies; allowed is at least one")
    best: np.ndarray = found.max(axis=0)
    return best


def _points_and_front(points: ArrayLike, front: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    points = as_points(points)
    front = as_points(front, "front", points.shape[1])
    if not len(points) or not len(front):
        raise UserError("distance to a front: no points; allowed is at least one point and one front point")
    return points, front
