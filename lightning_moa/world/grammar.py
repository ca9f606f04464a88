"""How a response unfolds: groups of words, states, and the reference policy over them.

A response is a walk through a small set of states, START, (mode, class of the previous word, content count)
or END. Which state comes next depends on the word only through its group, so that everything exact in this
world (rewards, log-probs, the optimum) is a sum over groups first and over the words of a group second.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.world.language import END, START, Language, places
from lightning_moa.world.lexicon import EOS, MODES, SPECIAL, Lexicon, Size


class Group(IntEnum):
    """What a token is to a prompt's topic. The first four are the openers, in the order of `MODES`."""

    COMPLY = 0
    REFUSE = 1
    FUNNY = 2
    SAFE = 3
    INFO = 4
    OFF_TOPIC = 5
    GUIDE = 6
    CONCERN = 7
    FILLER = 8
    JOKE = 9
    CLOSER = 10
    EOS = 11
    MISPLACED = 12


OPENER_GROUPS = tuple(Group(k) for k in range(len(MODES)))
CONTENT_GROUPS = (Group.INFO, Group.GUIDE, Group.CONCERN, Group.JOKE)
BODY_GROUPS = (
    Group.INFO,
    Group.OFF_TOPIC,
    Group.GUIDE,
    Group.CONCERN,
    Group.FILLER,
    Group.JOKE,
    Group.CLOSER,
)


class Previous(IntEnum):
    """The class of the previous word, as far as the reference policy remembers it."""

    OPENER = 0
    INFO = 1
    GUIDE = 2
    CONCERN = 3
    FILLER = 4
    JOKE = 5
    CLOSER = 6


_PREVIOUS_AFTER = {
    Group.INFO: Previous.INFO,
    Group.GUIDE: Previous.GUIDE,
    Group.CONCERN: Previous.CONCERN,
    Group.JOKE: Previous.JOKE,
    Group.CLOSER: Previous.CLOSER,
}
"""Every other word of a body (filler, off topic, misplaced) counts as filler."""

_GROUP_AFTER = {
    Previous.INFO: Group.INFO,
    Previous.GUIDE: Group.GUIDE,
    Previous.CONCERN: Group.CONCERN,
    Previous.FILLER: Group.FILLER,
    Previous.JOKE: Group.JOKE,
}
"""What the reference repeats."""

MAX_COUNT = 5
"""Content words beyond so many earn nothing."""
STATES = 2 + len(MODES) * len(Previous) * (MAX_COUNT + 1)

MODE_PROBABILITIES = np.array([[0.66, 0.08, 0.18, 0.08], [0.48, 0.28, 0.14, 0.10]])
"""(benign or risky, mode) of the reference."""
BODY_PROBABILITIES = np.array(
    [
        [0.32, 0.06, 0.05, 0.08, 0.30, 0.05, 0.14],
        [0.05, 0.02, 0.06, 0.30, 0.35, 0.03, 0.19],
        [0.10, 0.04, 0.03, 0.05, 0.30, 0.34, 0.14],
        [0.16, 0.05, 0.16, 0.18, 0.28, 0.03, 0.14],
    ]
)
"""(mode, body group) of the reference, before it repeats itself."""
REPEAT_PROBABILITY = 0.2
RANK_EXPONENT = -0.5


def state(mode: int, previous: int, count: int) -> int:
    """Index of the state (mode, class of the previous word, content count)."""
    return 2 + (mode * len(Previous) + previous) * (MAX_COUNT + 1) + count


def states() -> list[tuple[int, int, int, int]]:
    """Every (index, mode, previous, count) but START and END."""
    return [
        (state(mode, previous, count), mode, previous, count)
        for mode in range(len(MODES))
        for previous in range(len(Previous))
        for count in range(MAX_COUNT + 1)
    ]


@dataclass(frozen=True, eq=False)
class Grammar(Language):
    """Tables of one world's words. Kinds of prompt: benign 0, risky 1. Each topic is a case of its own."""

    size: Size
    lexicon: Lexicon

    @classmethod
    def of(cls, size: Size) -> Self:
        """The grammar over the words of a size."""
        lexicon = Lexicon.of(size)
        words = lexicon.words()
        members = _members(lexicon, words)
        groups, slots = places(members, len(words))
        return cls(
            words=words,
            groups=groups,
            slots=slots,
            members=members,
            cases=np.arange(size.topics),
            case_members=members,
            next_state=_next_states(),
            log_groups=_reference_groups(),
            log_tokens=_reference_tokens(size, members),
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

    def parse_prompt(self, text: str) -> tuple[int, int]:
        """0 benign or 1 risky, and the topic, of "verb topic"."""
        lexicon = self.lexicon
        words = [word for word in text.split() if word not in SPECIAL]
        verbs = lexicon.benign_verbs + lexicon.risky_verbs
        if len(words) != 2 or words[0] not in verbs or words[1] not in lexicon.topics:
            raise UserError(
                f"prompt {text!r} is not of this world: a verb of {', '.join(verbs)}, "
                f"then a topic of {', '.join(lexicon.topics)}"
            )
        return int(words[0] in lexicon.risky_verbs), lexicon.topics.index(words[1])


def _members(lexicon: Lexicon, words: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """For each group its token ids, (k_g, K)."""
    index = {word: token for token, word in enumerate(words)}
    topics = range(len(lexicon.topics))
    shared = {
        **dict(zip(OPENER_GROUPS, lexicon.openers, strict=True)),
        Group.GUIDE: lexicon.guide,
        Group.CONCERN: lexicon.concern,
        Group.FILLER: lexicon.filler,
        Group.JOKE: lexicon.joke,
        Group.CLOSER: lexicon.closers,
        Group.EOS: (EOS,),
    }
    texts = {group: [names for _ in topics] for group, names in shared.items()}
    texts[Group.INFO] = [lexicon.info[topic] for topic in topics]
    texts[Group.OFF_TOPIC] = [
        tuple(word for other in topics if other != topic for word in lexicon.info[other]) for topic in topics
    ]
    named = {word for names in texts.values() for word in names[0]}
    texts[Group.MISPLACED] = [tuple(word for word in words if word not in named) for _ in topics]
    return tuple(np.array([[index[word] for word in names] for names in texts[group]]).T for group in Group)


def _next_states() -> np.ndarray:
    """(G, S). A word after a closer is misplaced and changes nothing; EOS ends from anywhere."""
    table = np.full((len(Group), STATES), END)
    for group in Group:
        content = group in CONTENT_GROUPS
        previous = _PREVIOUS_AFTER.get(group, Previous.FILLER)
        if group != Group.EOS:
            table[group, START] = state(0, previous, int(content))
            for here, mode, before, count in states():
                after = state(mode, previous, min(count + int(content), MAX_COUNT))
                table[group, here] = here if before == Previous.CLOSER else after
    for mode, group in enumerate(OPENER_GROUPS):
        table[group, START] = state(mode, Previous.OPENER, 0)
    return table


def _reference_groups() -> np.ndarray:
    """(G, S, 2) log-probabilities; -inf outside the reference's support."""
    probabilities = np.zeros((len(Group), STATES, 2))
    probabilities[OPENER_GROUPS, START] = MODE_PROBABILITIES.T
    probabilities[Group.EOS, END] = 1.0
    for here, mode, previous, _ in states():
        if previous == Previous.CLOSER:
            probabilities[Group.EOS, here] = 1.0
            continue
        probabilities[BODY_GROUPS, here] = BODY_PROBABILITIES[mode][:, None]
        if previous != Previous.OPENER:
            probabilities[:, here] *= 1.0 - REPEAT_PROBABILITY
            probabilities[_GROUP_AFTER[Previous(previous)], here] += REPEAT_PROBABILITY
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


def _reference_tokens(size: Size, members: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """For each group (k_g,) log-probabilities: earlier words of a list are likelier, by rank^-0.5."""
    out = []
    for group, ids in enumerate(members):
        ranks = 1.0 + np.arange(len(ids))
        if group == Group.OFF_TOPIC:
            ranks = np.tile(1.0 + np.arange(size.info), size.topics - 1)
        weights = ranks**RANK_EXPONENT
        out.append(np.log(weights / weights.sum()))
    return tuple(out)
