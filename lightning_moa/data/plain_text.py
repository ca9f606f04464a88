"""Texts to token ids in which no control token comes from a user's text.

A tokenizer finds the names of its control tokens (BOS, EOS, `<|im_start|>`, ...) in any text, so that a prompt could
speak as the system or close itself. Here they are found in templates alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHUNK = 10_000
"""Texts handed to the tokenizer at once; bounds the memory that its Python lists take."""


def control_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """The tokenizer's control tokens, name to id: those that it marks as special. The unknown token is none of them, as
    any text may hold it."""
    marked = {token.content: i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    return {name: i for name, i in (marked | named).items() if i != tokenizer.unk_token_id}


def tokenise(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[np.ndarray]:
    """int32 token ids of each text, none of them a control token: their names are plain text."""
    ids = _ids(tokenizer, texts, plain=True)
    control = np.array(list(control_tokens(tokenizer).values()), dtype=np.int32)
    for row, found in enumerate(_where(ids, control)):
        if found.any():
            # The name is a word of the model's own vocabulary, too (unigrams): only in parts is it text.
            ids[row] = np.concatenate(
                _ids(tokenizer, _broken(tokenizer, texts[row], found, True), plain=True)
            )
    return ids


def tokenise_between(
    tokenizer: PreTrainedTokenizerFast, before: str, after: str, texts: Sequence[str]
) -> list[np.ndarray]:
    """int32 token ids of before + text + after, for each text; control tokens come from `before` and `after` alone.

    What stands between control tokens is tokenised as one text.
    """
    names = control_tokens(tokenizer)
    if not any(name in before or name in after for name in names):
        return tokenise(tokenizer, [before + text + after for text in texts])
    control = np.array(list(names.values()), dtype=np.int32)
    *ids, alone = _ids(tokenizer, [before + text + after for text in (*texts, "x")], plain=False)
    *found, expected = (
        each[hit] for each, hit in zip([*ids, alone], _where([*ids, alone], control), strict=True)
    )
    odd = [row for row, tokens in enumerate(found) if not np.array_equal(tokens, expected)]
    if odd:
        head, left, right, tail = _ends(tokenizer, before, after, control)
        middle = tokenise(tokenizer, [left + texts[row] + right for row in odd])
        for row, tokens in zip(odd, middle, strict=True):
            ids[row] = np.concatenate([head, tokens, tail])
    return ids


def harmless(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[str]:
    """The texts, `spaced` where the tokenizer would find a control token in one."""
    control = np.array(list(control_tokens(tokenizer).values()), dtype=np.int32)
    found = _where(_ids(tokenizer, texts, plain=False), control)
    return [spaced(tokenizer, text) if hit.any() else text for text, hit in zip(texts, found, strict=True)]


def control_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[np.ndarray]:
    """int32 token ids of each text, nothing added, control tokens found wherever the text has their names."""
    return _ids(tokenizer, texts, plain=False)


def spaced(tokenizer: PreTrainedTokenizerFast, text: str) -> str:
    """The text with a space within each stretch that the tokenizer would take for a control token, `< |im_end|>`."""
    control = np.array(list(control_tokens(tokenizer).values()), dtype=np.int32)
    for plain in (False, True):
        (found,) = _where(_ids(tokenizer, [text], plain), control)
        text = " ".join(_broken(tokenizer, text, found, plain))
    return text


def _ends(
    tokenizer: PreTrainedTokenizerFast, before: str, after: str, control: np.ndarray
) -> tuple[np.ndarray, str, str, np.ndarray]:
    """`before` as its tokens up to its last control token and the text that follows, `after` as the text up to its
    first one and the tokens from there."""
    sides = []
    for text in (before, after):
        batch = tokenizer([text], add_special_tokens=False, verbose=False)
        tokens = np.array(batch["input_ids"][0], dtype=np.int32)
        sides.append((tokens, batch.encodings[0].offsets, np.flatnonzero(np.isin(tokens, control))))
    (head, ends, last), (tail, starts, first) = sides
    head, before = (head[: last[-1] + 1], before[ends[last[-1]][1] :]) if len(last) else (head[:0], before)
    tail, after = (tail[first[0] :], after[: starts[first[0]][0]]) if len(first) else (tail[:0], after)
    return head, before, after, tail


def _broken(tokenizer: PreTrainedTokenizerFast, text: str, control: np.ndarray, plain: bool) -> list[str]:
    """The text in parts, cut within each stretch that became a control token; `control` (tokens,) says which did."""
    batch = tokenizer([text], add_special_tokens=False, split_special_tokens=plain, verbose=False)
    starts = [start for (start, _), hit in zip(batch.encodings[0].offsets, control, strict=True) if hit]
    cuts = [0, *(start + 1 for start in starts), len(text)]
    return [text[start:end] for start, end in pairwise(cuts) if start < end]


def _where(ids: Sequence[np.ndarray], control: np.ndarray) -> list[np.ndarray]:
    """Of each row's tokens (time,), whether they are control tokens."""
    ends = np.cumsum([len(row) for row in ids])
    flat = np.concatenate([np.empty(0, np.int32), *ids])
    return np.split(np.isin(flat, control), ends)[: len(ids)]


def _ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], plain: bool) -> list[np.ndarray]:
    """int32 token ids of each text, nothing added; `plain` as far as the tokenizer itself can."""
    ids: list[np.ndarray] = []
    for start in range(0, len(texts), CHUNK):
        encoded = tokenizer(
            list(texts[start : start + CHUNK]),
            add_special_tokens=False,
            return_attention_mask=False,
            split_special_tokens=plain,
            verbose=False,
        )
        ids += [np.array(tokens, dtype=np.int32) for tokens in encoded["input_ids"]]
    return ids
