"""MODPO: DPO on one objective's labels, with the other objectives' rewards as a margin (Zhou et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_moa.answers import Sections
from lightning_moa.batches import PairBatch
from lightning_moa.errors import UserError
from lightning_moa.objectives.base import Plan, Run, better_sign, labelled_mean, per_example
from lightning_moa.objectives.dpo import DPO, better_nll, implicit_margins
from lightning_moa.objectives.rollout import preference_rows
from lightning_moa.objectives.settings import MODPOConfig
from lightning_moa.policies import Policy, pair_logps
from lightning_moa.rewards import as_rewards
from lightning_moa.rewards.base import Rewards, Rule

if TYPE_CHECKING:
    from lightning_moa.data.tables import PairTable
    from lightning_moa.data.training import TrainingData


def modpo_losses(margins: Tensor, labels: Tensor, gains: Tensor, weights: Tensor, base: Tensor) -> Tensor:
    """-log sigma(s (beta d - sum_{j != k} w_j g_j) / w_k), k being the base, s 1 or -1 towards k's better response.

    Where k's labels are drawn by the Bradley-Terry model of reward r_k, the least expected loss is that of
    pi ~ pi_ref exp(sum_j w_j r_j / beta), whichever k is the base.

    Args:
        margins: (batch,) beta d, implicit reward of response 1 over response 0.
        labels: (batch, m), index of the better response, NaN where unknown.
        gains: (batch, m) g, reward of response 1 less that of response 0.
        weights: (batch, m) w, on the simplex, w_k above 0.
        base: (batch,) int64, k.

    Returns:
        (batch,), to minimise; log 2, without gradient, where k's label is unknown.
    """
    of_base = base[:, None]
    others = weights.scatter(1, of_base, 0.0)
    rest = (margins - (others * gains).sum(1)) / weights.gather(1, of_base)[:, 0]
    return -F.logsigmoid(better_sign(labels.gather(1, of_base)[:, 0]) * rest)


class MODPO(DPO):
    """One loss for all objectives: at preference w, `modpo_losses` of the pairs that the base's labels tell of.

    The rewards are those of `modpo.reward` and `modpo.rewards`, in the units of a Bradley-Terry model, as a trained one
    has them. They are scored before the training of each policy begins. At a corner it is DPO on that objective.

    Args:
        beta, likelihood: as DPO's; the likelihood is that of the base's better response.
        base: place of the objective whose labels are learned from; None: of the largest weight, for each preference.
        rewards: what scores the pairs under a `Trainer` of one's own, or objective -> function (prompts, responses) ->
            n numbers; a study has scored them.
    """

    sections: ClassVar[Sections] = {"modpo": MODPOConfig}
    scores = True
    of_several = False

    @classmethod
    def apart(cls, settings: MODPOConfig) -> bool:
        return False

    @classmethod
    def check(cls, plan: Plan) -> None:
        base_of(plan.settings.base, plan.objectives)

    @classmethod
    def tasks(cls, plan: Plan) -> dict[str, Any]:
        return {**super().tasks(plan), **plan.scoring()}

    @classmethod
    def build(cls, run: Run) -> Self:
        settings: MODPOConfig = run.settings
        return cls(settings.beta, settings.likelihood, base_of(settings.base, run.objectives), **run.options)

    @classmethod
    def batch_inputs(cls, run: Run) -> dict[str, Any]:
        scored = pair_rewards(run.rewards(run.settings.batch_size), run.data.table("train"))
        return {**super().batch_inputs(run), "rewards": scored}

    def __init__(
        self,
        beta: float,
        likelihood: float = 0.0,
        base: int | None = None,
        rewards: Rewards | Mapping[str, Rule] | None = None,
    ) -> None:
        super().__init__(beta, likelihood)
        self.base = base
        self.rewards = None if rewards is None else as_rewards(rewards)

    def prepare(self, policy: Policy, data: TrainingData, splits: Sequence[str]) -> None:
        super().prepare(policy, data, splits)
        if self.rewards is None:
            raise UserError("MODPO: rewards=... is needed, which scores the pairs' responses")
        for split in splits:
            data.take_rewards(split, pair_rewards(self.rewards, data.source.table(split)))

    def count(self, m: int) -> int:
        return 1

    def counts(self, part: PairBatch) -> Tensor:
        """Labelled pairs of the base; of changing bases, the mean of all objectives'."""
        m = part.labels.shape[1]
        if self.base is not None and not 0 <= self.base < m:
            raise UserError(
                f"MODPO(base={self.base}): allowed are the places 0 to {m - 1} of {m} objectives, or None"
            )
        labelled = (~part.labels.isnan()).sum(0).float()
        return labelled.mean()[None] if self.base is None else labelled[self.base][None]

    def losses(self, policy: Policy, batch: PairBatch, preference: Tensor | None) -> Tensor:
        """(1,) or (g, 1); `batch.ref_logps` and `batch.rewards` must be filled."""
        if batch.ref_logps is None or batch.rewards is None:
            raise UserError(
                "MODPO needs batches with ref_logps and rewards: a TrainingData, as the Trainer's data module, works "
                "them out"
            )
        each = per_example(preference, len(batch.labels))
        logps = pair_logps(policy, batch, each)
        first, second = batch.rewards.chunk(2)
        weights = preference_rows(each, first)
        base = weights.argmax(1) if self.base is None else torch.full_like(weights[:, 0], self.base).long()
        chosen = base[:, None]
        if not bool((weights.gather(1, chosen) > 0).all()):
            raise UserError(
                f"modpo.base: objective {self.base} has a weight of 0; at such a preference leave it empty"
            )
        margins = implicit_margins(logps, batch.ref_logps, self.beta)
        values = modpo_losses(margins, batch.labels, second - first, weights, base)[:, None]
        if self.likelihood:
            values = values + self.likelihood * better_nll(logps, batch).gather(1, chosen)
        return labelled_mean(values, ~batch.labels.gather(1, chosen).isnan(), preference)


def base_of(name: str | None, objectives: Sequence[str]) -> int | None:
    """The place of the objective that `modpo.base` names."""
    if name is None or name in objectives:
        return None if name is None else list(objectives).index(name)
    raise UserError(f"modpo.base={name}: allowed are {', '.join(objectives)}, or none")


def pair_rewards(rewards: Rewards, table: PairTable) -> np.ndarray:
    """(n, 2, m) scores of a table's responses."""
    sides = [rewards.scores(table.prompts, [pair[side] for pair in table.responses]) for side in (0, 1)]
    return np.stack(sides, axis=1)
