"""Which generated responses are worth training on: those that are among the best for some objective."""

from __future__ import annotations

import numpy as np

from lightning_moa.errors import UserError


def mors(scores: np.ndarray, quantile: float = 0.7) -> np.ndarray:
    """Multi-objective rejection sampling (RiC): a row is kept if any score reaches its objective's quantile.

        kept_i = any over j of: scores_ij >= Q_j,  Q_j the quantile of column j over these rows

    Q_j is numpy's "linear" quantile (its default): of n sorted scores, the one at place quantile * (n - 1),
    interpolated. Ties with it are kept, so a column of equal scores keeps every row, and each objective's
    best row is always kept. Only the order within a column counts, never its scale.

    Args:
        scores: (n, J), higher is better.
        quantile: in [0, 1); 0 keeps all rows.

    Returns:
        (n,) bool.

    Raises:
        UserError: a quantile outside [0, 1), no rows, another shape, NaN or an infinite score.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not 0 <= quantile < 1:
        raise UserError(f"quantile={quantile}: allowed are numbers from 0 to below 1")
    if scores.ndim != 2 or 0 in scores.shape:
        raise UserError(f"scores of shape {scores.shape}: rows and a column per objective are needed")
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"score of row {row}, column {column} is {scores[row, column]}: must be a finite number"
        )
    return (scores >= np.quantile(scores, quantile, axis=0)).any(axis=1)


def select(scores: np.ndarray, quantile: float, rows: int, seed: int) -> np.ndarray:
    """A random choice, without replacement, from the rows that `mors` keeps.

    Args:
        scores: (n, J), higher is better.
        quantile: of `mors`.
        rows: how many at most, at least 1; where fewer are kept, all of them are chosen.
        seed: equal seeds choose equal rows.

    Returns:
        (k,) int64 indices of rows, rising, k <= rows.

    Raises:
        UserError: rows below 1, or what `mors` refuses.
    """
    if rows < 1:
        raise UserError(f"rows={rows}: must be at least 1")
    kept = np.flatnonzero(mors(scores, quantile))
    if len(kept) <= rows:
        return kept
    return np.sort(np.random.default_rng(seed).choice(kept, size=rows, replace=False))
