"""Advantages from comparing the responses to one prompt, in place of a critic. Pure functions.

Rewards are (batch, k), each prompt's `group` responses in a row, and maximised; so is what comes out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_moa.processes import summed

LEAST_DEVIATION = 1e-4
"""Added to a standard deviation that is divided by."""


def above_mean(rewards: Tensor, group: int) -> Tensor:
    """r - mean of its group (GRPO without its scale; Dr. GRPO, Liu et al., 2025)."""
    return rewards - _groups(rewards, group).mean(1).repeat_interleave(group, 0)


def above_others(rewards: Tensor, group: int) -> Tensor:
    """r - mean of the others of its group (RLOO; Ahmadian et al., 2024)."""
    totals = _groups(rewards, group).sum(1).repeat_interleave(group, 0)
    return rewards - (totals - rewards) / (group - 1)


def over_deviation(advantages: Tensor, rewards: Tensor, group: int) -> Tensor:
    """Each divided by the standard deviation of its group's rewards, and a little more."""
    spread = _groups(rewards, group).std(1).repeat_interleave(group, 0)
    return advantages / (spread + LEAST_DEVIATION)


def over_batch(values: Tensor) -> Tensor:
    """Brought to mean 0 and deviation 1 over all processes' rows, for each of k: GDPO's last step."""
    count = summed(torch.full_like(values[:1], len(values)))
    centred = values - summed(values.sum(0, keepdim=True)) / count
    spread = (summed(centred.square().sum(0, keepdim=True)) / (count - 1).clamp(min=1)).sqrt()
    return centred / (spread + LEAST_DEVIATION)


def _groups(rewards: Tensor, group: int) -> Tensor:
    """(prompts, group, k)"""
    return rewards.reshape(-1, group, rewards.shape[-1])
