"""Claims, judged: a statistic's values over seeds and a bound become a row of claims.csv.

The statistic's text ends with what the claim asserts about it (`hypervolume difference > bound`), so that a
reader, and `CLAIMS.check`, can recompute the verdict from the row alone. What is true by construction is no claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.reporting.claim_rows import left_with_holm
from lightning_moa.reporting.schema import CLAIMS, OURS, PAPER
from lightning_moa.reporting.verdicts import (
    FAILS,
    HOLDS,
    IS_LEVEL,
    LEVEL,
    NOISE,
    ONE_SEED,
    RELATIONS,
    Estimate,
    estimate,
    p_value,
    verdict,
)

__all__ = [
    "OURS",
    "PAPER",
    "Row",
    "by_chance",
    "claims_frame",
    "judge",
    "judge_several",
    "sensitivity_frame",
]

Row = dict[str, object]
OF_RULE = "rule"
"""The reference point that verdicts stand on; the others only show what hangs on it."""


def judge(
    claim: str,
    where: str,
    statistic: str,
    values: Mapping[int, float],
    relation: str,
    bound: float,
    *,
    margin: float | None = None,
    whose: str = PAPER,
) -> Row:
    """A claim about a statistic that differs from seed to seed.

    The value is the mean over seeds, the interval Student's t of 95% (see `verdicts.estimate`). `holds` if the
    relation is true throughout the interval, `fails` if nowhere; else `level` if all of the interval is within the
    margin of the bound, and otherwise `within noise`; `one seed` if there is only one. For the claim "a is level
    with b" judge their difference with the relation `within` and the margin as bound: only an interval inside
    [-bound, bound] holds, so that noise never shows two methods to be equal.
    Counts of seeds, and ranks, soon take their largest value in every seed, and then have no interval: judge the
    number that is counted or ranked.

    Args:
        claim: the assertion, in words.
        where: the place in the paper; for a claim of ours, the place that it stands beside, or any words.
        statistic: what `values` are, with their unit.
        values: seed -> value, from `lightning_moa.reporting.statistics`.
        relation: one of RELATIONS.
        bound: what the value is held against.
        margin: how far from the bound is of no account, in the statistic's unit: by the rule of docs/verdicts.md, from
            `lightning_moa.reporting.margins`. None where there is none, as for `within`.
        whose: PAPER for a sentence of the paper, OURS for a question of one's own.

    Returns:
        A row of CLAIMS, without `verdict_holm`, which is given to all rows of an artefact together.

    Raises:
        UserError: no seeds, a value that is no finite number, an unknown relation, or a margin that is below 0 or
            stands beside `within`.
    """
    return _row(claim, where, whose, statistic, estimate(values, statistic), relation, bound, margin)


def judge_several(
    claim: str,
    where: str,
    statistic: str,
    each: Mapping[str, Mapping[int, float]],
    relation: str,
    bound: float,
    *,
    margin: float | None = None,
    whose: str = PAPER,
    every: bool = True,
) -> Row:
    """A claim that takes every one of several comparisons, such as that a method is the best of all; or any of them,
    such as that it is not.

    Not the difference to the best of the others in each seed, which is below 0 for a method that is as good as they:
    of equals another one has the luck. A claim that takes every comparison holds where each does, and the row is then
    of the one that is least certain. Else it is of the one that speaks most against it, of those that do not hold, with
    an interval that makes up for its having been picked (`verdicts.estimate`, `at_once`). What takes any fails where
    each does, and is else of the one that speaks most for it.

    Args:
        claim, where, relation, bound, margin, whose: as of `judge`; the relation is not `within`.
        statistic: what the values are, but for whom they are held against, whose name follows it.
        each: name of the other -> seed -> value.
        every: whether the claim takes every comparison, or any.

    Returns:
        A row as of `judge`, with what each comparison came to (EACH).
    """
    if relation == "within" or not each:
        raise UserError(f"claim {claim!r}: others, and a relation with a direction, are needed")
    against = (1 if relation in (">", ">=") else -1) * (1 if every else -1)

    def row(name: str, at_once: int = 1) -> Row:
        what = f"{statistic} {name}"
        return _row(claim, where, whose, what, estimate(each[name], what, at_once), relation, bound, margin)

    rows = {name: row(name) for name in each}
    settled, decided = (HOLDS, FAILS) if every else (FAILS, HOLDS)
    picked = [row(name, len(each)) for name, one in rows.items() if one["verdict"] != settled]
    if picked:
        # What is level with one of them and unknown beside another is unknown.
        order = [decided, ONE_SEED, NOISE, IS_LEVEL]
        chosen = min(
            picked, key=lambda one: (order.index(str(one["verdict"])), against * float(str(one["value"])))
        )
    else:
        chosen = max(rows.values(), key=lambda one: float(str(one["p"])))
    return {**chosen, EACH: {str(row["statistic"]): row["value"] for row in rows.values()}}


EACH = "each"
"""Of a row of `judge_several`, and no column of a table: statistic -> value of each comparison."""


def claims_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """A checked CLAIMS table of all rows of an artefact, in their order, with Holm's adjustment over all of them."""
    names = [name for name in CLAIMS.names((), ("margin",)) if name != "verdict_holm"]
    frame = pd.DataFrame(list(rows), columns=names)
    return CLAIMS.check(frame.assign(verdict_holm=left_with_holm(frame)), "claims")


def by_chance(claims: pd.DataFrame) -> float:
    """How many rows would hold by chance, and as many fail, if every true value lay exactly at its bound."""
    return float(claims["p"].notna().sum() * LEVEL / 2)


def sensitivity_frame(rows_at: Callable[[str], Sequence[Row]], references: Sequence[str]) -> pd.DataFrame:
    """What becomes of the verdicts that rest on a reference point where the point is another one.

    Args:
        rows_at: all rows of an artefact, at the reference points of a name.
        references: the names, OF_RULE first.

    Returns:
        Of each claim whose value moves with the point, a row for each name: `claim`, `where`, `whose`, `statistic`,
        `reference`, `value`, `ci_low`, `ci_high`, `bound`, `margin` and `verdict`.
    """
    found = {name: rows_at(name) for name in references}
    shown = [
        "claim",
        "where",
        "whose",
        "statistic",
        "reference",
        "value",
        "ci_low",
        "ci_high",
        "bound",
        "margin",
        "verdict",
    ]
    moving = [each for each in zip(*found.values(), strict=True) if len({row["value"] for row in each}) > 1]
    rows = [{**row, "reference": name} for each in moving for name, row in zip(references, each, strict=True)]
    return pd.DataFrame(rows, columns=shown)


def _row(
    claim: str,
    where: str,
    whose: str,
    statistic: str,
    result: Estimate,
    relation: str,
    bound: float,
    margin: float | None = None,
) -> Row:
    if relation not in RELATIONS:
        raise UserError(f"claim {claim!r}: relation {relation!r}; allowed are {', '.join(RELATIONS)}")
    if margin is not None and not (relation != "within" and 0 <= margin < math.inf):
        raise UserError(
            f"claim {claim!r}: margin {margin} with the relation {relation!r}; allowed are numbers of at least 0, and "
            "none with 'within', whose bound is the margin"
        )
    known = math.nan if margin is None else float(margin)
    return {
        "claim": claim,
        "where": where,
        "whose": whose,
        "statistic": f"{statistic} {relation} bound",
        "seeds": result.seeds,
        "value": float(result.value),
        "ci_low": float(result.ci_low),
        "ci_high": float(result.ci_high),
        "bound": float(bound),
        "margin": known,
        "p": p_value(result, relation, bound),
        "verdict": verdict(result, relation, bound, known),
    }
