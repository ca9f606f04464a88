"""A response's tokens as they follow a prompt's: those of prompt and response tokenised as one text.

So models were trained, and so they are sampled from. Tokenised by itself, a response would begin as a text begins, with
the space that SentencePiece's tokenizers put first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_moa.data.plain_text import CHUNK, control_tokens, tokenise

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

LEFT = ("x", "0", ".", "\n")
"""Texts that may stand before a response in its prompt's place: of several kinds, so that one of them merges with
nothing."""


def tokenise_behind(
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    tokens: Sequence[np.ndarray],
    responses: Sequence[str],
    plain: bool,
) -> tuple[list[np.ndarray], np.ndarray]:
    """int32 token ids of each response, none of them a control token, and (n,) bool, which are not those of one text.

    A response has the tokens behind its prompt's where both are tokenised as one text. Where the tokenizer merges the
    prompt's end and the response's beginning to one token, which a policy that is given the prompt cannot say, or where
    the response holds a control token's name, it has those behind another text (`LEFT`) instead.

    Args:
        prompts: n texts, as the model is given them.
        tokens: the tokens of each.
        responses: n texts.
        plain: no control tokens are looked for in prompts.
    """
    control = frozenset(control_tokens(tokenizer).values())
    found: list[np.ndarray | None] = []
    for start in range(0, len(prompts), CHUNK):
        part = slice(start, start + CHUNK)
        rows = list(zip(prompts[part], responses[part], strict=True))
        batch = tokenizer(
            [prompt + response for prompt, response in rows],
            add_special_tokens=False,
            return_attention_mask=False,
            split_special_tokens=plain,
            verbose=False,
        )
        found += [
            _behind(encoding, own, len(prompt), control)
            for encoding, own, (prompt, _) in zip(batch.encodings, tokens[part], rows, strict=True)
        ]
    apart = np.array([each is None for each in found], dtype=bool)
    ids = [
        _behind_another(tokenizer, response, control) if each is None else each
        for each, response in zip(found, responses, strict=True)
    ]
    return ids, apart


def _behind(encoding: Encoding, own: np.ndarray, seam: int, control: frozenset[int]) -> np.ndarray | None:
    """The tokens behind the `own` ones of a text's first `seam` characters; None where these are not what it begins
    with, or where a control token follows."""
    ids, count = encoding.ids, len(own)
    behind = ids[count:]
    if ids[:count] != own.tolist() or not control.isdisjoint(behind):
        return None
    if count:
        place = encoding.token_to_chars(count - 1)
        if place is not None and place[1] > seam:
            return None
    return np.array(behind, dtype=np.int32)


def _behind_another(tokenizer: PreTrainedTokenizerFast, response: str, control: frozenset[int]) -> np.ndarray:
    """A response's tokens behind the first of `LEFT` that merges with nothing of it; else its tokens by itself."""
    for left, own in zip(LEFT, tokenise(tokenizer, LEFT), strict=True):
        batch = tokenizer(
            [left + response], add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        found = _behind(batch.encodings[0], own, len(left), control)
        if found is not None:
            return found
    return tokenise(tokenizer, [response])[0]
