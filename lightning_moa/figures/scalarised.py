"""How much of HaM's training is SCA's: the share of its warm-up. Light: no torch until it is asked for."""

from __future__ import annotations

import math

from lightning_moa.config import StudyConfig
from lightning_moa.methods.products import Product
from lightning_moa.study.chosen import Chosen


def scalarised_share(config: StudyConfig, name: str, product: Product) -> float:
    """The learning rates of HaM's `heads.warm_up` updates, summed, over those of all its updates, online rounds' too.

    In a warm-up head k maximises a preference of its own, as each of SCA's models does. A share of the updates would
    say less: rates fall, so that the first half of the updates may be three quarters of the way.

    Args:
        config: the study's.
        name: HaM's in the study.
        product: what it is made of.

    Returns:
        0, nothing is scalarised, to 1. Where `steps` is empty, updates are those that `epochs` takes over all `rows`.
    """
    chosen = Chosen.of(config, name, product)
    likelihood, online = chosen.settings, chosen.values["online"]
    epochs = likelihood.epochs * likelihood.rows / likelihood.batch_size
    steps = likelihood.steps or max(1, math.ceil(epochs))
    warmup = math.ceil(likelihood.warmup_ratio * steps)
    offline = [likelihood.lr * each for each in rate_factors(likelihood.schedule, warmup, steps)]
    # As online rounds have it: the section's own steps, rate and schedule, and the rise of the offline phase.
    warmup = math.ceil(likelihood.warmup_ratio * online.steps)
    rounds = online.rounds * online.lr * sum(rate_factors(online.schedule, warmup, online.steps))
    whole = sum(offline) + rounds
    # A single update of a schedule that rises from 0 has no rate at all.
    return sum(offline[: chosen.values["heads"].warm_up]) / whole if whole else 0.0


def rate_factors(kind: str, warmup: int, steps: int) -> list[float]:
    """What `runs.schedules.schedule` multiplies the learning rate of each update by."""
    import torch

    from lightning_moa.runs.schedules import schedule

    (factor,) = schedule(kind, torch.optim.SGD([torch.zeros(1)], lr=1.0), warmup, steps).lr_lambdas
    return [float(factor(step)) for step in range(steps)]
