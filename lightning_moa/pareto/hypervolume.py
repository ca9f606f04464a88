"""The hypervolume indicator: how much of the objective space a set of points dominates."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.pareto.points import as_point, as_points


def hypervolume(points: ArrayLike, reference_point: ArrayLike) -> float:
    """Volume of the region between the reference point and the points; higher is better.

    HV(P) = volume of the union over p in P of the boxes [reference, p] (HaM, section 3.2). Exact, for any m.
    A point that isn't above the reference in every objective contributes nothing; no points: 0.

    Args:
        points: (n, m), all objectives maximised.
        reference_point: (m,), the corner that is worse than what is to be counted.

    Returns:
        The volume, in the product of the objectives' units.

    Raises:
        UserError: NaN, infinite values, or shapes that don't fit together.
    """
    reference = np.asarray(reference_point, dtype=np.float64)
    points = as_points(points, m=reference.size)
    reference = as_point(reference, "reference_point", points.shape[1])
    above = points[(points > reference).all(axis=1)]
    if not len(above):
        return 0.0
    return float(moocore.hypervolume(above, ref=reference, maximise=True))


def default_reference(points: ArrayLike, margin: float = 0.1) -> np.ndarray:
    """A reference point for all the points that are to be compared with each other.

    The worst value of each objective, minus `margin` times its range over the points; times 1 where all of them have
    one value of it, so that they are told apart by the others. Hypervolumes are only comparable under one common
    reference point, so hand in the points of all methods and seeds together.

    Args:
        points: (n, m), n >= 1, all objectives maximised.
        margin: share of the range, so that the extreme points count too.

    Returns:
        (m,) float64.
    """
    points = as_points(points)
    if not len(points):
        raise UserError("reference point: no points; allowed is at least one")
    spans = np.ptp(points, axis=0)
    return points.min(axis=0) - margin * np.where(spans > 0, spans, 1.0)
