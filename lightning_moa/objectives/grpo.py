"""GRPO on m rewards of one rollout (Shao et al., 2024), and GDPO's normalisation of them: PPO without a critic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from lightning_moa.answers import Sections
from lightning_moa.batches import PromptBatch, Rollout
from lightning_moa.errors import UserError
from lightning_moa.fields import check
from lightning_moa.objectives.advantages import actor_losses, sequence_mean
from lightning_moa.objectives.base import Run, labelled_mean, per_example
from lightning_moa.objectives.group_advantages import above_mean, over_batch, over_deviation
from lightning_moa.objectives.grpo_costs import GroupCosts
from lightning_moa.objectives.rollout import (
    Sampling,
    preference_rows,
    repeated,
    response_token_logps,
    sample_responses,
    score_responses,
    seed_of,
)
from lightning_moa.objectives.settings import GRPOConfig
from lightning_moa.policies import Policy
from lightning_moa.policies.generation import evaluating
from lightning_moa.rewards import as_rewards
from lightning_moa.rewards.base import Rewards, Rule


class GRPO(GroupCosts):
    """Each prompt is answered `settings.group` times, and a response's advantage is how far its reward is above the
    mean of its group, over the group's deviation. Hyper-parameters are `GRPOConfig`'s; a batch's rows are prompts.

    The preference acts where `settings.weigh` says. `linear_reward`: sum_i lambda_i r_i is compared, one loss.
    `advantages`: each reward is compared by itself, sum_i lambda_i A_i is brought to deviation 1 over the batch, one
    loss (GDPO, Liu et al., 2026): a reward of large scale has no more say than another. `surrogates`: m advantages and
    m losses, which the aggregation weighs.

    The KL from the reference stands in each loss, k3 a token, as published; or in each reward, whole, as RLOO has it.
    Only the latter, and without the deviation, has the KL-regularised optimum as its end.

    Args:
        rewards: scores the responses, its objectives are the m; or objective -> function (prompts, responses) -> n
            numbers, higher is better.
        tokenizer: turns tokens into the texts that are scored.
        settings: hyper-parameters; those of the optimiser are not looked at.
        seed: of the sampling; the responses of batch t depend on (seed, t) alone.
    """

    sections: ClassVar[Sections] = {"grpo": GRPOConfig}

    @classmethod
    def build(cls, run: Run) -> Self:
        settings: GRPOConfig = run.settings
        micro = settings.batch_size * settings.group // settings.accumulate
        return cls(run.rewards(max(1, micro // run.processes)), run.tokenizer, settings, run.seed)

    scale: Tensor

    def __init__(
        self, rewards: Rewards | Mapping[str, Rule], tokenizer: Any, settings: GRPOConfig, seed: int = 0
    ) -> None:
        super().__init__()
        rewards = as_rewards(rewards)
        check(settings, f"{next(iter(self.sections))}.")
        unknown = sorted(set(settings.reward_scale) - set(rewards.objectives))
        if unknown:
            raise UserError(
                f"{next(iter(self.sections))}.reward_scale: {unknown[0]} is no objective of this study"
            )
        self.rewards, self.tokenizer, self.settings, self.seed = rewards, tokenizer, settings, seed
        self.sampling = Sampling(settings.max_new_tokens, settings.temperature, settings.top_p)
        scale = torch.tensor([settings.reward_scale.get(name, 1.0) for name in rewards.objectives])
        self.register_buffer("scale", scale, persistent=False)

    def count(self, m: int) -> int:
        return m if self.settings.weigh == "surrogates" else 1

    def parts(
        self, policy: Policy, batch: PromptBatch, preference: Tensor | None, step: int
    ) -> Iterable[Rollout]:
        """One rollout, for as many updates as `update_iters`."""
        return [self.rollout(policy, batch, preference, step)] * self.settings.update_iters

    @torch.no_grad()
    def rollout(self, policy: Policy, batch: PromptBatch, preference: Tensor | None, step: int) -> Rollout:
        """Sample, score, and compare.

        Raises:
            UserError: a reward is not finite.
            Diverged: the KL is not.
        """
        asked = repeated(batch, self.settings.group)
        # A prompt's responses, which are compared with one another, have one preference.
        each = per_example(preference, len(batch.input_ids))
        if each is not None and each.ndim == 2:
            each = each.repeat_interleave(self.settings.group, 0)
        sampled = sample_responses(policy, asked, each, self.sampling, seed_of(self.seed, step))
        ids = torch.cat([asked.input_ids, sampled.tokens], dim=1)
        attention = torch.cat([asked.attention_mask.bool(), sampled.mask], dim=1)
        with evaluating(policy):
            logps = response_token_logps(policy, ids, attention, sampled.mask, each)
            with policy.reference():
                ref_logps = response_token_logps(policy, ids, attention, sampled.mask, None)
        raw = score_responses(self.rewards, self.tokenizer, asked, sampled)
        self.watch(raw, logps, ref_logps, sampled.mask, step)
        scores = raw * self.scale
        rewards = scores
        if self.settings.weigh == "linear_reward":
            rewards = (preference_rows(each, scores) * scores).sum(-1, keepdim=True)
        if self.settings.kl_in == "reward":
            rewards = rewards - self.settings.kl_coeff * (logps - ref_logps).sum(-1, keepdim=True)
        advantages = self.compared(rewards)
        if self.settings.scale == "group":
            advantages = over_deviation(advantages, rewards, self.settings.group)
        return Rollout(ids, attention, sampled.mask, logps, ref_logps, scores, advantages[:, None], each)

    def compared(self, rewards: Tensor) -> Tensor:
        """(batch, k) how far each reward is above what its group lets expect."""
        return above_mean(rewards, self.settings.group)

    def losses(self, policy: Policy, batch: Rollout, preference: Tensor | None) -> Tensor:
        """(m,) or (g, m); where the preference has acted before the loss, (1,) or (g, 1)."""
        logps = response_token_logps(
            policy, batch.input_ids, batch.attention_mask, batch.mask, batch.preference
        )
        advantages = batch.advantages
        if self.settings.weigh == "advantages":
            rows = preference_rows(batch.preference, advantages[:, 0])
            total = (advantages[:, 0] * rows).sum(-1, keepdim=True)
            advantages = (over_batch(total) if self.settings.scale == "group" else total)[:, None]
        values = self.surrogates(logps, batch.logps, advantages, batch.mask)
        if self.settings.kl_in == "loss":
            behind = (batch.ref_logps - logps).masked_fill(~batch.mask, 0.0)
            values = values + self.settings.kl_coeff * sequence_mean(
                (torch.expm1(behind) - behind)[..., None], batch.mask
            )
        return labelled_mean(values, torch.ones_like(values, dtype=torch.bool), preference)

    def surrogates(self, logps: Tensor, old_logps: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        """(batch, k) clipped losses: a ratio for each token, the mean over a response's tokens."""
        return actor_losses(logps, old_logps, advantages, mask, clip=self.settings.clip_ratio)
