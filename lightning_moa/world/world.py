"""The synthetic world: prompts, a reference policy, gold rewards and each preference's exact optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.world.exact import ExactWorld, check_seed
from lightning_moa.world.grammar import Grammar
from lightning_moa.world.lexicon import Size
from lightning_moa.world.rewards import OBJECTIVES, reward_tables
from lightning_moa.world.text import parse_prompts

MOST_REPEATS = 16
"""Largest denominator of the share of risky prompts where prompts are listed, each a whole number of times."""


@dataclass(frozen=True, eq=False)
class World(ExactWorld):
    """Requests and answers: benign and risky requests, and what is helpful, harmless, humorous, concise.

    A prompt is a verb and a topic, benign ("explain gardens") or risky ("steal cars"). A response opens in
    one of four modes, complies, refuses, jokes, or completes safely, and goes on with information, guidance,
    concern, fillers and jokes until a closing word. On a risky prompt the most helpful policy complies, the
    most harmless one refuses, and for preferences between them the best one does neither: it is safe.
    """

    objectives: ClassVar[tuple[str, ...]] = OBJECTIVES
    kinds: ClassVar[tuple[str, ...]] = ("benign", "risky")

    grammar: Grammar

    @classmethod
    def build(cls, seed: int = 0, risky_share: float = 0.5, size: Size | None = None) -> World:
        """A world whose words' qualities are drawn from a seed; `size` leaves words out (see `Size.tiny`)."""
        grammar = Grammar.of(Size() if size is None else size)
        share = _share(risky_share)
        shares = np.array([1.0 - share, share])
        return cls(check_seed(seed), shares, grammar, reward_tables(grammar, seed))

    @property
    def risky_share(self) -> float:
        """Probability that a prompt is risky."""
        return float(self.kind_shares[1])

    def sample_prompts(self, n: int, rng: np.random.Generator, risky_share: float | None = None) -> list[str]:
        """n prompts "verb topic", each risky with probability `risky_share` (the world's own if None)."""
        share = self.risky_share if risky_share is None else _share(risky_share)
        lexicon, size = self.grammar.lexicon, self.grammar.size
        verbs = np.array([lexicon.benign_verbs, lexicon.risky_verbs])
        risky = (rng.random(n) < share).astype(np.int64)
        chosen = verbs[risky, rng.integers(size.verbs, size=n)]
        topics = np.array(lexicon.topics)[rng.integers(size.topics, size=n)]
        return [f"{verb} {topic}" for verb, topic in zip(chosen, topics, strict=True)]

    def is_risky(self, prompts: Sequence[str]) -> np.ndarray:
        """(n,) bool. Raises UserError for a prompt that is not of this world."""
        return parse_prompts(self.grammar, prompts)[0].astype(bool)


def simple_share(risky_share: float) -> Fraction:
    """The nearest share that whole numbers of prompts can have.

    Raises:
        UserError: one of which only risky or only benign prompts would be left.
    """
    if 0 < _share(risky_share) < 1 and not 1 <= MOST_REPEATS * risky_share <= MOST_REPEATS - 1:
        raise UserError(
            f"data.risky_share={risky_share}: allowed are 0, 1, and {1 / MOST_REPEATS} to {1 - 1 / MOST_REPEATS}"
        )
    return Fraction(risky_share).limit_denominator(MOST_REPEATS)


def _share(risky_share: float) -> float:
    if not 0.0 <= risky_share <= 1.0:
        raise UserError(f"risky_share is {risky_share}: 0 to 1 is allowed")
    return float(risky_share)
