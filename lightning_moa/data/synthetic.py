"""The synthetic world of requests as a data set."""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property

import numpy as np

from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.data.worlds import WorldData
from lightning_moa.world import World

MOST_REPEATS = 16
"""Largest denominator of the share of risky prompts."""


class Synthetic(WorldData):
    """Pairs of responses to benign and risky requests."""

    config: SyntheticConfig
    world_class = World
    default_objectives = ("helpful", "harmless")

    @cached_property
    def world(self) -> World:
        """The world that the rows are drawn from."""
        return World.build(self.config.world_seed, self.config.risky_share)

    def distinct_prompts(self) -> list[str]:
        """The risky prompts are `risky_share` of them (rounded to a simple fraction); each comes equally often
        among its kind."""
        kinds = sorted(set(self.world.sample_prompts(20_000, np.random.default_rng(0))))
        share = Fraction(self.config.risky_share).limit_denominator(MOST_REPEATS)
        repeats = (share.denominator - share.numerator, share.numerator)
        risky = self.world.is_risky(kinds)
        return [prompt for prompt, kind in zip(kinds, risky, strict=True) for _ in range(repeats[int(kind)])]
