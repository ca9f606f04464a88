"""Supervised fine-tuning: the reference policy of a model built from scratch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lightning_moa.batches import SequenceBatch
from lightning_moa.methods.stopping import Stoppable
from lightning_moa.objectives import Likelihood
from lightning_moa.objectives.base import OptimiserFactory
from lightning_moa.policies import Policy


class SFT(Stoppable):
    """Maximises the likelihood of the responses (HaM, eq. 1)."""

    def __init__(self, policy: Policy, optimiser: OptimiserFactory) -> None:
        super().__init__()
        self.policy = policy
        self.objective = Likelihood()
        self.make_optimiser = optimiser

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        loss = self.objective.losses(self.policy, batch).sum()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimiser, schedule = self.make_optimiser(self.policy.parameters())
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
