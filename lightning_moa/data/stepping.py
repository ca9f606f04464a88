"""What data modules share whose loader gives batch t for step t."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import lightning as L

from lightning_moa.data.batching import StepLoader
from lightning_moa.data.encoding import Encoded


class StepData(L.LightningDataModule, ABC):
    """A data module whose `use(...)` sets the loader."""

    _loader: StepLoader | None = None

    @abstractmethod
    def encoded(self, tokenizer: Any, split: str, view: str) -> Encoded:
        """A split's texts as tokens, worked out once per tokenizer."""

    @abstractmethod
    def use(self, *args: Any, **kwargs: Any) -> Any:
        """Set what `train_dataloader()` yields: (tokenizer, view, batch_size=, steps=, seed=), and what the batches
        carry besides the rows."""

    def start_at(self, step: int) -> None:
        """Let the next pass begin at this batch, for a run that goes on after a stop."""
        assert self._loader is not None
        self._loader.load_state_dict({"next_step": step})

    def train_dataloader(self) -> StepLoader:
        """The batches that `use` has set."""
        if self._loader is None:
            raise RuntimeError("say what the loader yields first: data.use(tokenizer, view, ...)")
        if self.trainer is not None and self.trainer.world_size > 1:
            # Only a launched trainer knows how many processes share a step, and which of them this one is.
            return self._loader.shared(self.trainer.global_rank, self.trainer.world_size)
        return self._loader
