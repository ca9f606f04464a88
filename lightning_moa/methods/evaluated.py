"""What is worked out before a method's first batch, and what it is measured by on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_moa.data.training import TrainingData
from lightning_moa.errors import UserError
from lightning_moa.methods.stopping import Stoppable
from lightning_moa.methods.vocabularies import check_tokenizer
from lightning_moa.objectives import Objective
from lightning_moa.policies import Policy


class MeanOfMeans(Metric):
    """The mean over objectives of each one's mean over all entries that it was measured on; objectives without an entry
    are left out. NaN where there is none at all."""

    full_state_update = False
    sums: Tensor
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("sums", "counts"):
            self.add_state(name, torch.zeros(1), dist_reduce_fx="sum")

    def update(self, means: Tensor, counts: Tensor) -> None:
        """`means`: (k,), of a batch; `counts`: (k,) or (1,), of how many entries."""
        if self.sums.shape != means.shape:
            self.sums, self.counts = torch.zeros_like(means), torch.zeros_like(means)
        self.sums += torch.where(counts > 0, means.detach() * counts, 0.0)
        self.counts += counts

    def compute(self) -> Tensor:
        seen = self.counts > 0
        return (self.sums[seen] / self.counts[seen]).mean()


class Evaluated(Stoppable):
    """A module with a policy and an objective that a `Trainer` validates and tests."""

    policy: Policy
    objective: Objective
    names: tuple[str, ...] | None
    m: int
    at: Tensor | None

    @property
    def view(self) -> str:
        """What a batch is: pairs, sequences or prompts."""
        return self.objective.view

    def setup(self, stage: str) -> None:
        """What must be worked out before the first batch: reference log-probs, where the objective needs them."""
        if not hasattr(self, "held_out_losses"):
            self.held_out_losses = nn.ModuleDict({name: MeanOfMeans() for name in ("val", "test")})
        if stage == "fit":
            # A pretrained model arrives in evaluation mode, in which it would keep all activations.
            self.train()
        data: Any = getattr(self.trainer, "datamodule", None)
        scored = getattr(getattr(self.objective, "rewards", None), "objectives", None)
        if scored is not None:
            self._agree(tuple(scored), data.objectives if isinstance(data, TrainingData) else self.names)
        if isinstance(data, TrainingData):
            # Prompts alone are scored by objectives of the rewards' own.
            if len(data.objectives) != self.m and self.view != "prompts":
                raise UserError(
                    f"{type(self).__name__} has {self.m} objectives, the data {len(data.objectives)}: "
                    f"{', '.join(data.objectives)}"
                )
            if self.names is None and len(data.objectives) == self.m:
                self.names = data.objectives
            if self.view != "prompts" and tuple(self.names or ()) != tuple(data.objectives):
                raise UserError(
                    f"{type(self).__name__}: the data's objectives are {', '.join(data.objectives)}, and objectives="
                    f"{list(self.names or ())}: they must be the same, in one order"
                )
            check_tokenizer(self.policy, data)
            if stage == "fit" or self.objective.needs:
                self.to(self.trainer.strategy.root_device)
                self.objective.prepare(self.policy, data, ("train", "eval") if stage == "fit" else ("eval",))

    def _agree(self, scored: tuple[str, ...], named: Sequence[str] | None) -> None:
        """Raise `UserError` where what scores responses has other objectives than the method, or the same in another
        order; where nobody has named the method's, they are those of the rewards."""
        kind = type(self).__name__
        if len(scored) != self.m:
            raise UserError(f"{kind} has {self.m} objectives, its rewards {len(scored)}: {', '.join(scored)}")
        for known in filter(None, (named, self.names)):
            same = set(known) == set(scored)
            if tuple(known) != scored and (same or self.view == "pairs"):
                raise UserError(
                    f"{kind}: the rewards score {', '.join(scored)}, and the objectives are {', '.join(known)}: they "
                    "must be the same, in one order"
                )
        if self.names is None and self.view == "prompts":
            self.names = scored

    def named_losses(self, count: int) -> Sequence[str]:
        """The objectives' names; numbers where the losses are not theirs (there is one, or one a direction)."""
        known = self.names is not None and len(self.names) == count
        return self.names if known and self.names else [str(i) for i in range(count)]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Losses, and what else the objective measures, on held-out rows: see `evaluate`."""
        self.evaluate(batch, batch_idx, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """The same as in validation, named `test/...`."""
        self.evaluate(batch, batch_idx, "test")

    def evaluate(self, batch: Any, batch_idx: int, stage: str) -> None:
        """Log what the objective measures on a batch that is not trained on.

        `<stage>/<what>/<objective>`: at the preference that the policy is trained for, or at equal weights; of heads
        the mean. `<stage>/own_<what>/<objective>`: of a policy that a preference steers, at that objective alone.
        `<stage>/loss`: the mean of the objectives' losses.
        """
        centre = torch.full((self.m,), 1 / self.m) if self.at is None else self.at
        measured = self.objective.measures(self.policy, batch, centre.to(self.device), batch_idx)
        for what, (values, counts) in measured.items():
            each = values.reshape(-1, values.shape[-1]).mean(0)
            if what != "loss" or len(each) > 1:
                self._log_means(f"{stage}/{what}", each, counts)
            if what == "loss":
                mean: Any = self.held_out_losses[stage]
                mean.update(each, counts.to(each.device))
                self.log(f"{stage}/loss", mean, prog_bar=True, batch_size=len(batch.input_ids))
        if self.policy.m == self.m:
            for i, corner in enumerate(torch.eye(self.m, device=self.device)):
                own = self.objective.measures(self.policy, batch, corner, batch_idx)
                for what, (values, counts) in own.items():
                    if len(values) == self.m:
                        self._log_means(f"{stage}/own_{what}", values, counts, only=i)

    def _log_means(self, key: str, values: Tensor, counts: Tensor, only: int | None = None) -> None:
        """Means over all batches, each weighed by how many entries it is the mean of."""
        for i, name in enumerate(self.named_losses(len(values))):
            if only is None or only == i:
                rows = int(counts[i if len(counts) > 1 else 0])
                whole = key if len(values) == 1 else f"{key}/{name}"
                self.log(whole, values[i], sync_dist=True, batch_size=rows)
