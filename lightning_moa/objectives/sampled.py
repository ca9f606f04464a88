"""What the objectives share that learn from what the trained policy samples: PPO, GRPO, RLOO."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_moa.batches import PromptBatch
from lightning_moa.errors import Diverged
from lightning_moa.objectives.advantages import kl_estimates
from lightning_moa.objectives.base import Objective, Plan, Run
from lightning_moa.objectives.costs import Memory, Operations, longest
from lightning_moa.objectives.rollout import Sampling, sampled_means, seed_of
from lightning_moa.policies import Policy
from lightning_moa.processes import joint_mean
from lightning_moa.rewards import Rewards


class SampledObjective(Objective):
    """Samples responses to a batch of prompts and scores them; what rollouts take, and what is told of them.

    A child sets `rewards`, `tokenizer`, `sampling`, `settings` (with kl_coeff, max_kl, update_iters, accumulate,
    max_new_tokens and top_p), `scale` (m,), a factor on each score, and `seed`.
    """

    view = "prompts"
    step_seconds = 0.2
    scores = True
    keeps_apart: ClassVar[Mapping[str, Any]] = {"weigh": "surrogates"}
    of_several = False
    loss_range = (-inf, inf)

    rewards: Rewards
    tokenizer: Any
    sampling: Sampling
    settings: Any
    scale: Tensor
    seed: int

    def __init__(self) -> None:
        super().__init__()
        self._logs: dict[str, float | Tensor] = {}

    @classmethod
    def kl_weight(cls, settings: Any) -> float:
        return float(settings.kl_coeff)

    @classmethod
    def tasks(cls, plan: Plan) -> dict[str, Any]:
        return plan.scoring()

    def measures(
        self, policy: Policy, batch: PromptBatch, preference: Tensor, step: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Of sampled responses: unscaled scores (m,); KL, nats, and length, (1,); loss = kl_coeff KL - score, (m,)."""
        asked = (preference, self.sampling, seed_of(self.seed, step), self.rewards, self.tokenizer)
        scores, kl, length = sampled_means(policy, batch, *asked)
        loss, rows = self.settings.kl_coeff * kl - scores * self.scale, torch.tensor([len(batch.input_ids)])
        return {"loss": (loss, rows), "score": (scores, rows), "kl": (kl, rows), "length": (length, rows)}

    def logs(self) -> Mapping[str, float | Tensor]:
        """Mean scores (unscaled), KL estimates k1 and k3 in nats per response, length, and what a child adds."""
        return self._logs

    def watch(self, raw: Tensor, logps: Tensor, ref_logps: Tensor, mask: Tensor, step: int) -> None:
        """Keep what `logs` tells of a rollout: scores (batch, m), log-probs and mask (batch, time).

        Raises:
            Diverged: the KL is not finite, or above the settings' `max_kl`.
        """
        # All processes' rows together, so that all of them stop where one would.
        k1, k3 = (joint_mean(each, 1) for each in kl_estimates(logps, ref_logps, mask))
        self._logs = {"kl_k1": k1, "kl_k3": k3, "length": mask.sum(1).float().mean()}
        self._logs |= {f"score/{name}": raw[:, i].mean() for i, name in enumerate(self.rewards.objectives)}
        limit = float("inf") if self.settings.max_kl is None else self.settings.max_kl
        if not bool(torch.isfinite(k1)) or float(k1) > limit:
            key = next(iter(self.sections))
            raise Diverged(
                f"step {step}: the KL from the reference is {float(k1):.3g} nats per response ({key}.max_kl is "
                f"{limit:g}); try a smaller {key}.lr or a larger {key}.kl_coeff"
            )

    @classmethod
    def answers(cls, settings: Any) -> int:
        """Responses to each prompt."""
        return 1

    @classmethod
    def phases(cls, run: Run, memory: Memory) -> dict[str, dict[str, float]]:
        """Before the update: earlier micro-batches' rollouts are there already."""
        settings, prompt = run.settings, longest(run)[1]
        each = cls.answers(settings)
        before = memory.kept * (settings.accumulate - 1)
        return {
            "sampling": {
                "activations": each * memory.sampling(prompt, settings.top_p),
                "kv_cache": each * memory.cache(prompt + settings.max_new_tokens),
                "rollout": before,
            },
            "rollout": {"activations": memory.made, "rollout": before},
            "scoring": {"activations": each * memory.scoring(), "rollout": before + memory.kept},
        }

    @classmethod
    def work(cls, run: Run, operations: Operations) -> tuple[Any, float]:
        settings = run.settings
        (given, prompt), new, rows = longest(run), settings.max_new_tokens, operations.rows
        time, ptx = prompt + new, getattr(settings, "ptx", 0.0)
        rows *= cls.answers(settings)
        sampled = operations.decoding(rows, prompt, new)
        # The policy's own and the reference's.
        passes = operations.forward(rows, time, new + 1).times(2)
        update = operations.update(rows, time, new + 1)
        if ptx:
            update += operations.training(rows, given)
        once = passes + update.times(settings.update_iters) + operations.scoring(rows)
        return sampled + once, float(rows * (time + (given if ptx else 0)))
