"""Trainings that end between two batches when they are told to."""

from __future__ import annotations

from typing import Any

import lightning as L


class Stoppable(L.LightningModule):
    """A module whose fit takes no further batch once a callback has asked to stop: Lightning itself would go on to the
    end of the batch that has just begun. A `Trainer`'s `min_epochs` and `min_steps` are kept to."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """-1, by which Lightning skips the rest, or None."""
        trainer = self.trainer
        enough = trainer.current_epoch >= (trainer.min_epochs or 0)
        enough = enough and trainer.global_step >= (trainer.min_steps or 0)
        return -1 if trainer.should_stop and enough else None
