"""Which column says which response is better for which objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightning_moa.data.files import place, values
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SHORTER = "shorter"
"""The rule column of every set of pairs: the index of the response with fewer characters."""

VALUES = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0, "": np.nan, "null": np.nan}


@dataclass(frozen=True)
class LabelChoice:
    """An objective's label column, read as it stands or reversed."""

    objective: str
    column: str
    reverse: bool


def choose_labels(labels: dict[str, str], objectives: Sequence[str] | None = None) -> list[LabelChoice]:
    """The label column of each objective, in the order of `objectives` (None: all of `labels`, in order).

    A leading minus in `labels` reverses a column. Raises `UserError` where `labels` is empty, or an objective
    has no entry or is named twice.
    """
    if not labels:
        raise UserError("data.labels is empty: give data.labels.<objective>=<column> for each objective")
    names = list(labels) if objectives is None else list(objectives)
    if not names:
        raise UserError(f"objectives is an empty list; data.labels names {', '.join(labels)}")
    for name in names:
        if name not in labels:
            raise UserError(
                f"objective {name!r} has no entry in data.labels, which names {', '.join(labels)}: give "
                f"data.labels.{name}=<column>, or choose among those by objectives=[...]"
            )
        if names.count(name) > 1:
            raise UserError(f"objective {name!r} is named twice")
    return [LabelChoice(name, labels[name].removeprefix("-"), labels[name].startswith("-")) for name in names]


def label_matrix(frame: pd.DataFrame, choices: Sequence[LabelChoice], columns: Sequence[str]) -> np.ndarray:
    """(n, m) index of the better response for each objective: 0.0, 1.0, or NaN where nobody said.

    `frame` has a column for each name in `columns` (what `data.labels` may choose from). Raises `UserError`
    for a column that is not among them, naming the ones there are, and for a value other than
    0, 1, true, false or null, naming its file and row.
    """
    matrix = np.empty((len(frame), len(choices)))
    for objective, choice in enumerate(choices):
        if choice.column not in columns:
            raise UserError(
                f"data.labels.{choice.objective}={choice.column}: there is no such label column; "
                f"available are {', '.join(columns)}"
            )
        values = label_values(frame, choice.column)
        matrix[:, objective] = 1.0 - values if choice.reverse else values
    return matrix


def label_values(frame: pd.DataFrame, column: str) -> np.ndarray:
    """(n,) a column of 0, 1, true, false or null as 0.0, 1.0, NaN. Raises `UserError` for any other value."""
    out = np.empty(len(frame))
    for position, value in enumerate(values(frame, column)):
        if isinstance(value, str):
            number = VALUES.get(value.strip().lower())
        elif value is None:
            number = np.nan
        else:
            number = float(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None
        if number is None:
            file, row = place(frame, position)
            raise UserError(
                f"{file}, row {row}, column {column!r}: allowed are 0, 1, true, false and null, got {value!r}"
            )
        out[position] = number
    return out


def shorter(responses_0: Sequence[str], responses_1: Sequence[str]) -> np.ndarray:
    """(n,) index of the response with fewer characters, outer white space left aside; NaN where equal."""
    lengths_0 = np.array([len(text.strip()) for text in responses_0], dtype=np.int64)
    lengths_1 = np.array([len(text.strip()) for text in responses_1], dtype=np.int64)
    index = (lengths_1 < lengths_0).astype(np.float64)
    index[lengths_0 == lengths_1] = np.nan
    return index
