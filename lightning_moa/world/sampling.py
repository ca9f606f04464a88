"""Sampling of responses from a policy, and their exact log-probabilities."""

from __future__ import annotations

import numpy as np

from lightning_moa.world.language import START, Language
from lightning_moa.world.lexicon import EOS_ID
from lightning_moa.world.policy import Policy
from lightning_moa.world.text import Walks


def sample_tokens(
    language: Language, policy: Policy, kinds: np.ndarray, topics: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(n, T) token ids of one response for each prompt, filled with EOS after the end.

    The path of groups comes first, step by step; it decides the states, so that all words can be drawn at
    once afterwards.
    """
    steps = language.limit
    states = np.empty((len(kinds), steps), dtype=np.int64)
    groups = np.empty_like(states)
    cases = language.cases[topics]
    here = np.full(len(kinds), START)
    for step in range(steps):
        states[:, step] = here
        groups[:, step] = _draw(policy.group_steps[step][:, here, kinds, cases], rng)
        here = language.next_state[groups[:, step], here]
    tokens = np.full_like(states, EOS_ID)
    for group, ids in enumerate(language.members):
        rows, columns = np.nonzero(groups == group)
        if group == language.eos or len(rows) == 0:
            continue
        choices = policy.token_steps(group, states[rows, columns], kinds[rows], cases[rows])
        tokens[rows, columns] = ids[_draw(choices, rng), topics[rows]]
    return tokens


def _draw(steps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) one index for each column of cumulative probabilities (k, n)."""
    return (steps <= rng.random(steps.shape[1])).sum(axis=0)


def texts(language: Language, tokens: np.ndarray) -> list[str]:
    """The words of each row of token ids (n, T), up to its EOS."""
    lengths = (tokens != EOS_ID).sum(axis=1)
    words = np.array(language.words, dtype=object)[tokens]
    return [" ".join(row[:length]) for row, length in zip(words, lengths, strict=True)]


def logprob(language: Language, policy: Policy, walks: Walks) -> np.ndarray:
    """(n,) log-probability of each response: its words and, unless it was cut at the limit, its EOS."""
    kinds, cases = walks.kinds, language.cases[walks.topics]
    steps = np.arange(walks.tokens.shape[1])
    total = policy.log_groups[steps, walks.groups, walks.states, kinds[:, None], cases[:, None]].sum(axis=1)
    slots = language.slots[walks.topics[:, None], walks.tokens]
    for group, log_tokens in enumerate(policy.log_tokens):
        rows, columns = np.nonzero(walks.groups == group)
        log_token = log_tokens[slots[rows, columns], walks.states[rows, columns], kinds[rows], cases[rows]]
        total += np.bincount(rows, weights=log_token, minlength=len(total))
    return total
