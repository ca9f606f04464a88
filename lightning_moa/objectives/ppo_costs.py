"""What PPO takes besides what all rollouts do: its critic."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import torch

from lightning_moa.batches import CriticRollout, SequenceBatch
from lightning_moa.objectives.base import Run
from lightning_moa.objectives.costs import full_sequences, longest, tokens, weightless
from lightning_moa.objectives.rollout import reference_pass, response_token_logps
from lightning_moa.objectives.sampled import SampledObjective
from lightning_moa.objectives.settings import PPOConfig
from lightning_moa.policies.critic import Critic
from lightning_moa.policies.generation import evaluating


class PPOCosts(SampledObjective):
    """PPO's part in a forecast."""

    critic: Critic

    @classmethod
    @abstractmethod
    def made(cls, run: Run, given: Any) -> Self:
        """The objective of a run, with the given responses of PTX."""

    @classmethod
    def stand_in(cls, settings: PPOConfig, path: str) -> str | None:
        if not settings.ptx or settings.ptx_path is not None:
            return None
        # Their number and lengths do not hang on the file.
        settings.ptx_path = path
        return f"ppo.ptx={settings.ptx:g}: counted as if ppo.ptx_path were given; the runs themselves need it"

    @classmethod
    def example(cls, run: Run, rows: int) -> tuple[Self, CriticRollout]:
        """PPO, and a rollout as `PPO.rollout` makes it of responses that are sampled already."""

        def given(step: int, device: torch.device) -> SequenceBatch:
            return full_sequences(rows, run.data.config)

        objective = weightless(cls.made(run, given))
        settings: PPOConfig = run.settings
        new, preference = settings.max_new_tokens, torch.full((run.m,), 1 / run.m)
        ids, mask, _ = tokens(rows, longest(run)[1] + new, new)
        present = torch.ones(rows, new, dtype=torch.bool)
        with torch.no_grad():
            with evaluating(run.policy):
                logps = response_token_logps(run.policy, ids, mask, present, preference)
            ref_logps, hidden = reference_pass(run.policy, ids, mask, present)
            values = objective.critic(hidden, preference)
            advantages = torch.empty_like(values)
        rollout = CriticRollout(
            input_ids=ids,
            attention_mask=mask,
            mask=present,
            logps=logps,
            ref_logps=ref_logps,
            hidden=hidden,
            scores=torch.zeros(rows, run.m),
            values=values,
            advantages=advantages,
            returns=torch.empty_like(values),
            preference=preference,
            given=given(0, ids.device) if settings.ptx else None,
        )
        return objective, rollout
