"""The look at every head (`HeadWatch`) as a callback that needs no building."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from lightning_moa.errors import UserError
from lightning_moa.methods.head_watch import HeadWatch
from lightning_moa.objectives.likelihood import RewardWeightedLikelihood
from lightning_moa.policies import Heads


class WatchHeads(Callback):
    """Writes which heads are alive, how far they are from the reference, and their likelihoods, on training rows.

    Args:
        path: of the CSV, written when the fit ends; its columns are those of `HeadWatch`.
        every: updates between two looks.
        rows: training rows that are looked at, the first ones.

    Raises:
        UserError: the method is not one of heads that learn by reward-weighted likelihood, from a `TrainingData`.
    """

    def __init__(self, path: str | Path, every: int = 50, rows: int = 256) -> None:
        if every < 1 or rows < 1:
            raise UserError(f"WatchHeads: every={every}, rows={rows}; both must be at least 1")
        self.path = Path(path)
        self.every = every
        self.rows = rows
        self.watch: HeadWatch | None = None
        self._state: dict[str, Any] | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        module: Any = pl_module
        data: Any = getattr(trainer, "datamodule", None)
        policy, objective = getattr(module, "policy", None), getattr(module, "objective", None)
        if not isinstance(policy, Heads) or not isinstance(objective, RewardWeightedLikelihood):
            raise UserError(
                f"WatchHeads: {type(module).__name__} has no heads that learn by weighted likelihood"
            )
        if not hasattr(data, "source"):
            raise UserError(
                "WatchHeads: rows come from the Trainer's data module, a TrainingData; there is none"
            )
        names = (
            [str(i) for i in range(objective.count(module.m))]
            if objective.directions is not None
            else module.names
        )
        batches = data.batches("train", limit=self.rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        made = HeadWatch(policy, objective, names, batches, self.every, self.path, module.accumulate)
        if self._state is not None:
            made.load_state_dict(self._state)
        self.watch = made

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.watch is not None:
            self.watch.on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.watch is not None:
            self.watch.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.watch is not None:
            self.watch.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.watch is None else self.watch.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._state = dict(state_dict) or None
        if self.watch is not None and self._state is not None:
            self.watch.load_state_dict(self._state)
