"""The settings of an optimiser, which all that trains has. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_moa.errors import UserError
from lightning_moa.fields import option

SCHEDULES = ("cosine", "linear", "constant", "constant_with_warmup")
"""Transformers' names: of these `constant` alone has no warm-up."""


@dataclass
class OptimiserConfig:
    """AdamW, its schedule, and how long it runs."""

    lr: float = option(1e-3, "peak learning rate", above=0)
    weight_decay: float = option(0.0, "AdamW's weight decay", at_least=0)
    beta1: float = option(0.9, "AdamW's first momentum", at_least=0, below=1)
    beta2: float = option(0.95, "AdamW's second momentum", at_least=0, below=1)
    schedule: str = option("cosine", "learning-rate schedule", choices=SCHEDULES)
    warmup_ratio: float = option(
        0.03, "share of the steps that the learning rate rises over", at_least=0, at_most=1
    )
    grad_clip: float = option(1.0, "largest gradient norm; 0 does not clip", at_least=0)
    batch_size: int = option(64, "rows of an update, over all devices", at_least=1)
    accumulate: int = option(1, "micro-batches that an update is split into", at_least=1)
    steps: int | None = option(None, "updates; empty: as many as `epochs` takes", at_least=1)
    epochs: float = option(1.0, "passes over the training split, where `steps` is empty", above=0)

    def check_shares(self, where: str) -> None:
        """Refuse what an update's rows can't be split into evenly: micro-batches, and drawn preferences.

        Args:
            where: what these settings are called in the configuration.

        Raises:
            UserError: names the key and the batch size.
        """
        for key in ("accumulate", "preferences_per_batch"):
            parts = getattr(self, key, 1)
            if self.batch_size % parts:
                raise UserError(
                    f"{where}.{key}={parts}: must divide {where}.batch_size, which is {self.batch_size}"
                )
