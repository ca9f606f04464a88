"""A user's own files of pairs, read and checked. Light: no torch, so that a mistake in them is found while planning."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_moa.data.configs import PairsConfig, rating_label
from lightning_moa.data.files import read_local, require_columns, values
from lightning_moa.data.forms import Form, form_of, refuse
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.rated import rating
from lightning_moa.data.rows import Rows, pair_tables
from lightning_moa.data.tables import DropReport, PairTable
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

BETTER = "_better_id"
"""What a label's column may end with besides its name."""


def read_pairs(config: PairsConfig, objectives: Sequence[str], report: DropReport) -> dict[str, PairTable]:
    """The pairs of "train" and "eval", labels (n, m) in the order of the objectives; the rest goes into `report`.

    Raises:
        UserError: no path, a file that cannot be read, or a value that is not allowed; the line names file and row.
    """
    if config.path is None:
        raise UserError("data.path is empty: give data.path=<file or folder> of your pairs")
    return tables_of(read_local(config.path), config, objectives, report)


def tables_of(
    frames: Mapping[str, pd.DataFrame],
    config: PairsConfig,
    objectives: Sequence[str],
    report: DropReport,
    strengths: Collection[str] = (),
) -> dict[str, PairTable]:
    """The same of frames that are read already, of "train" and, where there is one, of "eval"; the columns of
    `strengths` are known to hold such.

    Raises:
        UserError: columns of no known form, or a value that is not allowed; the line names file and row.
    """
    check_columns(config)
    choices = choose_labels(config.label_columns(), objectives)
    forms = {split: _form(frame, config) for split, frame in frames.items()}
    report.notes = list(dict.fromkeys(f"read as {form.words}" for form in forms.values()))
    rated = {name: config.scores[name] for name in objectives if name in config.scores}
    rows = {split: _scored(forms[split].read(frame), rated, forms[split]) for split, frame in frames.items()}
    asked = [choice.column for choice in choices]
    named = {split: _by_short_name(each, asked) for split, each in rows.items()}
    return pair_tables(named, choices, config, report, config.complete, strengths)


def _by_short_name(rows: Rows, asked: Sequence[str]) -> Rows:
    """The rows with a label `<name>_better_id` called `<name>`, where that is what is asked for."""
    there = set(map(str, rows.labels.columns))
    named = {name + BETTER: name for name in asked if name not in there and name + BETTER in there}
    return replace(rows, labels=rows.labels.rename(columns=named)) if named else rows


def check_columns(config: PairsConfig) -> None:
    """Raise a `UserError` for settings that cannot name columns."""
    if len(config.response_columns) not in (0, 2):
        raise UserError(f"data.response_columns must name two columns, got {config.response_columns}")
    for name, columns in config.scores.items():
        if len(columns) != 2:
            raise UserError(f"data.scores.{name} must name two columns, one for each response, got {columns}")
        if columns[0] == columns[1]:
            raise UserError(
                f"data.scores.{name} must name two different columns, got {columns}: each pair would tie"
            )
        if name in config.labels:
            raise UserError(
                f"data.scores.{name}: the objective has a label already, data.labels.{name}; give one"
            )


def _form(frame: pd.DataFrame, config: PairsConfig) -> Form:
    form = form_of(map(str, frame.columns), config)
    return form or refuse(frame, config.prompt_column)


def _scored(rows: Rows, scores: Mapping[str, Sequence[str]], form: Form) -> Rows:
    """The rows with a label for each pair of rating columns."""
    if scores and form.rated:
        name = next(iter(scores))
        raise UserError(
            f"data.scores.{name}: here responses are rated one by one, and each rating is a label: give "
            f"data.labels.{name}=<column>, one of {', '.join(map(str, rows.labels.columns))}"
        )
    made: dict[str, Any] = {
        rating_label(columns): _ratings(rows.labels, columns) for columns in scores.values()
    }
    return replace(rows, labels=rows.labels.assign(**made), checked=True) if made else rows


def _ratings(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """The index of the response that is rated higher; None where both are alike or one rating is missing."""
    import pandas as pd

    require_columns(frame, columns)
    sides = [
        [rating(frame, column, *each) for each in enumerate(values(frame, column))] for column in columns
    ]
    better = [
        None if first is None or second is None or first == second else int(second > first)
        for first, second in zip(*sides, strict=True)
    ]
    return pd.Series(better, frame.index, dtype=object)
