"""A training that ends when its policy is too far from the reference."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info

from lightning_moa.errors import UserError


class StopOnKL(Callback):
    """Stops a fit when a logged KL from the reference exceeds a limit, or is not a number.

    Args:
        limit: nats per response, above 0.
        monitor: the logged number: kl_k1 of PPO's rollouts, val/kl of PPO's validation, or grid/kl of `GridRewards`.

    Raises:
        UserError: a limit that is not above 0; or, at the end of the fit, a number that was never logged.
    """

    def __init__(self, limit: float, monitor: str = "kl_k1") -> None:
        if not limit > 0:
            raise UserError(f"StopOnKL: limit={limit} nats; it must be above 0")
        self.limit = limit
        self.monitor = monitor
        self._seen = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._seen = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._check(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._check(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._check(trainer)
        if not self._seen:
            known = ", ".join(sorted(trainer.callback_metrics)) or "none"
            raise UserError(f"StopOnKL: {self.monitor} was never logged; logged are {known}")

    def _check(self, trainer: L.Trainer) -> None:
        found = trainer.callback_metrics.get(self.monitor)
        if found is None:
            return
        self._seen = True
        if not float(found) <= self.limit and not trainer.should_stop:
            rank_zero_info(
                f"stopped after update {trainer.global_step}: {self.monitor} is {float(found):.3g} nats per response, "
                f"the limit {self.limit:g}"
            )
            trainer.should_stop = True
