"""Which column says which response is better for which objective."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_moa.data.files import number, place, values
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SHORTER = "shorter"
"""The rule column of every set of pairs: the index of the response with fewer characters."""

SCORE_WORDS = {"false": 0.0, "true": 1.0, **dict.fromkeys(("", "null", "none", "nan"), np.nan)}
"""What a text says of a single response, in lower case, that is no number."""
WORDS = {
    **SCORE_WORDS,
    **{"a": 0.0, "b": 1.0, "model_a": 0.0, "model_b": 1.0},
    **dict.fromkeys(("tie", "draw", "both", "neither"), np.nan),
}
"""What a text says of two responses, in lower case, that is no number."""
NUMBERS = {0.0: 0.0, 1.0: 1.0, 0.5: np.nan, -1.0: np.nan}
"""What a number says where a column holds the index of the better response: 0.5 is a tie, -1 that nobody knows."""
STRONGEST = 3
"""Largest strength of a preference."""
ALLOWED = (
    "0, 1, false, true, a, b; of no side are null, -1, 0.5, tie; or a whole column of strengths from -3 to 3, some "
    "beyond 1 or -1, below 0 where the first response is the better one"
)


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


def label_matrix(
    frame: pd.DataFrame,
    choices: Sequence[LabelChoice],
    columns: Sequence[str],
    strengths: Collection[str] = (),
) -> np.ndarray:
    """(n, m) index of the better response for each objective: 0.0, 1.0, or NaN where nobody said.

    `frame` has a column for each name in `columns` (what `data.labels` may choose from), of which those in `strengths`
    hold strengths. Raises `UserError` for a column that is not among them, naming the ones there are, and for a value
    that says nothing, naming its file and row.
    """
    matrix = np.empty((len(frame), len(choices)))
    for objective, choice in enumerate(choices):
        _check_column(choice, columns)
        values = label_values(frame, choice.column, choice.column in strengths)
        matrix[:, objective] = 1.0 - values if choice.reverse else values
    return matrix


def score_matrix(frame: pd.DataFrame, choices: Sequence[LabelChoice]) -> np.ndarray:
    """(n, m) scores of single responses, higher is better: the chosen columns' numbers, those of '-column' negated, 0
    and 1 for false and true, NaN where nobody said.

    Raises `UserError` for a column that is not there, naming those that are, and for a value that is no number, naming
    its file and row.
    """
    matrix = np.empty((len(frame), len(choices)))
    for objective, choice in enumerate(choices):
        _check_column(choice, [str(column) for column in frame.columns])
        for position, value in enumerate(values(frame, choice.column)):
            found = SCORE_WORDS.get(value.strip().lower()) if isinstance(value, str) else None
            found = np.nan if value is None else number(value) if found is None else found
            if found is None:
                file, row = place(frame, position)
                raise UserError(
                    f"{file}, row {row}, column {choice.column!r}: a number is expected, got {value!r}"
                )
            matrix[position, objective] = -found if choice.reverse else found
    return matrix


def _check_column(choice: LabelChoice, columns: Sequence[str]) -> None:
    if choice.column not in columns:
        raise UserError(
            f"data.labels.{choice.objective}={choice.column}: there is no such label column; "
            f"available are {', '.join(columns)}"
        )


def label_values(frame: pd.DataFrame, column: str, strengths: bool = False) -> np.ndarray:
    """(n,) a column as the index of the better response: 0.0, 1.0, or NaN where nobody said or both are alike.

    Strengths are below 0 where the first response is the better one, and above it where the second is. Raises
    `UserError` for a value that says nothing, naming its file and row.
    """
    out = np.empty(len(frame))
    for position, value in enumerate(values(frame, column)):
        found = _index_of(value, strengths)
        if found is None:
            file, row = place(frame, position)
            raise UserError(f"{file}, row {row}, column {column!r}: allowed are {ALLOWED}; got {value!r}")
        out[position] = found
    return out


def hold_strengths(found: Iterable[Any]) -> bool:
    """Whether a column's values are strengths of a preference: numbers with some below 0 and some beyond 1 or -1."""
    numbers = [each for value in found if (each := number(value)) is not None]
    return any(each < 0 for each in numbers) and any(abs(each) > 1 for each in numbers)


def _index_of(value: Any, strength: bool) -> float | None:
    """0.0, 1.0, NaN; None for a value that is not allowed."""
    if value is None:
        return np.nan
    if isinstance(value, str) and (word := value.strip().lower()) in WORDS:
        return WORDS[word]
    found = number(value) if isinstance(value, (str, bool, int, float)) else None
    if found is None or not strength:
        return None if found is None else NUMBERS.get(found)
    if abs(found) > STRONGEST:
        return None
    return np.nan if found == 0 else float(found > 0)


def shorter(responses_0: Sequence[str], responses_1: Sequence[str]) -> np.ndarray:
    """(n,) index of the response with fewer characters, outer white space left aside; NaN where equal."""
    lengths_0 = np.array([len(text.strip()) for text in responses_0], dtype=np.int64)
    lengths_1 = np.array([len(text.strip()) for text in responses_1], dtype=np.int64)
    index = (lengths_1 < lengths_0).astype(np.float64)
    index[lengths_0 == lengths_1] = np.nan
    return index
