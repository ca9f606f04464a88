"""PKU-Alignment/PKU-SafeRLHF: pairs with a verdict for helpfulness and one for harmlessness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import PKUSafeRLHFConfig
from lightning_moa.data.files import read_hub, read_local, require_columns, texts
from lightning_moa.data.labels import choose_labels, label_values
from lightning_moa.data.rows import Rows, pair_tables
from lightning_moa.data.tables import PairTable

if TYPE_CHECKING:
    import pandas as pd

HUB_ID = "PKU-Alignment/PKU-SafeRLHF"
LABELS = ("better_response_id", "safer_response_id")
SAFE = ("is_response_0_safe", "is_response_1_safe")


class PKUSafeRLHF(PreferenceData):
    """Pairs of PKU-SafeRLHF. Label columns: better_response_id (helpful), safer_response_id, `shorter`.

    Read are prompt, response_0, response_1, the two label columns and, where there, is_response_0_safe and
    is_response_1_safe: all that the earlier editions have too. Dropped and counted: pairs whose safer reply
    is marked unsafe while the other is marked safe, and pairs of equal replies. "Safer" says nothing of
    "safe": in nearly half of the pairs both replies are unsafe.

    `path`: a file, or a folder with files named train and test. Empty: the hub, with its test split.
    """

    config: PKUSafeRLHFConfig

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """Those of `config.labels`."""
        return tuple(choice.objective for choice in choose_labels(self.config.labels, objectives))

    def tables(self) -> dict[str, PairTable]:
        """The pairs of "train" and "eval"."""
        if self.config.path is None:
            frames = read_hub(HUB_ID, self.config.revision, {"train": "train", "eval": "test"})
        else:
            frames = read_local(self.config.path)
        rows = {split: parse(frame) for split, frame in frames.items()}
        return pair_tables(rows, choose_labels(self.config.labels, self.objectives), self.config, self.report)


def parse(frame: pd.DataFrame) -> Rows:
    """The rows of a frame with the data set's columns."""
    require_columns(frame, ["prompt", "response_0", "response_1", *LABELS])
    prompts = texts(frame, "prompt")
    sides = [texts(frame, f"response_{k}") for k in (0, 1)]
    return Rows(
        prompts=prompts,
        responses=list(zip(*sides, strict=True)),
        reasons=_contradictions(frame),
        keys=[prompt or "" for prompt in prompts],
        labels=frame[list(LABELS)],
    )


def _contradictions(frame: pd.DataFrame) -> list[str | None]:
    if not set(SAFE) <= set(frame.columns):
        return [None] * len(frame)
    # Whether the reply marked safer is marked unsafe while the other one is safe; of what is not known nothing is.
    first, second = (label_values(frame, column) for column in SAFE)
    contradicted = second - first == 1 - 2 * label_values(frame, LABELS[1])
    return ["safer label contradicts the safety flags" if each else None for each in contradicted]
