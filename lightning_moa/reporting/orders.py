"""Orders, asked of ours: a paper's of its methods, and that of a reward and its weight."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

import pandas as pd

from lightning_moa.reporting.claims import PAPER, Row, judge
from lightning_moa.reporting.margins import SHARE
from lightning_moa.reporting.statistics import PerSeed, largest_fall, paired

TIE = 0.005
"""Numbers of a paper that differ by less than this share of their range say that two methods are level."""
LEVEL = 0.05
"""Two methods of ours are level where they differ by less than this share of all our methods' range."""

FALL = 0.1
"""An objective rises with its weight where it falls nowhere by as much as this share of its range."""


def rising_rows(
    points: pd.DataFrame, method: str, objective: str, space: str, claim: str, where: str, whose: str = PAPER
) -> list[Row]:
    """The claim that an objective of a method rises with its weight lambda: see `largest_fall`. None where the method
    has one weight of it alone.

    Args:
        points: a POINTS or ACCURACIES table.
        method: must know its preferences.
        objective: whose values and weights.
        space: where the values are taken.
        claim: in words.
        where: the place in the paper.
        whose: as in `judge`.
    """
    if points.loc[points["method"] == method, f"lambda_{objective}"].nunique() < 2:
        return []
    what = f"largest fall of {space}_{objective} between neighbouring weights / its range"
    fall = largest_fall(points, method, objective, space)
    return [judge(claim, where, what, fall, "<", FALL, margin=SHARE, whose=whose)]


def order_claims(
    theirs: Mapping[str, float],
    ours: Mapping[str, PerSeed],
    labels: Mapping[str, str],
    *,
    about: str,
    where: str,
    what: str,
    margin: float | None = None,
    without: Collection[str] = (),
) -> list[Row]:
    """A claim for each two neighbours in the paper's order, lowest first.

    Args:
        theirs: method -> the paper's number; methods that we don't have are passed over.
        ours: method -> seed -> our number, all for the same seeds.
        labels: method -> its name for readers.
        about: begins each claim, such as `risky, helpful`.
        where: the place in the paper.
        what: our number's name.
        margin: of differences of our numbers, as in `judge`.
        without: methods that count for the ranges alone.

    Returns:
        For neighbours a and b that b - a > 0, over seeds; or, where they are level in the paper (`TIE`), that b - a is
        within `LEVEL` of 0 as a share of the range that all our methods have in the same seed.
    """
    known = sorted((name for name in theirs if name in ours), key=theirs.__getitem__)
    if len(known) < 2:
        return []
    span = theirs[known[-1]] - theirs[known[0]]
    rows = []
    for low, high in pairwise(name for name in known if name not in without):
        gap = paired(ours[high], ours[low])
        below, above = labels[low], labels[high]
        statistic = f"{what}: {above} - {below}"
        if theirs[high] - theirs[low] > TIE * span:
            rows.append(judge(f"{about}: {below} < {above}", where, statistic, gap, ">", 0, margin=margin))
            continue
        shares = {seed: value / (_range(ours, seed) or 1.0) for seed, value in gap.items()}
        statistic += " / range of all methods"
        rows.append(judge(f"{about}: {below} level with {above}", where, statistic, shares, "within", LEVEL))
    return rows


def _range(ours: Mapping[str, PerSeed], seed: int) -> float:
    values = [each[seed] for each in ours.values()]
    return max(values) - min(values)
