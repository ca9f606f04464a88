"""Methods ranked seed by seed: mean ranks with intervals, and how far two must lie apart to be told apart."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lightning_moa.errors import UserError
from lightning_moa.reporting.over_seeds import HIGH, LOW, over_seeds
from lightning_moa.reporting.styles import styles_of
from lightning_moa.reporting.verdicts import LEVEL


def mean_ranks(table: pd.DataFrame, column: str, *, larger: bool) -> pd.DataFrame:
    """Every seed ranks the methods; what is shown is their mean over seeds.

    Args:
        table: columns `method`, `seed` and the measure; one row for each method and seed. Methods without a value for
            some seed are left out: ranks of different fields can't be averaged.
        column: the measure.
        larger: whether the largest value has rank 1; else the smallest.

    Returns:
        A row for each method, best first: measure, method, seeds, rank (1 is best; equal values share the mean of their
        ranks) and Student's t interval of 95% over seeds, rank_ci_low and rank_ci_high; and the same for all rows,
        `friedman_p` (of no differences at all, corrected for ties) and `critical_difference` (Nemenyi's at 5%: of two
        methods whose mean ranks lie closer, the data don't say which is better). Both are empty with one seed or fewer
        than three methods, for which neither test is made.

    Raises:
        UserError: fewer than two methods with a value for each seed.
    """
    wide = table.pivot(index="seed", columns="method", values=column).sort_index().dropna(axis=1)
    k, n = wide.shape[1], len(wide)
    if k < 2:
        raise UserError(f"ranks by {column}: {k} methods with a value for every seed; at least 2 are needed")
    each = wide.rank(axis=1, ascending=not larger)
    long = each.melt(ignore_index=False, value_name="rank").reset_index()
    rows = over_seeds(long, ["method"], ["rank"]).sort_values("rank", kind="stable", ignore_index=True)
    tested = n > 1 and k > 2
    rows["friedman_p"] = _friedman(wide) if tested else math.nan
    rows["critical_difference"] = critical_difference(k, n) if tested else math.nan
    rows.insert(0, "measure", column)
    return rows


def critical_difference(k: int, n: int) -> float:
    """Nemenyi's at 5% for k methods on n seeds: q sqrt(k (k + 1) / (6 n)), with q of the studentized range over
    sqrt(2) (Demsar 2006, Section 3.2.2)."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - LEVEL, k, math.inf)) / math.sqrt(2)
    return q * math.sqrt(k * (k + 1) / (6 * n))


def _friedman(wide: pd.DataFrame) -> float:
    from scipy.stats import friedmanchisquare

    if (wide.nunique(axis=1) == 1).all():
        return 1.0  # All tied in every seed: the statistic is 0 / 0.
    return float(friedmanchisquare(*wide.to_numpy().T).pvalue)


def draw_ranks(ax: Axes, ranks: pd.DataFrame) -> None:
    """Mean ranks with their intervals, best at the top; what lies in the grey band is not told apart from the best.

    Args:
        ax: drawn into.
        ranks: of `mean_ranks`.
    """
    looks = styles_of(ranks["method"])
    best, apart = ranks["rank"].min(), float(ranks["critical_difference"].iloc[0])
    if not math.isnan(apart):
        ax.axvspan(best, best + apart, color="0.9", zorder=0)
    for place, (_, row) in enumerate(ranks.iterrows()):
        look = looks[str(row["method"])]
        ends = [row["rank"] - row["rank" + LOW], row["rank" + HIGH] - row["rank"]]
        reach = None if np.isnan(ends).any() else np.array(ends)[:, None]
        ax.errorbar(
            row["rank"], place, xerr=reach, color=look.colour, fmt=look.marker, markersize=4, linewidth=1
        )
    ax.set_yticks(range(len(ranks)), [looks[str(method)].label for method in ranks["method"]], fontsize=8)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("mean rank over seeds (1: best)")
