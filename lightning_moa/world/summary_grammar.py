"""How a summary unfolds: groups of words, states, and the reference policy over them.

A summary is a walk through START, (mode, class of the previous word, facts told, flourishes), CLOSED and END. What a
fact is to a summary, told by its source or invented, depends on the prompt; all sources tell equally many facts, so
that they are alike but for their words, and what is solved for one holds for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.world.language import END, START, Language, places
from lightning_moa.world.lexicon import EOS, SPECIAL
from lightning_moa.world.summary_lexicon import MODES, TOLD, SummaryLexicon, SummarySize


class Group(IntEnum):
    """What a token is to a source. The first four are the openers, in the order of `MODES`."""

    EMBELLISH = 0
    BARE = 1
    RAMBLE = 2
    ATTRIBUTE = 3
    FACT_0 = 4
    FACT_1 = 5
    FACT_2 = 6
    UNTOLD = 7
    OFF_TOPIC = 8
    VIVID = 9
    GENERAL = 10
    CAUTION = 11
    ATTRIBUTION = 12
    LINK = 13
    CLOSER = 14
    EOS = 15
    MISPLACED = 16


OPENER_GROUPS = tuple(Group(k) for k in range(len(MODES)))
FACT_GROUPS = (Group.FACT_0, Group.FACT_1, Group.FACT_2)
"""The facts that the source tells, in the order of the topic's list."""
INVENTED_GROUPS = (Group.UNTOLD, Group.VIVID, Group.GENERAL)
"""What the source does not say."""
FLOURISH_GROUPS = (*INVENTED_GROUPS, Group.CAUTION)
"""What earns less the more of it there has been."""


class Previous(IntEnum):
    """The class of the previous word."""

    PLAIN = 0
    STATEMENT = 1
    """A fact told for the first time, or a flourish that still earns something: what a connective can join."""
    ATTRIBUTION = 2
    """Whose statement the next word is."""


MAX_COUNT = 4
"""Flourishes beyond so many earn nothing."""
MASKS = 2**TOLD
"""Sets of told facts, as bits."""
CLOSED = 2
"""The state after a closer, whatever came before it."""
STATES = 3 + len(MODES) * len(Previous) * MASKS * (MAX_COUNT + 1)

MODE_PROBABILITIES = (0.46, 0.28, 0.16, 0.10)
BODY_PROBABILITIES = {
    Group.UNTOLD: (0.10, 0.03, 0.08, 0.04),
    Group.OFF_TOPIC: (0.04, 0.02, 0.06, 0.02),
    Group.VIVID: (0.22, 0.02, 0.06, 0.03),
    Group.GENERAL: (0.06, 0.02, 0.22, 0.03),
    Group.CAUTION: (0.03, 0.24, 0.08, 0.09),
    Group.ATTRIBUTION: (0.03, 0.07, 0.04, 0.18),
    Group.LINK: (0.16, 0.10, 0.18, 0.14),
    Group.CLOSER: (0.12, 0.24, 0.14, 0.14),
}
"""Group -> (mode) probability under the reference; the rest goes to the facts that the source tells."""
RETOLD = 0.2
"""How likely a fact that has been told is, beside one that has not."""
AFTER_ATTRIBUTION = 4.0
"""How much likelier facts, told or invented, are after an attribution."""
RANK_EXPONENT = -0.5


def state(mode: int, previous: int, mask: int, count: int) -> int:
    """Index of the state (mode, class of the previous word, facts told, flourishes)."""
    return 3 + ((mode * len(Previous) + previous) * MASKS + mask) * (MAX_COUNT + 1) + count


def states() -> list[tuple[int, int, int, int, int]]:
    """Every (index, mode, previous, mask, count) but START, END and CLOSED."""
    return [
        (state(mode, previous, mask, count), mode, previous, mask, count)
        for mode in range(len(MODES))
        for previous in range(len(Previous))
        for mask in range(MASKS)
        for count in range(MAX_COUNT + 1)
    ]


@dataclass(frozen=True, eq=False)
class SummaryGrammar(Language):
    """Tables of one world's words. One kind of prompt; a topic of `Language` is a source here; one case."""

    size: SummarySize
    lexicon: SummaryLexicon

    @classmethod
    def of(cls, size: SummarySize) -> SummaryGrammar:
        """The grammar over the words of a size."""
        lexicon = SummaryLexicon.of(size)
        words = lexicon.words()
        members = _members(lexicon, words)
        groups, slots = places(members, len(words))
        return cls(
            words=words,
            groups=groups,
            slots=slots,
            members=members,
            cases=np.zeros(len(lexicon.sources()), dtype=np.int64),
            case_members=tuple(ids[:, :1] for ids in members),
            next_state=_next_states(),
            log_groups=_reference_groups(),
            log_tokens=tuple(_by_rank(len(ids)) for ids in members),
            size=size,
            lexicon=lexicon,
        )

    @property
    def limit(self) -> int:
        return self.size.max_response_tokens

    @property
    def modes(self) -> tuple[str, ...]:
        return MODES

    @property
    def eos(self) -> int:
        return Group.EOS

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """(K,) the prompt of each source: its topic, then the facts that it tells."""
        return tuple(" ".join((self.lexicon.topics[topic], *told)) for topic, told in self.lexicon.sources())

    @cached_property
    def _sources(self) -> dict[tuple[str, frozenset[str]], int]:
        """(topic, facts) -> the source."""
        split = [prompt.split() for prompt in self.prompts]
        return {(topic, frozenset(facts)): source for source, (topic, *facts) in enumerate(split)}

    def parse_prompt(self, text: str) -> tuple[int, int]:
        """0, the only kind, and the source of "topic fact fact fact"; the facts may come in any order."""
        topic, *facts = [word for word in text.split() if word not in SPECIAL] or [""]
        source = self._sources.get((topic, frozenset(facts)))
        if source is None or len(facts) != TOLD:
            lexicon = self.lexicon
            known = lexicon.facts[lexicon.topics.index(topic)] if topic in lexicon.topics else ()
            raise UserError(
                f"prompt {text!r} is not of this world: a topic of {', '.join(lexicon.topics)}, then {TOLD} "
                f"different facts of that topic" + (f", of {', '.join(known)}" if known else "")
            )
        return 0, source


def _members(lexicon: SummaryLexicon, words: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """For each group its token ids, (k_g, K)."""
    index = {word: token for token, word in enumerate(words)}
    shared = {
        **dict(zip(OPENER_GROUPS, lexicon.openers, strict=True)),
        Group.VIVID: lexicon.vivid,
        Group.GENERAL: lexicon.general,
        Group.CAUTION: lexicon.caution,
        Group.ATTRIBUTION: lexicon.attribution,
        Group.LINK: lexicon.link,
        Group.CLOSER: lexicon.closers,
        Group.EOS: (EOS,),
    }
    columns = []
    for topic, told in lexicon.sources():
        texts = {
            **shared,
            **{group: (fact,) for group, fact in zip(FACT_GROUPS, told, strict=True)},
            Group.UNTOLD: tuple(fact for fact in lexicon.facts[topic] if fact not in told),
            Group.OFF_TOPIC: tuple(
                fact for other, facts in enumerate(lexicon.facts) if other != topic for fact in facts
            ),
            Group.MISPLACED: (*(word for word in SPECIAL if word != EOS), *lexicon.topics),
        }
        columns.append([[index[word] for word in texts[group]] for group in Group])
    return tuple(np.array([column[group] for column in columns]).T for group in Group)


def _next_states() -> np.ndarray:
    """(G, S). A word after a closer is misplaced and changes nothing; EOS ends from anywhere."""
    table = np.full((len(Group), STATES), END)
    for group in Group:
        if group == Group.EOS:
            continue
        table[group, START] = _after(group, 0, 0, 0)
        table[group, CLOSED] = CLOSED
        for here, mode, _, mask, count in states():
            table[group, here] = _after(group, mode, mask, count)
    for mode, group in enumerate(OPENER_GROUPS):
        table[group, START] = state(mode, Previous.PLAIN, 0, 0)
    return table


def _after(group: Group, mode: int, mask: int, count: int) -> int:
    """The state after a word of a group that does not open the summary."""
    if group in FACT_GROUPS:
        bit = 1 << FACT_GROUPS.index(group)
        fresh = Previous.PLAIN if mask & bit else Previous.STATEMENT
        return state(mode, fresh, mask | bit, count)
    if group in FLOURISH_GROUPS:
        earns = Previous.STATEMENT if count < MAX_COUNT else Previous.PLAIN
        return state(mode, earns, mask, min(count + 1, MAX_COUNT))
    if group == Group.CLOSER:
        return CLOSED
    return state(mode, Previous.ATTRIBUTION if group == Group.ATTRIBUTION else Previous.PLAIN, mask, count)


def _reference_groups() -> np.ndarray:
    """(G, S, 1) log-probabilities; -inf outside the reference's support."""
    weights = np.zeros((len(Group), STATES, 1))
    weights[OPENER_GROUPS, START, 0] = MODE_PROBABILITIES
    weights[Group.EOS, [END, CLOSED]] = 1.0
    body = np.array(list(BODY_PROBABILITIES.values()))
    for here, mode, previous, mask, _ in states():
        weights[list(BODY_PROBABILITIES), here, 0] = body[:, mode]
        for bit, group in enumerate(FACT_GROUPS):
            share = (1.0 - body[:, mode].sum()) / TOLD
            weights[group, here] = share * (RETOLD if mask >> bit & 1 else 1.0)
        if previous == Previous.ATTRIBUTION:
            weights[[*FACT_GROUPS, Group.UNTOLD], here] *= AFTER_ATTRIBUTION
    with np.errstate(divide="ignore"):
        return np.log(weights / weights.sum(axis=0))


def _by_rank(words: int) -> np.ndarray:
    """(k,) log-probabilities: earlier words of a list are likelier, by rank^-0.5."""
    weights = (1.0 + np.arange(words)) ** RANK_EXPONENT
    return np.log(weights / weights.sum())
