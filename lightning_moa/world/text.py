"""Text to token ids and back, and the walk of a response through the states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.world.language import START, Language, RewardTables
from lightning_moa.world.lexicon import EOS_ID, UNK_ID


@dataclass(frozen=True, eq=False)
class Walks:
    """n responses, token by token; shape (n, T), filled with EOS after the end."""

    kinds: np.ndarray
    """(n,) int, kind of each prompt."""
    topics: np.ndarray
    """(n,) int."""
    tokens: np.ndarray
    """(n, T) int, token ids."""
    groups: np.ndarray
    """(n, T) int, group of each token."""
    states: np.ndarray
    """(n, T) int, the state before each token."""


def parse_prompts(language: Language, prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(n,) kind and (n,) topic of each prompt; special tokens around it are ignored.

    Raises:
        UserError: a prompt that is not of this world.
    """
    known = {text: language.parse_prompt(text) for text in set(prompts)}
    parsed = np.array([known[text] for text in prompts], dtype=np.int64).reshape(-1, 2)
    return parsed[:, 0], parsed[:, 1]


def encode_responses(language: Language, responses: Sequence[str]) -> np.ndarray:
    """(n, T) token ids: unknown words become `<unk>`, an `<eos>` ends, words beyond the limit are cut."""
    limit = language.limit
    index = {word: token for token, word in enumerate(language.words)}
    split = [text.split() for text in responses]
    lengths = np.minimum([len(words) for words in split], limit).astype(np.int64)
    tokens = np.full((len(split), limit), EOS_ID)
    tokens[np.arange(limit) < lengths[:, None]] = np.fromiter(
        (index.get(word, UNK_ID) for words in split for word in islice(words, limit)),
        dtype=np.int64,
        count=int(lengths.sum()),
    )
    tokens[np.logical_or.accumulate(tokens == EOS_ID, axis=1)] = EOS_ID
    return tokens


def walk(language: Language, prompts: Sequence[str], responses: Sequence[str]) -> Walks:
    """The states that responses pass through.

    Raises:
        UserError: a prompt that is not of this world, or not one response a prompt.
    """
    if len(prompts) != len(responses):
        raise UserError(f"{len(responses)} responses to {len(prompts)} prompts: there must be one for each")
    kinds, topics = parse_prompts(language, prompts)
    tokens = encode_responses(language, responses)
    groups = language.groups[topics[:, None], tokens]
    states = np.empty_like(groups)
    here = np.full(len(tokens), START)
    for step in range(tokens.shape[1]):
        states[:, step] = here
        here = language.next_state[groups[:, step], here]
    return Walks(kinds, topics, tokens, groups, states)


def token_rewards(tables: RewardTables, walks: Walks) -> np.ndarray:
    """(n, T, m) what each token earns; their sum over T is the reward of the response."""
    place = (walks.groups, walks.states, walks.kinds[:, None])
    earned = [
        scale[place] * quality[walks.tokens] + offset[place]
        for scale, offset, quality in zip(tables.scale, tables.offset, tables.quality, strict=True)
    ]
    return np.stack(earned, axis=-1)
