"""Likelihood of given responses: plain (SFT), or weighted by their rewards (HaM, SCA)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from lightning_moa.answers import Sections
from lightning_moa.batches import PairBatch, SequenceBatch, moved
from lightning_moa.data.about import read_about
from lightning_moa.errors import UserError
from lightning_moa.objectives.base import Objective, Plan, Run, labelled_mean, per_example
from lightning_moa.objectives.costs import full_batch
from lightning_moa.objectives.scored import ScoredObjective
from lightning_moa.objectives.settings import SCORED, LikelihoodConfig
from lightning_moa.pareto import even_preferences
from lightning_moa.policies import Heads, Policy, RewardPrompt, head_logps, response_logps
from lightning_moa.policies.generation import evaluating
from lightning_moa.policies.settings import HeadsConfig
from lightning_moa.policies.steering import check_preference
from lightning_moa.processes import joint_mean

if TYPE_CHECKING:
    from lightning_moa.data.scored import Rewrite
    from lightning_moa.data.training import TrainingData


class Likelihood(Objective):
    """Negative log-likelihood per response token: supervised fine-tuning's loss (HaM, eq. 1, per token)."""

    of_several = False
    loss_range = (0.0, inf)

    @classmethod
    def apart(cls, settings: LikelihoodConfig) -> bool:
        return False

    def losses(self, policy: Policy, batch: SequenceBatch, preference: Tensor | None = None) -> Tensor:
        """(1,), the mean over all response tokens of the batch, all processes' rows together."""
        rows = per_example(preference, len(batch.input_ids))
        logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask, rows)
        return -joint_mean(logps.sum(), batch.response_mask.sum())[None]

    def count(self, m: int) -> int:
        return 1

    def counts(self, part: SequenceBatch) -> Tensor:
        """Response tokens."""
        return part.response_mask.sum()[None]


class LikelihoodInContext(ScoredObjective, Likelihood):
    """Likelihood of scored responses whose rewards stand in their prompts (RiC; HaM, section 2.2)."""

    in_prompt = True

    @classmethod
    def build(cls, run: Run) -> Self:
        return cls()

    @classmethod
    def rewrite(cls, run: Run) -> Rewrite:
        about = read_about(run.folder("rows"))
        goals = RewardPrompt.of(run.section("ric"), run.objectives, about["low"], about["high"])
        goals.check(run.tokenizer)
        return goals.insert

    def prepare(self, policy: Policy, data: TrainingData, splits: Sequence[str]) -> None:
        """Raises `UserError`: a `TrainingData`'s prompts don't hold their rewards; a study writes them in."""
        raise UserError(
            f"{type(self).__name__}: its prompts must hold rewards, which a study writes into them (moa.run_study, or "
            "a script); with a TrainingData it would be trained on responses as they are"
        )


class RewardWeightedLikelihood(ScoredObjective):
    """-E[w_j log p(y | x)] of each objective j (HaM, eq. 3 and 9), or its shifted and scaled form (eq. 4).

    The batch's rewards must lie in [0, 1]; they are never clipped here. Policies of several heads give a row for each.

    Args:
        z: above 0: losses are -max((L_j + z) / z, 0), in [-1, 0] (eq. 4); None: -L_j, at least 0 (eq. 3).
        power: w_j = r_j^power; 1 in the paper.
        directions: (D, m) preferences: objective d is then weighed by (direction_d . r)^power, scalarised first, so
            that a response which is good in both ways counts for more than a mixture of ones that are good in one.
            None: each reward weighs its own objective.
        z_factor: where `z` is None: z becomes so many times the reference's largest |L_j| on the training rows, when a
            `Trainer` begins; None leaves it out.

    Raises:
        UserError: z or power not above 0, or directions off the simplex.
    """

    sections: ClassVar[Sections] = {**SCORED, "heads": HeadsConfig}
    of_several = True
    # A study knows z.
    loss_range = (-1.0, 0.0)
    directions: Tensor | None

    @classmethod
    def check(cls, plan: Plan) -> None:
        if plan.settings.weigh == "scalarise_first" and "head_preferences" in plan.options["method"]:
            raise UserError(
                f"likelihood.weigh=scalarise_first: {plan.name}, whose heads each have a preference, needs "
                "per_objective; allowed are SCA's models, and HaM"
            )

    @classmethod
    def build(cls, run: Run) -> Self:
        settings: LikelihoodConfig = run.settings
        z = float(read_about(run.folder("rows"))["z"])
        if settings.weigh == "per_objective":
            return cls(z, settings.power)
        return cls(z, settings.power, directions_of(run))

    @classmethod
    def example(cls, run: Run, rows: int) -> tuple[Self, SequenceBatch | PairBatch]:
        # z changes no shape, and is known once the rows are scored.
        return cls(1e9, run.settings.power), full_batch(cls.view, run, rows)

    def __init__(
        self,
        z: float | None = None,
        power: float = 1.0,
        directions: Sequence[Sequence[float]] | None = None,
        z_factor: float | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("z", z), ("power", power), ("z_factor", z_factor)):
            if value is not None and not value > 0:
                raise UserError(f"{name}={value}: must be above 0")
        self.z = z
        self._given_z = z
        self.z_factor = z_factor
        self.power = power
        rows = None if directions is None else torch.tensor(directions, dtype=torch.float32)
        self.register_buffer(
            "directions", None if rows is None else check_preference(rows, *rows.shape[::-1])
        )
        self._clipped: float | Tensor = 0.0

    @torch.no_grad()
    def prepare(self, policy: Policy, data: TrainingData, splits: Sequence[str]) -> None:
        """z, where `z_factor` asks for it."""
        if self._given_z is not None or self.z_factor is None:
            return
        device, rows = next(policy.parameters()).device, 0
        total = torch.zeros((), dtype=torch.float64, device=device)
        with evaluating(policy), policy.reference():
            for loaded in data.batches("train"):
                batch = moved(loaded, device)
                logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)
                total = total + (self.weights(batch) * logps[:, None]).double().sum(0)
                rows += len(logps)
        self.z = self.z_factor * float(total.abs().max()) / rows

    def get_extra_state(self) -> dict[str, float | None]:
        """z, which a module that is loaded from a checkpoint has not worked out."""
        return {"z": self.z}

    def set_extra_state(self, state: dict[str, float | None]) -> None:
        """As `get_extra_state` gave it."""
        self.z = state["z"]

    def losses(self, policy: Policy, batch: SequenceBatch, preference: Tensor | None = None) -> Tensor:
        """(m,) or (g, m) of a policy; (K, m) of `Heads`. With directions D stands for m.

        Raises:
            UserError: the batch has no rewards, or one is NaN or outside [0, 1].
        """
        weights = self.weights(batch)
        if isinstance(policy, Heads):
            logps = head_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)
            weighted = joint_mean(logps @ weights, len(weights))
        else:
            rows = per_example(preference, len(batch.input_ids))
            logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask, rows)
            values = weights * logps[:, None]
            weighted = labelled_mean(values, torch.ones_like(values, dtype=torch.bool), preference)
        if self.z is None:
            return -weighted
        above = (weighted + self.z) / self.z
        self._clipped = (above.detach() < 0).float().mean()
        return -torch.relu(above)

    def weights(self, batch: SequenceBatch) -> Tensor:
        """(batch, m) or (batch, D): what multiplies the log-likelihood of each response, in [0, 1]."""
        rewards = batch.rewards
        if rewards is None:
            raise UserError("reward-weighted likelihood needs a reward for each response; the data has none")
        inside = (rewards >= 0) & (rewards <= 1)
        if not bool(inside.all()):
            worst = rewards[~inside].flatten()[0].item()
            raise UserError(f"reward {worst:g}: rewards that weigh a likelihood must lie in [0, 1]")
        if self.directions is not None:
            rewards = rewards @ self.directions.to(rewards).T
        return rewards.pow(self.power)

    def counts(self, part: SequenceBatch | PairBatch) -> None:
        """Every batch has as many rows."""

    def count(self, m: int) -> int:
        return m if self.directions is None else len(self.directions)

    def logs(self) -> dict[str, float | Tensor]:
        """`clipped`: share of the last batch's values that z cut off at 0, which pass no gradient."""
        return {} if self.z is None else {"clipped": self._clipped}


def directions_of(run: Run) -> list[list[float]]:
    """Scalarise-first's directions: a policy's own preference, or those that its heads spread over."""
    if run.at is not None:
        return [list(run.at)]
    count = run.section("heads").directions or 2 * run.m - 1
    rows: list[list[float]] = even_preferences(count, run.m).tolist()
    return rows
