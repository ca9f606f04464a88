"""The synthetic world of summaries as a data set."""

from __future__ import annotations

from functools import cached_property

from lightning_moa.data.configs import SyntheticSummariesConfig
from lightning_moa.data.worlds import WorldData
from lightning_moa.world import SummaryWorld


class SyntheticSummaries(WorldData):
    """Pairs of summaries of short sources. `hallucination`, like every objective, is better when higher."""

    config: SyntheticSummariesConfig

    @cached_property
    def world(self) -> SummaryWorld:
        """The world that the rows are drawn from."""
        return SummaryWorld.build(self.config.world_seed)

    def prompt_groups(self) -> list[tuple[list[str], int]]:
        """By topic: a topic's sources differ in the facts that they tell."""
        groups: dict[str, list[str]] = {}
        for prompt in self.world.prompts:
            groups.setdefault(prompt.split()[0], []).append(prompt)
        return [(prompts, 1) for prompts in groups.values()]
