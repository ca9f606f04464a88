"""Bradley-Terry reward models, one output per objective."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW

from lightning_moa.batches import PairBatch
from lightning_moa.methods.stopping import Stoppable
from lightning_moa.methods.switches import stepped
from lightning_moa.objectives import BradleyTerry
from lightning_moa.objectives.base import OptimiserFactory


class RewardModel(Stoppable):
    """Learns scores (batch, m) from pairs with a label per objective.

    Args:
        network: a transformers sequence classifier with m outputs.
        optimiser: builds the optimiser, or it and its schedule; None: AdamW.
        regularisation: weight of the mean squared score.
        objectives: the outputs' names, for the log; None: numbers.
        lr: of AdamW, where no optimiser is given.
    """

    view = "pairs"

    def __init__(
        self,
        network: nn.Module,
        optimiser: OptimiserFactory | None = None,
        regularisation: float = 0.001,
        *,
        objectives: Sequence[str] | None = None,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.network = network
        self.objective = BradleyTerry(regularisation)
        self.make_optimiser = partial(AdamW, lr=lr) if optimiser is None else optimiser
        self.names = None if objectives is None else tuple(objectives)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        losses = self.objective.losses(self.network, batch)
        self.log_dict(self._named(losses.detach(), "loss"))
        self.log("loss", losses.detach().sum(), prog_bar=True)
        return losses.sum()

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        losses, rows = self.objective.losses(self.network, batch), len(batch.labels)
        self.log_dict(self._named(losses, "val/loss"), sync_dist=True, batch_size=rows)
        self.log("val/loss", losses.sum(), prog_bar=True, sync_dist=True, batch_size=rows)

    def _named(self, losses: Tensor, key: str) -> dict[str, Tensor]:
        names = self.names or [str(i) for i in range(len(losses))]
        return {f"{key}/{name}": loss for name, loss in zip(names, losses, strict=True)}

    def configure_optimizers(self) -> Any:
        return stepped(self.make_optimiser(self.network.parameters()))
