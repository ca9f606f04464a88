"""Supervised fine-tuning: the reference policy of a model built from scratch."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor
from torch.optim import AdamW

from lightning_moa.batches import SequenceBatch
from lightning_moa.methods.stopping import Stoppable
from lightning_moa.methods.switches import stepped
from lightning_moa.objectives import Likelihood
from lightning_moa.objectives.base import OptimiserFactory
from lightning_moa.policies import Policy


class SFT(Stoppable):
    """Maximises the likelihood of the responses (HaM, eq. 1).

    Args:
        policy: whose weights are trained.
        optimiser: builds the optimiser, or it and its schedule; None: AdamW.
        lr: of AdamW, where no optimiser is given.
    """

    view = "sequences"

    def __init__(
        self, policy: Policy, optimiser: OptimiserFactory | None = None, *, lr: float = 3e-3
    ) -> None:
        super().__init__()
        self.policy = policy
        self.objective = Likelihood()
        self.make_optimiser = partial(AdamW, lr=lr) if optimiser is None else optimiser

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        loss = self.objective.losses(self.policy, batch).sum()
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: SequenceBatch, batch_idx: int) -> None:
        loss = self.objective.losses(self.policy, batch).sum()
        self.log("val/loss", loss, prog_bar=True, sync_dist=True, batch_size=int(batch.response_mask.sum()))

    def configure_optimizers(self) -> Any:
        return stepped(self.make_optimiser, self.policy.parameters())
