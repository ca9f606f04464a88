"""What was encoded is remembered for the process's next runs, which mostly begin with the same texts."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING

import numpy as np

from lightning_moa.data.encoding import Encoded, EncodingRules, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ROOM = 64 * 2**20
"""Bytes of tokens that are kept for the next run; what was not asked for the longest goes first. Of texts of more
characters none is."""

_kept: OrderedDict[str, Encoded] = OrderedDict()


def encode_once(
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    responses: Sequence[Sequence[str]] | None,
    rules: EncodingRules,
) -> Encoded:
    """As `encode`, from memory where this process has encoded the same texts by the same rules and an equal tokenizer.
    Arrays that are remembered can't be written to."""
    if sum(map(len, prompts)) + sum(len(text) for texts in responses or () for text in texts) > ROOM:
        return encode(tokenizer, prompts, responses, rules)
    key = _key(tokenizer, prompts, responses, rules)
    if key not in _kept:
        _kept[key] = _locked(encode(tokenizer, prompts, responses, rules))
    _kept.move_to_end(key)
    found = _kept[key]
    while _kept and sum(map(_bytes, _kept.values())) > ROOM:
        _kept.popitem(last=False)
    return found


def _key(
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    responses: Sequence[Sequence[str]] | None,
    rules: EncodingRules,
) -> str:
    """A hash of all that an encoding hangs on."""
    own = tokenizer.backend_tokenizer.to_str(), tokenizer.chat_template, tokenizer.special_tokens_map
    given = json.dumps([own, type(tokenizer).__name__, prompts, responses, astuple(rules)], default=str)
    return hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()


def _locked(encoded: Encoded) -> Encoded:
    for array in _arrays(encoded):
        array.flags.writeable = False
    return encoded


def _bytes(encoded: Encoded) -> int:
    return sum(array.nbytes for array in _arrays(encoded)) + sum(map(len, encoded.shown))


def _arrays(encoded: Encoded) -> Iterator[np.ndarray]:
    yield encoded.index
    for ragged in (encoded.prompts, *encoded.responses):
        yield from (ragged.values, ragged.offsets)
