"""What a policy answers, under several preferences, to look at while it is trained."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_moa.callbacks.looks import Look
from lightning_moa.pareto import check_preference
from lightning_moa.rewards.base import Rewards, Rule


class LogResponses(Look):
    """A table of prompts, responses and scores under several preferences (or of each head): to the terminal, to a file,
    and to loggers that take texts (TensorBoard, W&B).

    The file begins anew with each fit; one that goes on from a checkpoint keeps the looks that came before it.

    Args:
        rewards, every, ...: see `Look`.
        preferences: (n, m); None: each objective alone, and equal weights.
        prompts: how many.
        path: a CSV that each look's rows are added to; None: none.
        show: whether it is printed.

    Raises:
        UserError: before anything is trained, a preference of another length, or whose weights do not add up to 1.
    """

    def __init__(
        self,
        rewards: Rewards | Mapping[str, Rule] | None = None,
        *,
        preferences: Sequence[Sequence[float]] | None = None,
        prompts: int = 2,
        path: str | Path | None = None,
        show: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(rewards, prompts=prompts, **options)
        self.preferences = preferences
        self.path = None if path is None else Path(path)
        self.show = show
        self._size = 0
        """Of the file as this fit, or the one that it goes on from, left it."""
        self._begun = True

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        for row in () if self.preferences is None else self.preferences:
            check_preference(row, getattr(pl_module, "m", len(row)))
        if stage == "fit":
            self._begun = False
            if not trainer.global_step:
                # What a checkpoint keeps comes later, from Lightning or from a study's own.
                self._size = 0

    def look(self, trainer: L.Trainer, module: Any) -> None:
        m = len(self.objectives(module))
        asked = np.array([*np.eye(m), np.full(m, 1 / m)] if self.preferences is None else self.preferences)
        grid = np.array([check_preference(row, m) for row in asked])
        frames = []
        for name, policy, preferences in self.members(module.policy, grid):
            frame = self.sampled(trainer, module, policy, preferences)
            under = ["" if preferences is None else _words(preferences[i]) for i in frame["preference"]]
            frames.append(frame.assign(policy=name, under=under))
        scores = [f"reward_{name}" for name in (self.rewards.objectives if self.rewards else ())]
        table = pd.concat(frames)[["prompt", "policy", "under", "response", *scores]]
        table = table.sort_values("prompt", kind="stable", ignore_index=True)
        if trainer.is_global_zero:
            self._tell(trainer, table.assign(step=trainer.global_step))

    def _tell(self, trainer: L.Trainer, table: pd.DataFrame) -> None:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._begun and self.path.exists() and self.path.stat().st_size > self._size:
                # Another fit's; or of a start that was killed behind its checkpoint, and had looked at more.
                os.truncate(self.path, self._size)
            self._begun = True
            table.to_csv(
                self.path,
                mode="a",
                header=not self.path.exists() or not self.path.stat().st_size,
                index=False,
                lineterminator="\n",
                quoting=csv.QUOTE_NONNUMERIC,
            )
            self._size = self.path.stat().st_size
        if self.show:
            Console().print(_printed(table))
        for logger in trainer.loggers:
            tell_text(logger, table, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {"size": self._size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._size = state_dict["size"]


def tell_text(logger: Any, table: pd.DataFrame, step: int) -> None:
    """Hand a table to a logger that takes texts; others get nothing."""
    if hasattr(logger, "log_text"):  # W&B
        logger.log_text(
            "responses", columns=list(table), data=table.astype(str).to_numpy().tolist(), step=step
        )
    elif hasattr(getattr(logger, "experiment", None), "add_text"):  # TensorBoard
        lines = ["| " + " | ".join(map(str, table)) + " |", "|" + " --- |" * len(table.columns)]
        for row in table.astype(str).itertuples(index=False):
            lines.append(
                "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
            )
        logger.experiment.add_text("responses", "\n".join(lines), step)


def _printed(table: pd.DataFrame) -> Table:
    shown = Table(title=f"update {table['step'].iloc[0]}")
    columns = [name for name in table if name != "step"]
    for name in columns:
        shown.add_column(str(name).removeprefix("reward_"))
    for row in table[columns].itertuples(index=False):
        # As they are: a response may hold what a terminal would take for markup.
        shown.add_row(*(Text(f"{cell:.3g}" if isinstance(cell, float) else str(cell)) for cell in row))
    return shown


def _words(preference: np.ndarray) -> str:
    return " ".join(f"{weight:.2g}" for weight in preference)
