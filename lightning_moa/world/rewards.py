"""The gold rewards: what each word of a response earns for each objective, all maximised.

Content words (information, guidance, concern, jokes) earn a share of their value that shrinks with the
number of content words before them and reaches zero at five, so that no objective but `concise` pays for
length. On a risky request information pays in helpfulness what it costs in harmlessness, unless the
response has opened as a safe completion: there, guidance pays in both.
"""

from __future__ import annotations

import numpy as np

from lightning_moa.world.grammar import (
    MAX_COUNT,
    OPENER_GROUPS,
    STATES,
    Grammar,
    Group,
    Previous,
    states,
)
from lightning_moa.world.language import END, START, RewardTables

OBJECTIVES = ("helpful", "harmless", "humorous", "concise")
_HELPFUL, _HARMLESS, _HUMOROUS, _CONCISE = range(4)
_BENIGN, _RISKY = 0, 1

COUNT_SHARE = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
"""Share of its value that a content word earns after 0, 1, ... content words."""

_OPENERS: dict[tuple[int, int], tuple[float, float, float, float]] = {
    (_HELPFUL, _BENIGN): (0.6, -1.2, -0.2, 0.1),
    (_HELPFUL, _RISKY): (0.6, -1.4, -0.6, 0.5),
    (_HARMLESS, _RISKY): (-1.2, 1.6, -0.6, 1.4),
    (_HUMOROUS, _BENIGN): (0.0, -0.2, 0.8, 0.0),
    (_HUMOROUS, _RISKY): (0.0, -0.2, 0.8, 0.0),
}
"""(objective, kind of prompt): reward of the opener of each mode."""

_CONTENT: dict[tuple[int, int, Group], tuple[float, float, float, float]] = {
    (_HELPFUL, _BENIGN, Group.INFO): (1.2, 0.3, 0.6, 0.7),
    (_HELPFUL, _BENIGN, Group.GUIDE): (0.4, 0.2, 0.3, 0.5),
    (_HELPFUL, _RISKY, Group.INFO): (1.2, 0.2, 0.4, 0.5),
    (_HELPFUL, _RISKY, Group.GUIDE): (0.3, 0.1, 0.2, 0.9),
    (_HARMLESS, _BENIGN, Group.CONCERN): (0.1, 0.1, 0.1, 0.1),
    (_HARMLESS, _RISKY, Group.INFO): (-1.2, -1.2, -1.2, -0.9),
    (_HARMLESS, _RISKY, Group.GUIDE): (0.0, 0.1, 0.0, 0.7),
    (_HARMLESS, _RISKY, Group.CONCERN): (0.25, 0.8, 0.2, 0.3),
    (_HARMLESS, _RISKY, Group.JOKE): (-0.3, -0.3, -0.3, -0.3),
    (_HUMOROUS, _BENIGN, Group.JOKE): (0.5, 0.5, 1.2, 0.5),
    (_HUMOROUS, _RISKY, Group.JOKE): (0.5, 0.5, 1.2, 0.5),
}
"""(objective, kind of prompt, group): value of a content word of quality 1 in each mode."""

_HELPFUL_COSTS = {Group.OFF_TOPIC: -0.3, Group.CONCERN: -0.1, Group.JOKE: -0.1, Group.FILLER: -0.05}
MISPLACED = -0.5
"""Helpful and harmless reward of a misplaced word: unknown, a second opener, or after a closer."""
NO_OPENER = -1.0
"""Added to the helpful and harmless reward of a response that does not begin with an opener."""
WORD_COST = -0.2
"""Concise reward of every word."""


def reward_tables(grammar: Grammar, seed: int) -> RewardTables:
    """The tables of the four objectives, with the words' qualities drawn from the seed."""
    return RewardTables(scale=_scales(), offset=_offsets(), quality=_qualities(grammar, seed))


def _scales() -> np.ndarray:
    scale = np.zeros((len(OBJECTIVES), len(Group), STATES, 2))
    for (objective, risky, group), values in _CONTENT.items():
        scale[objective, group, START, risky] = values[0]
        for here, mode, previous, count in states():
            if previous != Previous.CLOSER:
                scale[objective, group, here, risky] = values[mode] * COUNT_SHARE[min(count, MAX_COUNT)]
    return scale


def _offsets() -> np.ndarray:
    offset = np.zeros((len(OBJECTIVES), len(Group), STATES, 2))
    for group, cost in _HELPFUL_COSTS.items():
        offset[_HELPFUL, group] = cost
    both = [_HELPFUL, _HARMLESS]
    offset[np.ix_(both, [*OPENER_GROUPS, Group.MISPLACED])] = MISPLACED
    closed = [here for here, _, previous, _ in states() if previous == Previous.CLOSER]
    words = [group for group in Group if group != Group.EOS]
    offset[np.ix_(both, words, closed)] = MISPLACED
    offset[both, :, START] += NO_OPENER
    offset[:, OPENER_GROUPS, START] = 0.0
    for (objective, risky), values in _OPENERS.items():
        offset[objective, OPENER_GROUPS, START, risky] = values
    offset[_CONCISE, words] = WORD_COST
    offset[:, :, END] = 0.0
    return offset


def _qualities(grammar: Grammar, seed: int) -> np.ndarray:
    """(4, V). A guide word is as good for harmlessness as for helpfulness; information is not."""
    rng = np.random.default_rng(seed)
    quality = np.ones((len(OBJECTIVES), len(grammar.words)))

    def draw(group: Group, spread: float) -> tuple[np.ndarray, np.ndarray]:
        tokens = np.unique(grammar.members[group])
        return tokens, rng.uniform(1.0 - spread, 1.0 + spread, len(tokens))

    for objective, group in (
        (_HELPFUL, Group.INFO),
        (_HARMLESS, Group.INFO),
        (_HUMOROUS, Group.JOKE),
        (_HARMLESS, Group.CONCERN),
    ):
        tokens, values = draw(group, 0.4)
        quality[objective, tokens] = values
    tokens, values = draw(Group.GUIDE, 0.3)
    quality[_HELPFUL, tokens] = quality[_HARMLESS, tokens] = values
    return quality
