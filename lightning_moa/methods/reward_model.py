"""Bradley-Terry reward models, one output per objective."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lightning_moa.batches import PairBatch
from lightning_moa.methods.stopping import Stoppable
from lightning_moa.objectives import BradleyTerry
from lightning_moa.objectives.base import OptimiserFactory


class RewardModel(Stoppable):
    """Learns scores (batch, m) from pairs with a label per objective.

    Args:
        network: a transformers sequence classifier with m outputs.
        optimiser: builds the optimiser and its schedule.
        regularisation: weight of the mean squared score.
    """

    def __init__(self, network: nn.Module, optimiser: OptimiserFactory, regularisation: float) -> None:
        super().__init__()
        self.network = network
        self.objective = BradleyTerry(regularisation)
        self.make_optimiser = optimiser

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        losses = self.objective.losses(self.network, batch)
        self.log_dict({f"loss_{i}": loss for i, loss in enumerate(losses.detach())})
        return losses.sum()

    def configure_optimizers(self) -> Any:
        optimiser, schedule = self.make_optimiser(self.network.parameters())
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
