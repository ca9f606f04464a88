"""What the exact parts of a world need to know of its language: words in groups, states, a reference policy.

A prompt is of a kind and about a topic. The kind (benign or risky, say) may change how the reference answers and
what a word earns; the topic says which words belong to which group. A response is a walk through states that
depend on its words only through their groups, so that everything exact (rewards, log-probs, the optimum) is a sum
over groups first and over the words of a group second. Topics whose words are of the same quality share a case:
what is solved for one of them holds for all.

The first groups are the openers, one for each mode, in order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

START, END = 0, 1
"""The state before the first word, and the one after EOS."""


@dataclass(frozen=True, eq=False)
class Language(ABC):
    """Tables of one world's words. Axes: group G, words of a group k_g, state S, kind R, topic K, case C, token V.

    What is chosen (a group, a word) is the first axis, what it is chosen for (state, kind of prompt) follows.
    """

    words: tuple[str, ...]
    """(V,) the text of each token id."""
    groups: np.ndarray
    """(K, V) int, the group of a token in a response to a prompt about a topic."""
    slots: np.ndarray
    """(K, V) int, the token's place among the members of its group."""
    members: tuple[np.ndarray, ...]
    """for each group (k_g, K) int, its token ids."""
    cases: np.ndarray
    """(K,) int, the case of each topic."""
    case_members: tuple[np.ndarray, ...]
    """for each group (k_g, C) int, the token ids of a topic of each case."""
    next_state: np.ndarray
    """(G, S) int."""
    log_groups: np.ndarray
    """(G, S, R) log-probability of a group under the reference."""
    log_tokens: tuple[np.ndarray, ...]
    """for each group (k_g,) log-probability of its words under the reference, given the group."""

    @property
    @abstractmethod
    def limit(self) -> int:
        """Most tokens of a response, EOS included."""

    @property
    @abstractmethod
    def modes(self) -> tuple[str, ...]:
        """The kinds of response, chosen by the first word: mode i by the words of group i."""

    @property
    @abstractmethod
    def eos(self) -> int:
        """The group of EOS."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, R, C), what a policy distinguishes at one step."""
        return self.next_state.shape[1], self.log_groups.shape[2], self.case_members[0].shape[1]

    @abstractmethod
    def parse_prompt(self, text: str) -> tuple[int, int]:
        """Kind and topic of a prompt; special tokens around it are ignored. UserError if not of this world."""


def places(members: tuple[np.ndarray, ...], tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """(K, V) group of each token for each topic, and (K, V) its place in that group; members as in `Language`."""
    groups = np.zeros((members[0].shape[1], tokens), dtype=np.int64)
    slots = np.zeros_like(groups)
    for group, ids in enumerate(members):
        np.put_along_axis(groups, ids.T, group, axis=1)
        np.put_along_axis(slots, ids.T, np.arange(len(ids))[None], axis=1)
    return groups, slots


@dataclass(frozen=True, eq=False)
class RewardTables:
    """Rewards of m objectives, all maximised. Axes: objective m, group G, state S, kind of prompt R, token V.

    In state s, a word w of group g earns for objective i

        r_i(s, w) = scale_i[s, g] * quality_i[w] + offset_i[s, g],

    and a response earns the sum over its words.
    """

    scale: np.ndarray
    """(m, G, S, R)"""
    offset: np.ndarray
    """(m, G, S, R)"""
    quality: np.ndarray
    """(m, V) how good a word is of its group, around 1."""

    def select(self, chosen: list[int]) -> RewardTables:
        """The tables of some objectives, in the order given."""
        return RewardTables(self.scale[chosen], self.offset[chosen], self.quality[chosen])
