"""PKU-Alignment/BeaverTails: single answers, each marked safe or unsafe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_moa.data.answers import ScoredAnswers
from lightning_moa.data.configs import BeaverTailsConfig
from lightning_moa.data.files import read_hub, read_local, require_columns, texts
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.rows import Rows, answer_tables
from lightning_moa.data.tables import AnswerTable

if TYPE_CHECKING:
    import pandas as pd

HUB_ID = "PKU-Alignment/BeaverTails"


class BeaverTails(ScoredAnswers):
    """Prompts with one answer each: sequences and prompts, but no pairs.

    The reward column is `is_safe`: 1 for a safe answer, 0 for an unsafe one. The same prompt has several
    answers; they are all on one side of the split.

    `path`: a file, a folder with files named train and test, or a copy of the repository (the edition of
    `size` is read). Empty: the hub, with the edition's test split.
    """

    config: BeaverTailsConfig
    no_pairs = (
        "BeaverTails has single answers, no pairs, so it cannot train on preferences: use "
        "PKU-SafeRLHF (data=pku_saferlhf), which has pairs to the same kind of prompts"
    )

    def read(self) -> dict[str, AnswerTable]:
        """The answers of "train" and "eval"; with `is_safe`, 1 for a safe answer and 0 for an unsafe one."""
        rows = {name: parse(frame) for name, frame in self._frames().items()}
        return answer_tables(
            rows, choose_labels(self.config.labels, self.objectives), self.config, self.report
        )

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
