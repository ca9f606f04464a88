"""RLOO on m rewards of one rollout (Ahmadian et al., 2024)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from lightning_moa.answers import Sections
from lightning_moa.objectives.advantages import actor_losses
from lightning_moa.objectives.group_advantages import above_others
from lightning_moa.objectives.grpo import GRPO
from lightning_moa.objectives.settings import RLOOConfig


class RLOO(GRPO):
    """REINFORCE with the mean reward of the group's other responses as a baseline; the whole response is one action.

    As its settings stand (the KL in the reward, no deviation) its gradient is, on what the policy itself has sampled,
    an unbiased estimate of that of E[sum_i lambda_i r_i] - kl_coeff KL(pi, pi_ref), whose optimum is known.
    """

    sections: ClassVar[Sections] = {"rloo": RLOOConfig}

    def compared(self, rewards: Tensor) -> Tensor:
        return above_others(rewards, self.settings.group)

    def surrogates(self, logps: Tensor, old_logps: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        """(batch, k) clipped losses: one ratio for the response."""
        one = torch.ones_like(mask[:, :1])
        whole = (logps.sum(1, keepdim=True), old_logps.sum(1, keepdim=True))
        return actor_losses(*whole, advantages, one, clip=self.settings.clip_ratio)
