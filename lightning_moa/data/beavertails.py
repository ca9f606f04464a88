"""PKU-Alignment/BeaverTails: single answers, each marked safe or unsafe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightning_moa.data.base import PreferenceData, distinct_prompts
from lightning_moa.data.configs import BeaverTailsConfig
from lightning_moa.data.files import read_hub, read_local, require_columns, texts
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.rows import Rows, answer_tables
from lightning_moa.data.tables import AnswerTable, PairTable
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

HUB_ID = "PKU-Alignment/BeaverTails"


class BeaverTails(PreferenceData):
    """Prompts with one answer each: sequences and prompts, but no pairs.

    The reward column is `is_safe`: 1 for a safe answer, 0 for an unsafe one. The same prompt has several
    answers; they are all on one side of the split.

    `path`: a file, a folder with files named train and test, or a copy of the repository (the edition of
    `size` is read). Empty: the hub, with the edition's test split.
    """

    config: BeaverTailsConfig

    def __init__(self, config: BeaverTailsConfig, objectives: Sequence[str] | None = None) -> None:
        super().__init__(config, objectives)
        self.report.unit = "answers"
        self._answers: dict[str, AnswerTable] | None = None

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """Those of `config.labels`."""
        return tuple(choice.objective for choice in choose_labels(self.config.labels, objectives))

    def tables(self) -> dict[str, PairTable]:
        """Raises `UserError`: there are no pairs."""
        raise UserError(
            "BeaverTails has single answers, no pairs, so it cannot train on preferences: use "
            "PKU-SafeRLHF (data=pku_saferlhf), which has pairs to the same kind of prompts"
        )

    def answers(self, split: str) -> AnswerTable:
        """The answers of a split ("train" or "eval"), read once."""
        if self._answers is None:
            rows = {name: parse(frame) for name, frame in self._frames().items()}
            choices = choose_labels(self.config.labels, self.objectives)
            self._answers = answer_tables(rows, choices, self.config, self.report)
        return self._answers[split]

    def sft_rows(self, split: str) -> tuple[list[str], list[str]]:
        """Prompts and answers, safe and unsafe ones alike."""
        return self.answers(split).prompts, self.answers(split).responses

    def sequence_rewards(self, split: str) -> np.ndarray | None:
        """(k, m) the chosen columns: with `is_safe`, 1 for a safe answer and 0 for an unsafe one."""
        return self.answers(split).rewards

    def prompt_list(self, split: str) -> list[str]:
        """The distinct prompts of a split; those to evaluate on so that any first of them stand for all."""
        table = self.answers(split)
        return distinct_prompts(table.prompts, table.subsets, split, self.config.split_seed)

    def _frames(self) -> dict[str, pd.DataFrame]:
        size = self.config.size
        if self.config.path is None:
            splits = {"train": f"{size}_train", "eval": f"{size}_test"}
            return read_hub(HUB_ID, self.config.revision, splits)
        path = Path(self.config.path).expanduser()
        editions = [path / "round0" / size, path / size]
        return read_local(next((edition for edition in editions if edition.is_dir()), path))


def parse(frame: pd.DataFrame) -> Rows:
    """The rows of a frame with the columns prompt, response and is_safe."""
    require_columns(frame, ["prompt", "response", "is_safe"])
    prompts = texts(frame, "prompt")
    return Rows(
        prompts=prompts,
        responses=[(response,) for response in texts(frame, "response")],
        reasons=[None] * len(frame),
        keys=[prompt or "" for prompt in prompts],
        labels=frame[["is_safe"]],
    )
