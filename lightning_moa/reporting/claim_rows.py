"""What rows of claims.csv say: verdicts, computed anew from the numbers beside them, and what noise rules out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.reporting.verdicts import (
    NOISE,
    RELATIONS,
    VERDICTS,
    Estimate,
    adjusted_verdicts,
    level_p,
    p_value,
    rules_out,
    verdict,
)


def relation_of(statistic: str) -> str:
    """What a claim asserts of its bound, such as `>`: the last words of its statistic."""
    return statistic.removesuffix(" bound").rpartition(" ")[2]


def ruled_out(row: Mapping[Any, Any]) -> str:
    """`verdicts.rules_out` of a row that is within noise; empty for others."""
    if row["verdict"] != NOISE:
        return ""
    return rules_out(_estimate(row), relation_of(row["statistic"]), row["bound"])


def left_with_holm(claims: pd.DataFrame) -> list[str]:
    """The verdicts of a file's rows that are left when all of them are looked at together."""
    level_ps = [level_p(_estimate(row), row["bound"], _margin(row)) for row in claims.to_dict("records")]
    return adjusted_verdicts(claims["verdict"].tolist(), claims["p"].astype(float).tolist(), level_ps)


def check_verdicts(claims: pd.DataFrame, where: str) -> None:
    """A verdict follows from the numbers beside it; UserError naming `where` and the row for one written by hand."""
    for number, row in enumerate(claims.to_dict("records"), 1):
        relation, margin = relation_of(row["statistic"]), _margin(row)
        if not row["statistic"].endswith(" bound") or relation not in RELATIONS:
            raise UserError(
                f"{where}: column 'statistic', row {number} doesn't end with a relation to the bound;"
                f" allowed are {', '.join(f'{r} bound' for r in RELATIONS)}"
            )
        if margin < 0 or (relation == "within" and not math.isnan(margin)):
            raise UserError(
                f"{where}: column 'margin', row {number} is {margin}; allowed are numbers of at least 0, and nothing"
                " beside 'within'"
            )
        if row["seeds"] > 1 and not row["ci_low"] <= row["value"] <= row["ci_high"]:
            raise UserError(f"{where}: column 'value', row {number} lies outside its interval")
        result = _estimate(row)
        expected = p_value(result, relation, row["bound"])
        if not np.isclose(row["p"], expected, rtol=1e-6, atol=0, equal_nan=True):
            raise UserError(f"{where}: column 'p', row {number} is {row['p']}, the numbers say {expected}")
        said = verdict(result, relation, row["bound"], margin)
        _same_verdict(row["verdict"], said, where, "verdict", number)
    for number, (found, said) in enumerate(
        zip(claims["verdict_holm"], left_with_holm(claims), strict=True), 1
    ):
        _same_verdict(found, said, where, "verdict_holm", number)


def _estimate(row: Mapping[Any, Any]) -> Estimate:
    return Estimate(row["value"], row["ci_low"], row["ci_high"], row["seeds"])


def _margin(row: Mapping[Any, Any]) -> float:
    """NaN where there is none: files of before have no such column."""
    return float(row.get("margin", math.nan))


def _same_verdict(found: str, expected: str, where: str, column: str, number: int) -> None:
    if found != expected:
        raise UserError(
            f"{where}: column {column!r}, row {number} is {found!r}, the numbers say {expected!r};"
            f" allowed are {', '.join(VERDICTS)}, as computed"
        )
