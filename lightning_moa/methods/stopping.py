"""Trainings that end between two batches when they are told to."""

from __future__ import annotations

from typing import Any

import lightning as L


class Stoppable(L.LightningModule):
    """A module whose fit takes no further batch once a callback has asked to stop: Lightning itself would go on to the
    end of the batch that has just begun."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """-1, by which Lightning skips the rest, or None."""
        return -1 if self.trainer.should_stop else None
