"""The hypervolume together with its exact gradient in the points."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.pareto.points import as_point, as_points


def hypervolume_gradient(points: ArrayLike, reference_point: ArrayLike) -> tuple[float, np.ndarray]:
    """HV(P) as in `hypervolume`, and d HV / d P. Exact, for any m.

    Raising one coordinate j of a point k moves one face of its box. What it adds per unit of length is the part
    of that face that no other box covers: the (m - 1)-dimensional volume that k alone dominates among the points
    that reach as far as k in objective j. The points that aren't on the front cover nothing that the front
    doesn't, so only the front is looked at. HV is linear in the side lengths along each single objective, so its
    value is sum_k dHV/dy_kj (y_kj - r_j), whichever j.

    Points with a positive gradient in every objective are exactly those that the hypervolume rests on. Dominated
    points, and points that aren't above the reference in every objective, have a gradient of exactly 0.

    Where HV has a kink, one of its one-sided gradients is taken. A point that another one reaches in every objective
    and exceeds in some is dominated, and has none. Among the others it is the limit of the gradients of nearby points
    without a kink, those in which earlier rows are larger by a hair: of equal points the first has it all, and a face
    that several points reach belongs to the first of them. So equal points differ in their gradients, which sets them
    apart.

    Time: O(K log K) for m = 2, O(K^2) for m = 3, with matrices of 3 K^2 numbers, and above K m hypervolumes of m - 1
    dimensions.

    Args:
        points: (K, m), K >= 1, all objectives maximised.
        reference_point: (m,), the corner that is worse than what is to be counted.

    Returns:
        The volume, and its gradient (K, m), at least 0 everywhere.

    Raises:
        UserError: no points, NaN, infinite values, or shapes that don't fit together.
    """
    reference = np.asarray(reference_point, dtype=np.float64)
    points = as_points(points, m=reference.size)
    reference = as_point(reference, "reference_point", points.shape[1])
    if not len(points):
        raise UserError("hypervolume gradient: no points; allowed is at least one")
    sides = points - reference
    gradient = _staircase(sides) if sides.shape[1] == 2 else _free_faces(sides)
    return float(sides[:, 0] @ gradient[:, 0]), gradient


def _staircase(sides: np.ndarray) -> np.ndarray:
    """The gradient (K, 2) by the steps of the front: y rises along it as x falls."""
    x, y = sides.T
    order = np.lexsort((-y, -x))
    y_sorted = y[order]
    highest = np.maximum.accumulate(y_sorted)
    on_front = (y_sorted > 0) & (x[order] > 0)
    on_front[1:] &= y_sorted[1:] > highest[:-1]
    rows = order[on_front]
    front = sides[rows]
    steps = front.copy()
    steps[:-1, 0] -= front[1:, 0]
    steps[1:, 1] -= front[:-1, 1]
    gradient = np.zeros(sides.shape)
    # Raising x widens the step in y, and the other way round.
    gradient[rows] = steps[:, ::-1]
    return gradient


def _free_faces(sides: np.ndarray) -> np.ndarray:
    """The gradient (K, m), m other than 2: of each face of the boxes the part that no other box covers."""
    gradient = np.zeros(sides.shape)
    rows = np.flatnonzero((sides > 0).all(axis=1))
    if not len(rows):
        return gradient
    # Of equal points the first is kept.
    rows = rows[moocore.is_nondominated(sides[rows], maximise=True)]
    front = sides[rows]
    if sides.shape[1] == 1:
        gradient[rows] = 1.0
    elif sides.shape[1] == 3:
        gradient[rows] = _free_areas(front)
    else:
        gradient[rows] = _free_volumes(front)
    return gradient


def _ranks(front: np.ndarray) -> np.ndarray:
    """Each point's place in each objective, 0 for the largest, earlier rows first among equals: (m, n)."""
    order = np.argsort(-front.T, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(len(front))[None], axis=1)
    return ranks


def _free_areas(front: np.ndarray) -> np.ndarray:
    """The free faces of a front (n, 3), rectangles: (n, 3).

    The face of point k in objective j is the rectangle [0, x_k] x [0, y_k] of its other two values. What covers it
    are the rectangles of the points ahead of k in j. Sorted, the x cut the plane into strips; in each strip what is
    covered reaches up to the highest rectangle that ends at or beyond it. Below, axes are objectives, rectangles
    and strips.
    """
    x, y = front.T[[1, 0, 0]], front.T[[2, 2, 1]]
    rank = _ranks(front)
    objective, strips = np.arange(3)[:, None], np.argsort(-x, axis=1)
    ahead = rank[objective, strips][:, None] < rank[:, :, None]
    covered = np.maximum.accumulate(np.where(ahead, y[objective, strips][:, None], 0.0), axis=2)
    ends = np.minimum(x[objective, strips][:, None], x[:, :, None])
    ends[:, :, :-1] -= ends[:, :, 1:]
    return np.einsum("jki,jki->kj", ends, np.maximum(y[:, :, None] - covered, 0.0))


def _free_volumes(front: np.ndarray) -> np.ndarray:
    """The free faces of a front (n, m), m >= 4, boxes of m - 1 dimensions: (n, m)."""
    faces = np.empty_like(front)
    origin = np.zeros(front.shape[1] - 1)
    for j, rank in enumerate(_ranks(front)):
        boxes = np.delete(front, j, axis=1)
        order = np.argsort(rank)
        # Of the boxes ahead only what lies inside box k matters; moocore minimises.
        for place, k in enumerate(order):
            inside = np.minimum(boxes[order[:place]], boxes[k])
            covered = moocore.hypervolume(-inside, ref=origin) if place else 0.0
            # What is left of a box that is covered but for rounding could fall below 0.
            faces[k, j] = max(boxes[k].prod() - covered, 0.0)
    return faces
