"""Tables of means over seeds: one row for several runs, every number with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from lightning_moa.reporting.verdicts import estimate

LOW, HIGH = "_ci_low", "_ci_high"


def over_seeds(frame: pd.DataFrame, keys: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """One row for each combination of `keys`, in the order in which they first stand in the frame.

    Args:
        frame: a column `seed`, the keys, and the columns; one row for each combination and seed.
        keys: what tells the rows apart, besides the seed.
        columns: of finite numbers.

    Returns:
        The keys, `seeds` (how many), and for each column its mean over them and Student's t interval of 95%,
        `<column>`, `<column>_ci_low` and `<column>_ci_high`; the ends are empty where there is one seed.

    Raises:
        UserError: a value that is not finite.
    """
    rows = []
    for key, group in frame.groupby(list(keys), sort=False, dropna=False):
        row: dict[str, object] = {**dict(zip(keys, key, strict=True)), "seeds": len(group)}
        for column in columns:
            values = dict(zip(group["seed"].tolist(), group[column].tolist(), strict=True))
            found = estimate(values, column)
            row |= {column: found.value, column + LOW: found.ci_low, column + HIGH: found.ci_high}
        rows.append(row)
    return pd.DataFrame(rows)


def cell(row: pd.Series, column: str, digits: int = 2, factor: float = 1.0) -> str:
    """A column of such a row for readers, such as `1.23 ± 0.13`; the mean alone where there is no interval.

    Args:
        row: of `over_seeds`.
        column: one of its columns.
        digits: after the point.
        factor: on the numbers; 100 shows shares in percent.
    """
    half = factor * (row[column + HIGH] - row[column + LOW]) / 2
    mean = f"{factor * row[column]:.{digits}f}"
    return mean if math.isnan(half) else f"{mean} ± {half:.{digits}f}"
