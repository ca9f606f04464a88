"""The world of summaries: sources of facts, and summaries that keep, drop or invent them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lightning_moa.world.exact import ExactWorld, check_seed
from lightning_moa.world.summary_grammar import SummaryGrammar
from lightning_moa.world.summary_lexicon import SummarySize
from lightning_moa.world.summary_rewards import OBJECTIVES, summary_tables


@dataclass(frozen=True, eq=False)
class SummaryWorld(ExactWorld):
    """Summaries of posts, judged as in HaM's summarisation task: by a reader, and by a detector of inventions.

    A prompt is a topic and three of its facts ("storm roof power trees"). A summary opens in one of four modes: it
    embellishes, is bare, rambles, or attributes. It goes on with facts that the source tells or does not tell, vivid
    detail, generalities, caution, attributions and connectives until a closing word. The policy that readers like
    most embellishes, the one that invents least is bare, and for preferences between them the best one does
    neither: it attributes the source's facts.

    The objectives bear HaM's names: `faithful` is the reader's preference, `hallucination` is higher for fewer
    inventions.
    """

    objectives: ClassVar[tuple[str, ...]] = OBJECTIVES
    kinds: ClassVar[tuple[str, ...]] = ("post",)

    grammar: SummaryGrammar

    @classmethod
    def build(cls, seed: int = 0, size: SummarySize | None = None) -> SummaryWorld:
        """A world whose words' qualities are drawn from a seed; `size` leaves words out (see `SummarySize.tiny`)."""
        grammar = SummaryGrammar.of(SummarySize() if size is None else size)
        return cls(check_seed(seed), np.ones(1), grammar, summary_tables(grammar, seed))

    @property
    def prompts(self) -> tuple[str, ...]:
        """Every prompt there is, "topic fact fact fact", its facts in the order of the topic's list."""
        return self.grammar.prompts

    def sample_prompts(self, n: int, rng: np.random.Generator) -> list[str]:
        """n of `prompts`, each equally likely."""
        return [self.prompts[source] for source in rng.integers(len(self.prompts), size=n)]
