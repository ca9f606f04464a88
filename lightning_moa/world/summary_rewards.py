"""The gold rewards of summaries: what each word earns for each objective, all maximised.

`faithful` is how good a reader finds the summary: the source's facts, told once each, connectives, and vivid detail,
whether or not the source has it. `hallucination` is a detector's score, higher for fewer inventions: it takes off for
detail, facts and generalities that the source does not tell, and adds for caution and for facts that are attributed.
`concise` takes off for every word.

What a word earns shrinks with the facts told or the flourishes made before it, so that no objective pays for length.
The summary that pleases most is embellished, the one with the fewest inventions is bare and cautious; one that
attributes the source's facts has most of both.
"""

from __future__ import annotations

import numpy as np

from lightning_moa.world.language import END, START, RewardTables
from lightning_moa.world.summary_grammar import (
    CLOSED,
    FACT_GROUPS,
    MAX_COUNT,
    OPENER_GROUPS,
    STATES,
    Group,
    Previous,
    SummaryGrammar,
    states,
)

OBJECTIVES = ("faithful", "hallucination", "concise")
_FAITHFUL, _HALLUCINATION, _CONCISE = range(3)

TOLD_SHARE = (1.0, 0.8, 0.6)
"""Share of its value that a fact earns after 0, 1, 2 others."""
COUNT_SHARE = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Share of its value that a flourish earns after 0, 1, ... flourishes."""
LEAST_COST = 0.25
"""The smallest share of its cost that an invention pays: it is never free."""

_OPENERS = {
    _FAITHFUL: (0.6, -1.4, -0.5, 0.5),
    _HALLUCINATION: (-1.0, 1.6, -0.6, 1.4),
}
"""Reward of the opener of each mode."""
_FACTS = {
    _FAITHFUL: ((0.6, 0.4), (0.3, 0.2), (0.4, 0.2), (1.2, 1.2)),
    _HALLUCINATION: ((0.0, 0.1), (0.1, 0.15), (0.0, 0.1), (0.1, 0.85)),
}
"""For each mode, the value of a fact of the source, plain and attributed."""
_FLOURISHES = {
    (_FAITHFUL, Group.VIVID): (1.1, 0.2, 0.5, 0.3),
    (_FAITHFUL, Group.UNTOLD): (0.8, 0.2, 0.4, 0.3),
    (_FAITHFUL, Group.GENERAL): (0.1, 0.0, 0.3, 0.0),
    (_HALLUCINATION, Group.VIVID): (-1.0, -1.0, -1.0, -1.0),
    (_HALLUCINATION, Group.UNTOLD): (-1.0, -1.0, -1.0, -1.0),
    (_HALLUCINATION, Group.GENERAL): (-0.8, -0.8, -0.8, -0.8),
    (_HALLUCINATION, Group.CAUTION): (0.2, 0.8, 0.2, 0.4),
}
"""For each mode, the value of a flourish of quality 1."""
LINK = 0.15
"""Faithful reward of a connective after a statement."""
_FAITHFUL_COSTS = {Group.CAUTION: -0.15, Group.ATTRIBUTION: -0.05, Group.OFF_TOPIC: -0.3, Group.LINK: -0.05}
"""Of every such word, a connective that joins nothing among them."""
RETOLD = -0.2
"""Faithful reward of a fact that has been told before."""
OFF_TOPIC = -1.0
"""Hallucination reward of another topic's fact, which the source does not tell either."""
MISPLACED = -0.5
"""Faithful and hallucination reward of a misplaced word: unknown, a second opener, or after a closer."""
NO_OPENER = -1.0
"""Added to both rewards of a summary that does not begin with an opener."""
WORD_COST = -0.2
"""Concise reward of every word."""

_UNOPENED = (START, 0, Previous.PLAIN, 0, 0)
"""A summary whose first word is no opener is scored as one of the first mode."""


def summary_tables(grammar: SummaryGrammar, seed: int) -> RewardTables:
    """The tables of the three objectives, with the words' qualities drawn from the seed."""
    return RewardTables(scale=_scales(), offset=_offsets(), quality=_qualities(grammar, seed))


def _scales() -> np.ndarray:
    scale = np.zeros((len(OBJECTIVES), len(Group), STATES, 1))
    for here, mode, previous, _, count in [_UNOPENED, *states()]:
        for (objective, group), values in _FLOURISHES.items():
            least = LEAST_COST if values[mode] < 0 else 0.0
            scale[objective, group, here] = values[mode] * max(COUNT_SHARE[min(count, MAX_COUNT)], least)
        if previous == Previous.STATEMENT:
            scale[_FAITHFUL, Group.LINK, here] = LINK
    return scale


def _offsets() -> np.ndarray:
    offset = np.zeros((len(OBJECTIVES), len(Group), STATES, 1))
    for group, cost in _FAITHFUL_COSTS.items():
        offset[_FAITHFUL, group] = cost
    offset[_HALLUCINATION, Group.OFF_TOPIC] = OFF_TOPIC
    for here, mode, previous, mask, _ in [_UNOPENED, *states()]:
        for bit, group in enumerate(FACT_GROUPS):
            offset[:, group, here, 0] = _fact(mode, previous, mask, bit)
        if previous == Previous.STATEMENT:
            offset[_FAITHFUL, Group.LINK, here] = 0.0
    both = [_FAITHFUL, _HALLUCINATION]
    offset[np.ix_(both, [*OPENER_GROUPS, Group.MISPLACED])] = MISPLACED
    words = [group for group in Group if group != Group.EOS]
    offset[np.ix_(both, words, [CLOSED])] = MISPLACED
    offset[both, :, START] += NO_OPENER
    for objective, values in _OPENERS.items():
        offset[objective, OPENER_GROUPS, START, 0] = values
    offset[_CONCISE, words] = WORD_COST
    offset[:, :, END] = 0.0
    return offset


def _fact(mode: int, previous: int, mask: int, bit: int) -> tuple[float, float, float]:
    """What a fact of the source earns."""
    if mask >> bit & 1:
        return RETOLD, 0.0, 0.0
    attributed = int(previous == Previous.ATTRIBUTION)
    share = TOLD_SHARE[mask.bit_count()]
    return (
        share * _FACTS[_FAITHFUL][mode][attributed],
        share * _FACTS[_HALLUCINATION][mode][attributed],
        0.0,
    )


def _qualities(grammar: SummaryGrammar, seed: int) -> np.ndarray:
    """(3, V). Facts are all of quality 1, which makes the sources alike."""
    rng = np.random.default_rng(seed)
    quality = np.ones((len(OBJECTIVES), len(grammar.words)))
    for objective, group, spread in (
        (_FAITHFUL, Group.VIVID, 0.4),
        (_HALLUCINATION, Group.VIVID, 0.4),
        (_FAITHFUL, Group.GENERAL, 0.4),
        (_HALLUCINATION, Group.GENERAL, 0.4),
        (_HALLUCINATION, Group.CAUTION, 0.4),
        (_FAITHFUL, Group.LINK, 0.4),
    ):
        tokens = grammar.case_members[group][:, 0]
        quality[objective, tokens] = rng.uniform(1.0 - spread, 1.0 + spread, len(tokens))
    return quality
