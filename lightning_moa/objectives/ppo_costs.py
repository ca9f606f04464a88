"""What PPO takes: its rollouts beside its updates."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import torch

from lightning_moa.batches import Rollout, SequenceBatch
from lightning_moa.objectives.base import Objective, Run
from lightning_moa.objectives.costs import Memory, Operations, full_sequences, longest, tokens, weightless
from lightning_moa.objectives.rollout import reference_pass, response_token_logps
from lightning_moa.objectives.settings import PPOConfig
from lightning_moa.policies.critic import Critic
from lightning_moa.policies.generation import evaluating


class PPOCosts(Objective):
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
    def example(cls, run: Run, rows: int) -> tuple[Self, Rollout]:
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
        rollout = Rollout(
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

    @classmethod
    def phases(cls, run: Run, memory: Memory) -> dict[str, dict[str, float]]:
        """Before the update: earlier micro-batches' rollouts are there already."""
        settings: PPOConfig = run.settings
        prompt = longest(run)[1]
        before = memory.kept * (settings.accumulate - 1)
        return {
            "sampling": {
                "activations": memory.sampling(prompt, settings.top_p),
                "kv_cache": memory.cache(prompt + settings.max_new_tokens),
                "rollout": before,
            },
            "rollout": {"activations": memory.made, "rollout": before},
            "scoring": {"activations": memory.scoring(), "rollout": before + memory.kept},
        }

    @classmethod
    def work(cls, run: Run, operations: Operations) -> tuple[Any, float]:
        settings: PPOConfig = run.settings
        (given, prompt), new, rows = longest(run), settings.max_new_tokens, operations.rows
        time = prompt + new
        sampled = operations.decoding(rows, prompt, new)
        # The policy's own and the reference's.
        passes = operations.forward(rows, time, new + 1).times(2)
        update = operations.update(rows, time, new + 1)
        if settings.ptx:
            update += operations.training(rows, given)
        once = passes + update.times(settings.update_iters) + operations.scoring(rows)
        return sampled + once, float(rows * (time + (given if settings.ptx else 0)))
