"""Texts to token ids, within the longest allowed lengths, every cut and drop counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightning_moa.data.configs import DataConfig
from lightning_moa.data.plain_text import tokenise, tokenise_between
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class EncodingRules:
    """How a prompt becomes the model's text, and how long things may be, in tokens."""

    template: str = "{prompt}"
    max_length: int = 512
    max_response_length: int = 256
    long_responses: str = "drop"

    @classmethod
    def of(cls, config: DataConfig) -> EncodingRules:
        """The rules that a data set's options state."""
        return cls(config.template, config.max_length, config.max_response_length, config.long_responses)

    def prompt_text(self, prompt: str) -> str:
        """The template with the prompt in its place."""
        before, after = self.around()
        return before + prompt + after

    def around(self) -> tuple[str, str]:
        """What stands before a prompt and after it."""
        before, _, after = self.template.partition("{prompt}")
        return before, after


@dataclass(frozen=True)
class Ragged:
    """k rows of token ids of different lengths, in one flat array."""

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Sequence[int] | np.ndarray]) -> Ragged:
        """Pack rows. values: (total,) int32, offsets: (k + 1,) int64."""
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
        flat = [np.asarray(row, dtype=np.int32) for row in rows]
        return cls(np.concatenate(flat) if flat else np.empty(0, np.int32), offsets.astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def lengths(self) -> np.ndarray:
        """(k,) number of tokens of each row."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Encoded:
    """k encoded rows: a prompt and the same number of responses (none, one or two) each.

    index: (k,) int64, position of each row among the texts that were handed in.
    dropped: texts' rows left out, by reason. changed: prompts and responses that were shortened.
    """

    prompts: Ragged
    responses: tuple[Ragged, ...]
    index: np.ndarray
    dropped: Counter[str]
    changed: Counter[str]

    def __len__(self) -> int:
        return len(self.prompts)


def encode(
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    responses: Sequence[Sequence[str]] | None,
    rules: EncodingRules,
) -> Encoded:
    """Token ids of n prompts and of the responses to each (None: prompts alone, to sample from).

    A prompt is [BOS, where the tokenizer has one and the template does not begin with it] + the template's text, in
    which control tokens come from the template alone. A response is tokenised apart, and closed by EOS. The names of
    control tokens inside prompts and responses are plain text.

    - A response longer than `max_response_length`, EOS included, drops its row, with all its responses;
      with long_responses="cut" its first `max_response_length` tokens are kept instead, without an EOS.
    - Where prompt and longest response together exceed `max_length`, the start of the prompt's text is cut
      (the BOS stays): all responses of a row follow the same prompt. Prompts alone leave room for
      `max_response_length` new tokens.
    - Two responses that are equal once they are cut drop their row: it no longer says anything.
    - A prompt without a single token drops its row: nothing would predict the first token of the response.

    Raises `UserError` where the tokenizer has no EOS.
    """
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no EOS token, so a response cannot be closed")
    groups = list(zip(*responses, strict=True)) if responses is not None else []
    prompt_ids = tokenise_between(tokenizer, *rules.around(), prompts)
    replies = [tokenise(tokenizer, group) for group in groups]

    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    kept: list[int] = []
    kept_prompts: list[np.ndarray] = []
    kept_replies: list[list[np.ndarray]] = [[] for _ in groups]
    for i in range(len(prompts)):
        closed = [_close(side[i], tokenizer.eos_token_id, rules) for side in replies]
        lengths = [len(tokens) for tokens, _ in closed]
        if any(cut for _, cut in closed) and rules.long_responses == "drop":
            dropped["response too long"] += 1
            continue
        if len(closed) == 2 and np.array_equal(closed[0][0], closed[1][0]):
            dropped["equal replies once cut"] += 1
            continue
        room = rules.max_length - max(lengths, default=rules.max_response_length)
        prompt, cut = _fit_prompt(tokenizer.bos_token_id, prompt_ids[i], room)
        if not len(prompt):
            dropped["prompt without tokens"] += 1
            continue
        changed["prompt cut at its start"] += cut
        changed["response cut at its end"] += sum(was_cut for _, was_cut in closed)
        kept.append(i)
        kept_prompts.append(prompt)
        for side, (tokens, _) in zip(kept_replies, closed, strict=True):
            side.append(tokens)
    return Encoded(
        prompts=Ragged.of(kept_prompts),
        responses=tuple(Ragged.of(side) for side in kept_replies),
        index=np.array(kept, dtype=np.int64),
        dropped=dropped,
        changed=+changed,
    )


def _close(tokens: np.ndarray, eos: int, rules: EncodingRules) -> tuple[np.ndarray, bool]:
    """A response with its EOS, or its beginning where that is too long; and whether it was too long."""
    if len(tokens) + 1 > rules.max_response_length:
        return tokens[: rules.max_response_length], True
    return np.append(tokens, np.int32(eos)), False


def _fit_prompt(bos: int | None, tokens: np.ndarray, room: int) -> tuple[np.ndarray, bool]:
    """One BOS, where there is such a token, and the end of a prompt's tokens, at most `room` together; and whether its
    start was cut."""
    first = np.array([] if bos is None else [bos], dtype=np.int32)
    if len(tokens) and tokens[0] == bos:
        tokens = tokens[1:]
    excess = max(len(first) + len(tokens) - room, 0)
    return np.concatenate([first, tokens[excess:]]), excess > 0
