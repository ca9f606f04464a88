"""A look at every head now and then: is it alive, how far is it from the reference, what are its likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback

from lightning_moa.batches import SequenceBatch, moved
from lightning_moa.errors import UserError
from lightning_moa.objectives.likelihood import RewardWeightedLikelihood
from lightning_moa.pareto import hypervolume_gradient
from lightning_moa.policies import Heads


class HeadWatch(Callback):
    """Writes `heads.csv`: step (updates), head, alive, kl, and `loglik_<objective>`, weighted, nats per response.

    A head is alive where the hypervolume, of all given rows and not of a mini-batch, has a gradient in one of its
    values: it isn't dominated by another head, nor clipped. `kl` is the mean over the response tokens of the first of
    the batches of KL(pi_k(. | prefix) || pi_ref(. | prefix)), nats per token, on the rows' own prefixes.

    Args:
        policy: the heads.
        objective: what they maximise; its z says what is clipped.
        names: of the objectives (m,), or of the directions.
        batches: the rows to look at, always the same.
        every: updates between two looks; the start and the end are looked at too.
        path: of the file, written at the end.
        accumulate: batches of an update.

    Raises:
        UserError: the objective has no z.
    """

    def __init__(
        self,
        policy: Heads,
        objective: RewardWeightedLikelihood,
        names: Sequence[str],
        batches: Sequence[SequenceBatch],
        every: int,
        path: Path,
        accumulate: int = 1,
    ) -> None:
        if objective.z is None:
            raise UserError("HeadWatch: an objective with z is needed, which says what is clipped")
        self.policy = policy
        self.z = objective.z
        directions = None if objective.directions is None else objective.directions.tolist()
        # What z cuts off of a batch would be lost in the mean over the batches.
        self.weighted = RewardWeightedLikelihood(None, objective.power, directions)
        self.names = list(names)
        self.batches = list(batches)
        self.every = every
        self.path = path
        self.accumulate = accumulate
        self.rows: list[dict[str, object]] = []
        self._updates = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.rows:
            self._look(0, pl_module.device)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Over all epochs.
        self._updates, partly = divmod(trainer.fit_loop.total_batch_idx + 1, self.accumulate)
        if not partly and self._updates % self.every == 0:
            self._look(self._updates, pl_module.device)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.rows[-1]["step"] != self._updates:
            self._look(self._updates, pl_module.device)
        if trainer.is_global_zero:
            pd.DataFrame(self.rows).to_csv(self.path, index=False, lineterminator="\n")

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "updates": self._updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self._updates = list(state_dict["rows"]), int(state_dict["updates"])

    @torch.no_grad()
    def _look(self, step: int, device: torch.device) -> None:
        training = self.policy.training
        self.policy.eval()
        logliks = self._logliks(device)
        values = np.maximum((logliks + self.z) / self.z, 0)
        _, gradient = hypervolume_gradient(values, np.zeros(len(self.names)))
        divergence = self._divergence(device)
        self.policy.train(training)
        for k in range(self.policy.heads):
            own = {f"loglik_{name}": float(logliks[k, j]) for j, name in enumerate(self.names)}
            self.rows.append(
                {"step": step, "head": k, "alive": bool((gradient[k] > 0).any()), "kl": divergence[k], **own}
            )

    def _logliks(self, device: torch.device) -> np.ndarray:
        """(K, m) weighted log-likelihoods over all rows, nats per response."""
        total = sum(len(batch.input_ids) for batch in self.batches)
        sums = np.zeros((self.policy.heads, len(self.names)))
        for batch in self.batches:
            losses = self.weighted.losses(self.policy, moved(batch, device))
            sums -= losses.double().cpu().numpy() * len(batch.input_ids)
        return sums / total

    def _divergence(self, device: torch.device) -> list[float]:
        """KL from the reference of each head, nats per token, on the first batch."""
        batch = moved(self.batches[0], device)
        predicted = batch.response_mask[:, 1:]
        inputs = (batch.input_ids, batch.attention_mask)
        with self.policy.reference():
            reference = self.policy(*inputs)[:, :-1][predicted].float().log_softmax(-1)
        found = []
        for k in range(self.policy.heads):
            logits = self.policy.head(k)(*inputs)[:, :-1][predicted].float().log_softmax(-1)
            found.append(float((logits.exp() * (logits - reference)).sum(-1).mean()))
        return found


def head_watch(run: Any, method: Any, rows: Any, path: Path) -> list[Callback]:
    """The look at the heads that the section `heads` asks for, where a policy has several."""
    policy, objective = method.policy, method.objective
    if not isinstance(policy, Heads) or not isinstance(objective, RewardWeightedLikelihood):
        return []
    settings = run.section("heads")
    if policy.heads == 1 or not settings.watch:
        return []
    size = run.settings.batch_size // run.settings.accumulate
    batches = list(rows.batches(run.tokenizer, size, settings.watch_rows))
    names: list[str] = list(run.objectives)
    if objective.directions is not None:
        names = [" ".join(f"{value:g}" for value in row) for row in objective.directions.tolist()]
    return [HeadWatch(policy, objective, names, batches, settings.watch, path, run.settings.accumulate)]
