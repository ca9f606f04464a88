"""Reading points: the one check that every measure of a front shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError


def as_points(points: ArrayLike, name: str = "points", m: int | None = None) -> np.ndarray:
    """`points` as a finite float64 array of shape (n, m), n >= 0.

    An empty list becomes shape (0, m), or (0, 1) where m is unknown.

    Raises:
        UserError: another shape, another m, NaN or an infinite value, or a tensor that takes a gradient, which numpy
            would lose; the message begins with `name`.
    """
    if getattr(points, "requires_grad", False):
        raise UserError(
            f"{name}: a tensor that requires a gradient, which is lost here; allowed is its .detach(), and a "
            "hypervolume that keeps it is lightning_moa.aggregation.volume.hypervolume"
        )
    try:
        array = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: not an array of numbers of shape (n, m)") from error
    if array.size == 0 and array.ndim <= 1:
        array = array.reshape(0, m or 1)
    if array.ndim != 2 or array.shape[1] == 0:
        raise UserError(f"{name}: shape {array.shape}, allowed is (n, m) with one column per objective")
    if m is not None and array.shape[1] != m:
        raise UserError(f"{name}: {array.shape[1]} objectives, allowed is {m}")
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise UserError(f"{name}: NaN or infinite value in row {row}; allowed are finite numbers")
    return array


def as_point(point: ArrayLike, name: str, m: int) -> np.ndarray:
    """`point` as a finite float64 array of shape (m,); raises UserError as `as_points` does."""
    array = np.asarray(point, dtype=np.float64)
    if array.shape != (m,):
        raise UserError(f"{name}: shape {array.shape}, allowed is ({m},), one number per objective")
    return as_points(array[None], name)[0]
