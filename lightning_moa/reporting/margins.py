"""How far from its bound a statistic is still level with it: by its kind, never by the claim. The rule stands in
docs/verdicts.md; what needs a study's rewards is in `lightning_moa.figures.margins`."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from lightning_moa.reporting.fronts import by_seed
from lightning_moa.reporting.statistics import PerSeed, metric

SHARE = 0.05
"""Of a scale that the statistic has: shares, rates, accuracies, falls and depths over a range, gains in a range."""
TIMES = 1.1
"""Two sizes whose ratio is nearer to 1 than this are level."""
LOG, LOG10 = math.log(TIMES), math.log10(TIMES)
"""Of logs of ratios, nats per response among them, and of orders of magnitude."""
DEVIATIONS = 0.1
"""Of means in standard deviations of the reference policy's responses."""
CORRELATION = 0.1
"""Of correlations and cosines."""


def of_larger(*sizes: PerSeed) -> float:
    """SHARE of the largest of several sizes, by their means over seeds: hypervolumes above one point, sparsities."""
    return SHARE * max(abs(float(np.mean(list(each.values())))) for each in sizes)


def of_metric(metrics: pd.DataFrame, column: str, method: str, other: str, space: str) -> float:
    """`of_larger` of two methods' sizes in a METRICS table: a margin of their `metric_difference`."""
    return of_larger(*(metric(metrics, column, name, space) for name in (method, other)))


def of_growth(growth: pd.DataFrame, column: str) -> float:
    """`of_larger` of a size at the first and at the last step of `front_by_step`."""
    ends = [{seed: float(rows[column].iloc[place]) for seed, rows in by_seed(growth)} for place in (0, -1)]
    return of_larger(*ends)


def of_ratio(bound: float) -> float:
    """Of a ratio that is held against a number: TIMES."""
    return (TIMES - 1) * bound
