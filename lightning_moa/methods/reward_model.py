"""Reward models, one output per objective, learnt from pairs or from scores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from lightning_moa.batches import PairBatch, SequenceBatch
from lightning_moa.errors import UserError
from lightning_moa.methods.evaluated import MeanOfMeans
from lightning_moa.methods.stopping import Stoppable
from lightning_moa.methods.switches import stepped
from lightning_moa.objectives.base import OptimiserFactory
from lightning_moa.objectives.squared_error import REWARD_LOSSES


class RewardModel(Stoppable):
    """Learns scores (batch, m) from pairs with a label per objective, or from responses with a score for each.

    Args:
        network: a transformers sequence classifier with m outputs.
        optimiser: builds the optimiser, or it and its schedule; None: AdamW.
        regularisation: weight of the mean squared score.
        objectives: the outputs' names, for the log; None: numbers.
        lr: of AdamW, where no optimiser is given.
        view: pairs (Bradley-Terry), or sequences (squared error to the batch's rewards).

    Raises:
        UserError: another view.
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: OptimiserFactory | None = None,
        regularisation: float = 0.001,
        *,
        objectives: Sequence[str] | None = None,
        lr: float = 1e-3,
        view: str = "pairs",
    ) -> None:
        super().__init__()
        if view not in REWARD_LOSSES:
            raise UserError(f"view={view!r}: allowed are {', '.join(REWARD_LOSSES)}")
        self.network = network
        self.view = view
        self.objective: Any = REWARD_LOSSES[view](regularisation)
        self.make_optimiser = partial(AdamW, lr=lr) if optimiser is None else optimiser
        self.names = None if objectives is None else tuple(objectives)
        self.held_out_loss: Any = MeanOfMeans()

    def training_step(self, batch: PairBatch | SequenceBatch, batch_idx: int) -> Tensor:
        losses = self.objective.losses(self.network, batch)
        self.log_dict(self._named(losses.detach(), "loss"))
        self.log("loss", losses.detach().sum(), prog_bar=True)
        return losses.sum()

    def validation_step(self, batch: PairBatch | SequenceBatch, batch_idx: int) -> None:
        """`val/loss/<objective>`, of the held-out rows with a label for it, and `val/loss`, the objectives' mean."""
        losses = self.objective.losses(self.network, batch)
        counts = torch.full_like(losses, len(batch.input_ids))
        if isinstance(batch, PairBatch):
            counts = (~batch.labels.isnan()).sum(0)
        for (key, loss), count in zip(self._named(losses, "val/loss").items(), counts.tolist(), strict=True):
            self.log(key, loss, sync_dist=True, batch_size=int(count))
        self.held_out_loss.update(losses, counts)
        self.log("val/loss", self.held_out_loss, prog_bar=True, batch_size=len(batch.input_ids))

    def _named(self, losses: Tensor, key: str) -> dict[str, Tensor]:
        names = self.names or [str(i) for i in range(len(losses))]
        return {f"{key}/{name}": loss for name, loss in zip(names, losses, strict=True)}

    def configure_optimizers(self) -> Any:
        return stepped(self.make_optimiser, self.network.parameters())
