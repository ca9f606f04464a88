"""Points from CSV files of another form, such as those of other people's code."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.reporting.files import read_text
from lightning_moa.reporting.schema import POINTS

VALUES = ("reward_", "gold_")
FIXED = ("method", "seed", "step", "policy", "kl", "n")
"""Columns, besides those of the objectives, that may be taken from such a file."""
FORM = "reward_<objective>=COLUMN, with gold_<objective>=, lambda_<objective>= and " + "=, ".join(FIXED) + "="


def is_foreign(file: Path) -> bool:
    """Whether a file's header is not that of points.csv, which no other has two columns of that say where a row is
    from; that of a broken one may lack the third."""
    header = read_text(file).partition("\n")[0].strip().split(",")
    return len({"paper", "artefact", "scale"} & {name.strip('"') for name in header}) < 2


def parse_columns(text: str) -> dict[str, str]:
    """`--columns`: words `ours=theirs`, with commas between.

    Raises:
        UserError: a word of another form, or a column that points.csv does not have.
    """
    found: dict[str, str] = {}
    for word in text.split(","):
        ours, equals, theirs = (part.strip() for part in word.partition("="))
        known = ours in FIXED or any(ours.startswith(p) and ours != p for p in (*VALUES, "lambda_"))
        if not equals or not theirs or not known:
            raise UserError(f"--columns: {word.strip() or text!r}; allowed are {FORM}")
        if ours in found:
            raise UserError(f"--columns: {ours} is there twice, {found[ours]} and {theirs}; allowed is once")
        found[ours] = theirs
    if not _objectives(found):
        raise UserError(f"--columns {text}: no objective's values; allowed are {FORM}")
    return found


def read_foreign(file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Points of a CSV file of another form, a row for each policy.

    What is not named is filled in: the method is the file's name, the seed and the step 0, n 1; a policy that knows no
    preference is called by its row.

    Args:
        file: with a header.
        columns: column of points.csv to column of the file.

    Raises:
        UserError: no columns are given, one that the file lacks, or values that are not allowed in points.csv.
    """
    if not columns:
        raise UserError(f"{file}: not a points.csv; say by --columns what its columns are: {FORM}")
    try:
        header, *body = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    except (csv.Error, ValueError) as error:
        raise UserError(f"{file}: not a CSV file with a header ({error})") from error
    for theirs in columns.values():
        if theirs not in header:
            raise UserError(f"{file}: no column {theirs!r}; it has {', '.join(header)}")
    uneven = next((i for i, row in enumerate(body, 1) if len(row) != len(header)), None)
    if uneven is not None:
        raise UserError(f"{file}: row {uneven} has {len(body[uneven - 1])} cells, the header {len(header)}")
    given = {ours: [row[header.index(theirs)] for row in body] for ours, theirs in columns.items()}
    objectives = _objectives(columns)
    knows = any(f"lambda_{objective}" in given for objective in objectives)
    whole = {
        **{
            "paper": "-",
            "artefact": file.stem,
            "scale": "-",
            "method": file.stem,
            "seed": 0,
            "step": 0,
            "n": 1,
        },
        "policy": [""] * len(body) if knows else [f"row {i}" for i in range(1, len(body) + 1)],
        **{f"{prefix}{objective}": "" for prefix in ("lambda_", *VALUES) for objective in objectives},
        "kl": "",
    }
    return POINTS.check(pd.DataFrame(whole | given, index=range(len(body)), dtype=object), str(file))


def _objectives(columns: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(name.removeprefix(p) for name in columns for p in VALUES if name.startswith(p)))
