"""The look at every objective's gradient (`GradientWatch`) as a callback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from lightning_moa.errors import UserError
from lightning_moa.methods.watching import GradientWatch


class WatchGradients(Callback):
    """Records the Gramian of the losses' gradients, their weights, and what each step gains each objective.

    Args:
        path: of the CSV, written when the fit ends; its columns are those of `GradientWatch.write`.
        every: updates between two looks.

    Raises:
        UserError: `every` below 1, or a module that can't be watched: one that is no `Alignment`, or one that takes
            each gradient of a pass of its own.
    """

    def __init__(self, path: str | Path, every: int = 10) -> None:
        if every < 1:
            raise UserError(f"WatchGradients: every={every}; must be at least 1 update")
        self.path = Path(path)
        self.every = every

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        module: Any = pl_module
        if not hasattr(module, "watch") or module.fresh_passes:
            raise UserError(
                f"WatchGradients: {type(module).__name__} can't be watched; needed is an Alignment without fresh_passes"
            )
        names = module.names or [str(i) for i in range(module.m)]
        module.watch = GradientWatch(module.policy, names, self.every)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            module: Any = pl_module
            self.path.parent.mkdir(parents=True, exist_ok=True)
            module.watch.write(self.path)
