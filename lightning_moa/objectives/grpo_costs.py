"""What GRPO and its like take: several responses to each prompt, and no critic."""

from __future__ import annotations

from typing import Any, Self

import torch

from lightning_moa.batches import Rollout
from lightning_moa.objectives.base import Run
from lightning_moa.objectives.costs import longest, tokens, weightless
from lightning_moa.objectives.rollout import response_token_logps
from lightning_moa.objectives.sampled import SampledObjective
from lightning_moa.policies.generation import evaluating


class GroupCosts(SampledObjective):
    """Their part in a forecast."""

    @classmethod
    def answers(cls, settings: Any) -> int:
        return int(settings.group)

    @classmethod
    def example(cls, run: Run, rows: int) -> tuple[Self, Rollout]:
        """The objective, and a rollout for so many prompts, of responses that are sampled already."""
        objective, settings = weightless(cls.build(run)), run.settings
        new, preference = settings.max_new_tokens, torch.full((run.m,), 1 / run.m)
        rows *= settings.group
        ids, mask, _ = tokens(rows, longest(run)[1] + new, new)
        present = torch.ones(rows, new, dtype=torch.bool)
        with torch.no_grad(), evaluating(run.policy):
            logps = response_token_logps(run.policy, ids, mask, present, preference)
            with run.policy.reference():
                ref_logps = response_token_logps(run.policy, ids, mask, present, None)
        scores = torch.zeros(rows, run.m)
        advantages = torch.zeros(rows, 1, objective.count(run.m))
        if settings.weigh == "advantages":
            advantages = torch.zeros(rows, 1, run.m)
        return objective, Rollout(ids, mask, present, logps, ref_logps, scores, advantages, preference)
