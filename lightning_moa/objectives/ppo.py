"""PPO on m rewards of one rollout, as Safe-RLHF does it for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.optim import AdamW

from lightning_moa.answers import Sections
from lightning_moa.batches import CriticRollout, PromptBatch, SequenceBatch, moved
from lightning_moa.errors import Diverged, UserError
from lightning_moa.fields import check
from lightning_moa.objectives.advantages import (
    actor_losses,
    critic_losses,
    gae,
    shaped_rewards,
)
from lightning_moa.objectives.base import OptimiserFactory, Plan, Run, labelled_mean, per_example
from lightning_moa.objectives.likelihood import Likelihood
from lightning_moa.objectives.ppo_costs import PPOCosts
from lightning_moa.objectives.rollout import (
    Sampling,
    factors,
    preference_rows,
    reference_pass,
    response_token_logps,
    sample_responses,
    score_responses,
    seed_of,
)
from lightning_moa.objectives.settings import PPOConfig
from lightning_moa.policies import Policy
from lightning_moa.policies.critic import Critic
from lightning_moa.policies.generation import evaluating
from lightning_moa.processes import any_of, gathered, joint_mean, rank, world_size
from lightning_moa.rewards import Rewards, as_rewards
from lightning_moa.rewards.base import Rule

WEIGH = ("surrogates", "advantages", "linear_reward", "tchebycheff_reward")


@dataclass(frozen=True)
class PPOSettings:
    """PPO's hyper-parameters: Panacea's Table 1 gives each but `gamma` and `gae_lambda`, which are Safe-RLHF's, and the
    last three."""

    kl_coeff: float = 0.02
    clip_ratio: float = 0.2
    clip_score: float = 50.0
    clip_value: float = 5.0
    gamma: float = 1.0
    gae_lambda: float = 0.95
    update_iters: int = 1
    ptx: float = 0.0
    """Weight of the negative log-likelihood per token of given responses."""
    weigh: str = "surrogates"
    """Where the preference acts. 'surrogates': on the m clipped losses, by the aggregator. 'advantages': on the m
    advantages, then one clipped loss (linear in the reward; eq. 12). 'linear_reward': on the scores, sum_i lambda_i
    r_i (eq. 12 with one value function). 'tchebycheff_reward': on the scores, -max_i lambda_i (z_i - r_i) (eq. 13)."""
    critic_start: str = "zero"
    """The value of every state at first: 'zero', or 'scores', the first rollout's mean score. Until the critic has
    learned how far rewards are from 0, that is in every advantage: a policy whose scores are all below 0 unlearns
    whatever it samples."""
    max_kl: float | None = None
    """Mean KL from the reference, in nats per response, beyond which a run counts as diverged; None: any finite one may
    be."""


GivenResponses = Callable[[int, torch.device], SequenceBatch]
"""The given responses that go with batch t: (t, where they are wanted) -> as many rows as the batch has prompts."""


class PPO(PPOCosts):
    """Per-objective PPO losses on responses sampled by the trained policy.

    One rollout serves all m rewards: its scores (batch, m) become token rewards with the KL term, values
    (batch, time, m) and advantages (batch, time, m). Reference and policy share their base weights.

    With `given`, every update also lowers ptx * (negative log-likelihood per token) of given responses, under the
    preferences of the batch (InstructGPT's PTX). Safe-RLHF makes the two backward passes in turn; here both fall
    into one update. Their sum is twice Safe-RLHF's, which counts the second pass as a micro-batch more: clipping
    alone sees that.

    Args:
        rewards: scores the responses; its objectives are the m.
        critic: values of the reference's hidden states; m outputs, or 1 where the scores are scalarised.
        own_optimiser: builds the critic's optimiser.
        tokenizer: turns tokens into the texts that are scored.
        sampling: how responses are sampled.
        settings: PPO's hyper-parameters.
        scale: (m,) factor on each objective's score (Panacea multiplies harmless by 5); recorded with the results.
        objective_scale: (m,) factor on each objective as a whole, its KL term included: on its advantages, so that the
            critic learns in the same units whatever the factor.
        ideal_point: (m,) z of 'tchebycheff_reward', in scaled units.
        seed: of the sampling; the responses of batch t depend on (seed, t) alone.
        given: the responses of PTX; needed where `settings.ptx` is not 0.
    """

    sections: ClassVar[Sections] = {"ppo": PPOConfig}

    @classmethod
    def check(cls, plan: Plan) -> None:
        settings: PPOConfig = plan.settings
        if settings.ptx and settings.ptx_path is None and not plan.is_world:
            raise UserError(
                f"ppo.ptx={settings.ptx:g}: ppo.ptx_path=<jsonl of prompt and response> is needed (Safe-RLHF takes "
                f"Alpaca's), since pairs hold worse responses too; ppo.ptx=0 leaves the term out"
            )

    @classmethod
    def files(cls, settings: PPOConfig) -> dict[str, str | None]:
        return {"ptx_path": settings.ptx_path}

    @classmethod
    def build(cls, run: Run) -> Self:
        return cls.made(run, given_responses(run) if run.settings.ptx else None)

    @classmethod
    def made(cls, run: Run, given: GivenResponses | None) -> Self:
        settings: PPOConfig = run.settings
        k = 1 if settings.weigh.endswith("_reward") else run.m
        critic = Critic(run.policy.model.config.hidden_size, k, run.policy.m)
        own = replace(
            settings,
            lr=settings.critic_lr,
            weight_decay=settings.critic_weight_decay,
            schedule=settings.critic_schedule,
            warmup_ratio=settings.critic_warmup_ratio,
        )
        micro = settings.batch_size // settings.accumulate
        return cls(
            run.rewards(max(1, micro // run.processes)),
            critic,
            run.optimiser(own, run.steps * settings.update_iters),
            run.tokenizer,
            Sampling(settings.max_new_tokens, settings.temperature, settings.top_p),
            PPOSettings(**{name: getattr(settings, name) for name in PPOSettings.__dataclass_fields__}),
            scale=[settings.reward_scale.get(name, 1.0) for name in run.objectives],
            objective_scale=[settings.objective_scale.get(name, 1.0) for name in run.objectives],
            ideal_point=settings.ideal_point,
            seed=run.seed,
            given=given,
        )

    scale: Tensor
    objective_scale: Tensor
    ideal_point: Tensor

    def __init__(
        self,
        rewards: Rewards,
        critic: Critic,
        own_optimiser: OptimiserFactory,
        tokenizer: Any,
        sampling: Sampling,
        settings: PPOSettings,
        *,
        scale: Sequence[float] | None = None,
        objective_scale: Sequence[float] | None = None,
        ideal_point: Sequence[float] | None = None,
        seed: int = 0,
        given: GivenResponses | None = None,
    ) -> None:
        super().__init__()
        if settings.weigh not in WEIGH:
            raise UserError(f"ppo.weigh={settings.weigh}: allowed are {', '.join(WEIGH)}")
        if settings.weigh == "tchebycheff_reward" and ideal_point is None:
            raise UserError("ppo.weigh=tchebycheff_reward needs ppo.ideal_point, one value per objective")
        if settings.ptx and given is None:
            raise UserError(f"ppo.ptx={settings.ptx}: there are no given responses; allowed is 0")
        self.rewards = rewards
        self.critic = critic
        self.own_optimiser = own_optimiser
        self.tokenizer = tokenizer
        self.sampling = sampling
        self.settings = settings
        m = len(rewards.objectives)
        self.register_buffer("scale", factors("ppo.reward_scale", scale, m, 1.0), persistent=False)
        whole = factors("ppo.objective_scale", objective_scale, m, 1.0)
        if settings.weigh.endswith("_reward") and bool((whole != 1).any()):
            raise UserError(
                f"ppo.objective_scale with ppo.weigh={settings.weigh}: its objectives are one already"
            )
        self.register_buffer("objective_scale", whole, persistent=False)
        self.register_buffer("ideal_point", factors("ppo.ideal_point", ideal_point, m, 0.0), persistent=False)
        self.seed = seed
        self.given = given if settings.ptx else None
        self.likelihood = Likelihood()

    @classmethod
    def of(
        cls,
        policy: Policy,
        rewards: Rewards | Mapping[str, Rule],
        tokenizer: Any,
        *,
        max_new_tokens: int = 16,
        temperature: float = 1.0,
        top_p: float = 1.0,
        critic_lr: float = 5e-3,
        seed: int = 0,
        **settings: Any,
    ) -> Self:
        """PPO with a critic of its own, for a `Trainer` of one's own.

        Args:
            policy, tokenizer: what will be trained, and its tokenizer.
            rewards: scores responses, its objectives are the m; or objective -> function (prompts, responses) -> n
                numbers, higher is better.
            max_new_tokens, temperature, top_p, seed: how responses are sampled.
            critic_lr: of the critic's AdamW. settings: fields of `PPOSettings`, such as kl_coeff=0.1.
        """
        allowed = [item.name for item in fields(PPOSettings)]
        unknown = [name for name in settings if name not in allowed]
        if unknown:
            raise UserError(f"PPO.of: {unknown[0]} is no setting; allowed are {', '.join(allowed)}")
        check(PPOConfig(**settings), "PPO.of: ")
        known = PPOSettings(**settings)
        rewards = as_rewards(rewards)
        k = 1 if known.weigh.endswith("_reward") else len(rewards.objectives)
        critic = Critic(policy.model.config.hidden_size, k, policy.m)
        sampling = Sampling(max_new_tokens, temperature, top_p)
        return cls(rewards, critic, partial(AdamW, lr=critic_lr), tokenizer, sampling, known, seed=seed)

    def count(self, m: int) -> int:
        return m if self.settings.weigh == "surrogates" else 1

    def parts(
        self, policy: Policy, batch: PromptBatch, preference: Tensor | None, step: int
    ) -> Iterable[CriticRollout]:
        """One rollout, for as many updates as `update_iters`."""
        rollout = self.rollout(policy, batch, preference, step)
        return [rollout] * self.settings.update_iters

    @torch.no_grad()
    def rollout(
        self, policy: Policy, batch: PromptBatch, preference: Tensor | None, step: int
    ) -> CriticRollout:
        """Sample, score, and estimate advantages.

        Raises:
            UserError: a reward is not finite.
            Diverged: the KL or the values have exploded.
        """
        each = per_example(preference, len(batch.input_ids))
        sampled = sample_responses(policy, batch, each, self.sampling, seed_of(self.seed, step))
        ids = torch.cat([batch.input_ids, sampled.tokens], dim=1)
        attention = torch.cat([batch.attention_mask.bool(), sampled.mask], dim=1)
        with evaluating(policy):
            # As it sampled: an adapter's dropout must not enter the ratio's denominator and the KL.
            logps = response_token_logps(policy, ids, attention, sampled.mask, each)
            ref_logps, hidden = reference_pass(policy, ids, attention, sampled.mask)
        raw = score_responses(self.rewards, self.tokenizer, batch, sampled)
        scores = raw * self.scale
        weighed = self._scalarised(scores, each)
        if step == 0 and self.settings.critic_start == "scores":
            self._begin_at(weighed)
        values = self.critic(hidden, each)
        shaped = shaped_rewards(
            weighed,
            logps,
            ref_logps,
            sampled.mask,
            kl_coeff=self.settings.kl_coeff,
            clip_score=self.settings.clip_score,
        )
        advantages, returns = gae(
            shaped, values, sampled.mask, gamma=self.settings.gamma, lam=self.settings.gae_lambda
        )
        self.watch(raw, logps, ref_logps, sampled.mask, step)
        if any_of(not bool(torch.isfinite(values).all()), values.device):
            raise Diverged(f"step {step}: the critic's values are not finite; try a smaller ppo.critic_lr")
        return CriticRollout(
            input_ids=ids,
            attention_mask=attention,
            mask=sampled.mask,
            logps=logps,
            ref_logps=ref_logps,
            hidden=hidden,
            scores=scores,
            values=values,
            advantages=advantages,
            returns=returns,
            preference=each,
            given=None if self.given is None else self.given(step, ids.device),
        )

    def losses(self, policy: Policy, batch: CriticRollout, preference: Tensor | None) -> Tensor:
        """(m,) or (g, m); where the preference has acted before the loss, (1,) or (g, 1).

        A single loss goes through linear scalarisation unchanged, since the weights sum to 1.
        """
        logps = response_token_logps(
            policy, batch.input_ids, batch.attention_mask, batch.mask, batch.preference
        )
        advantages = batch.advantages
        if not self.settings.weigh.endswith("_reward"):
            advantages = advantages * self.objective_scale
        if self.settings.weigh == "advantages":
            advantages = (advantages * preference_rows(batch.preference, advantages)[:, None]).sum(
                -1, keepdim=True
            )
        values = actor_losses(logps, batch.logps, advantages, batch.mask, clip=self.settings.clip_ratio)
        return labelled_mean(values, torch.ones_like(values, dtype=torch.bool), preference)

    def shared_loss(self, policy: Policy, part: CriticRollout, preference: Tensor | None) -> Tensor | None:
        """PTX: its weight times the given responses' mean negative log-likelihood per token."""
        if part.given is None:
            return None
        loss = self.likelihood.losses(policy, part.given, preference)[0]
        self._logs["ptx_loss"] = loss.detach()
        return self.settings.ptx * loss

    def shared_counts(self, part: CriticRollout) -> Tensor | None:
        return None if part.given is None else self.likelihood.counts(part.given)

    def own_loss(self, part: CriticRollout) -> Tensor:
        """The critic's clipped squared error, summed over its values."""
        values = self.critic(part.hidden, part.preference)
        losses = critic_losses(values, part.values, part.returns, part.mask, clip=self.settings.clip_value)
        loss = joint_mean(losses.sum(0), len(losses)).sum()
        self._logs["critic_loss"] = loss.detach()
        return loss

    @torch.no_grad()
    def _begin_at(self, scores: Tensor) -> None:
        """Let the critic's values begin at the mean of (batch, k) scores, once."""
        limit = self.settings.clip_score
        bias, mean = self.critic.outer.bias, joint_mean(scores.clamp(-limit, limit).sum(0), len(scores))
        with gathered([bias], write=True):
            if not bool(bias.any()):
                bias.copy_(mean)

    def _scalarised(self, scores: Tensor, each: Tensor | None) -> Tensor:
        """(batch, m) scores, or (batch, 1) where the preference acts on them."""
        if self.settings.weigh == "linear_reward":
            return (preference_rows(each, scores) * scores).sum(-1, keepdim=True)
        if self.settings.weigh == "tchebycheff_reward":
            return -(preference_rows(each, scores) * (self.ideal_point - scores)).amax(-1, keepdim=True)
        return scores


def given_responses(run: Run) -> GivenResponses:
    """The responses of PTX: as many rows as a batch has prompts."""
    # Lightning comes with it, which a plan of runs has no use for.
    from lightning_moa.data.demonstrations import demonstrations

    settings: PPOConfig = run.settings
    loader = demonstrations(
        run.data,
        run.tokenizer,
        settings.ptx_path,
        batch_size=settings.batch_size // settings.accumulate,
        steps=run.steps * settings.accumulate,
        seed=run.seed,
    )

    def given(step: int, device: torch.device) -> SequenceBatch:
        loader.shared(rank(), world_size())
        batch: SequenceBatch = moved(loader.batch(step), device)
        return batch

    return given
