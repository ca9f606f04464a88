"""Heads, scored batches and fits for the tests of methods that have several policies."""

from __future__ import annotations

import torch

from lightning_moa.batches import SequenceBatch
from lightning_moa.objectives import RewardWeightedLikelihood
from lightning_moa.policies import Heads
from tests.objectives.batches import rows
from tests.policies.models import shake, tiny

Z = 60.0
"""Above the weighted log-likelihoods of these models."""


def heads_of(count: int, spread: float = 0.3, seed: int = 0, **options: object) -> Heads:
    """K heads that differ, on a backbone that is not as it began."""
    policy = Heads(tiny(), heads=count, rank=2, seed=seed, **options)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for head in policy.bank.heads:
            for name, parameter in head.named_parameters():
                if not name.startswith("base."):
                    parameter += torch.randn(parameter.shape, generator=generator) * spread
    return shake(policy, seed, std=0.2)


def scored(count: int = 8, m: int = 2, seed: int = 0) -> SequenceBatch:
    """Sequences with rewards in [0, 1]."""
    rewards = torch.rand(count, m, generator=torch.Generator().manual_seed(seed + 50))
    return SequenceBatch(*rows(count, seed), rewards)


def matrix(policy: Heads, batch: SequenceBatch, z: float = Z, **options: object) -> torch.Tensor:
    """(K, m) of what heads maximise, minus their losses."""
    return -RewardWeightedLikelihood(z, **options).losses(policy, batch)
