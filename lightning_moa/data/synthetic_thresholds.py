"""The synthetic world of thresholds as a data set."""

from __future__ import annotations

from functools import cached_property

from lightning_moa.data.configs import SyntheticThresholdsConfig
from lightning_moa.data.worlds import WorldData
from lightning_moa.world import ThresholdWorld


class SyntheticThresholds(WorldData):
    """Pairs of responses to benign requests, labelled by what they earn in each objective, thresholds or not.

    Gold rewards, and so all measurements and what is learned from `reward=gold`, are what counts: nothing of a response
    that misses a threshold.
    """

    config: SyntheticThresholdsConfig

    @cached_property
    def world(self) -> ThresholdWorld:
        """The world that the rows are drawn from."""
        return ThresholdWorld.build(self.config.thresholds)

    def prompt_groups(self) -> list[tuple[list[str], int]]:
        """By topic: a topic's prompts differ in their verb."""
        groups: dict[str, list[str]] = {}
        for prompt in self.world.prompts:
            groups.setdefault(prompt.split()[1], []).append(prompt)
        return [(prompts, 1) for prompts in groups.values()]
