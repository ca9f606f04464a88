"""The synthetic world of requests as a data set."""

from __future__ import annotations

from functools import cached_property

from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.data.world_objectives import world_of_rows
from lightning_moa.data.worlds import WorldData
from lightning_moa.world import World
from lightning_moa.world.world import simple_share


class Synthetic(WorldData):
    """Pairs of responses to benign and risky requests."""

    config: SyntheticConfig

    @cached_property
    def world(self) -> World:
        """The world that the rows are drawn from."""
        return world_of_rows(self.config)

    def prompt_groups(self) -> list[tuple[list[str], int]]:
        """By kind and topic; the risky prompts are `risky_share` of all, rounded to a simple fraction."""
        lexicon = self.world.grammar.lexicon
        share = simple_share(self.config.risky_share)
        kinds = (
            (lexicon.benign_verbs, share.denominator - share.numerator),
            (lexicon.risky_verbs, share.numerator),
        )
        return [
            ([f"{verb} {topic}" for verb in verbs], repeats)
            for verbs, repeats in kinds
            for topic in lexicon.topics
        ]
