"""A user's own files of pairs, read and checked. Light: no torch, so that a mistake in them is found while planning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_moa.data.configs import PairsConfig
from lightning_moa.data.files import read_local, require_columns, texts
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.rows import Rows, pair_tables
from lightning_moa.data.tables import DropReport, PairTable
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def read_pairs(config: PairsConfig, objectives: Sequence[str], report: DropReport) -> dict[str, PairTable]:
    """The pairs of "train" and "eval", labels (n, m) in the order of the objectives; the rest goes into `report`.

    Raises:
        UserError: no path, a file that cannot be read, or a value that is not allowed; the line names file and row.
    """
    if config.path is None:
        raise UserError("data.path is empty: give data.path=<file or folder> of your pairs")
    if len(config.response_columns) != 2:
        raise UserError(f"data.response_columns must name two columns, got {config.response_columns}")
    rows = {
        split: parse(frame, config.prompt_column, config.response_columns)
        for split, frame in read_local(config.path).items()
    }
    return pair_tables(rows, choose_labels(config.labels, objectives), config, report)


def parse(frame: pd.DataFrame, prompt_column: str, response_columns: Sequence[str]) -> Rows:
    """The rows of a frame with the named columns; every other column may be a label."""
    text_columns = [prompt_column, *response_columns]
    require_columns(frame, text_columns)
    prompts = texts(frame, prompt_column)
    sides = [texts(frame, column) for column in response_columns]
    return Rows(
        prompts=prompts,
        responses=list(zip(*sides, strict=True)),
        reasons=[None] * len(frame),
        keys=[prompt or "" for prompt in prompts],
        labels=frame.drop(columns=text_columns),
    )
