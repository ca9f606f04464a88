"""Texts to token ids, within the longest allowed lengths, every cut and drop counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_moa.data.chat import chat_texts, end_of_turn, replies_behind
from lightning_moa.data.configs import CHAT, DataConfig
from lightning_moa.data.joining import tokenise_behind
from lightning_moa.data.plain_text import control_ids, control_tokens, harmless, tokenise_between
from lightning_moa.data.templates import around, filled, turns_filled, turns_in
from lightning_moa.errors import UserError
from lightning_moa.turns import messages_of, readable, with_last, without_first_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


NO_ROOM = "no room for the prompt"
"""Why a row is dropped whose template and responses leave its prompt not a single character."""

Rewrite = Callable[[int, str], str]
"""(place among the prompts, prompt) to what the model is given in its place, such as the prompt with rewards in it."""


@dataclass(frozen=True)
class EncodingRules:
    """How a prompt becomes the model's text, and how long things may be, in tokens."""

    template: str = "{prompt}"
    max_length: int = 512
    max_response_length: int = 256
    long_responses: str = "drop"
    response_room: int | None = None
    """Tokens that a prompt to sample from leaves to its response at least; None: `max_response_length`."""
    close_cut: bool = False
    """End a response that is cut by EOS all the same, as its last token: for what scores responses, to which an end
    must not say how long a text was before it was cut."""

    @classmethod
    def of(cls, config: DataConfig) -> EncodingRules:
        """The rules that a data set's options state."""
        return cls(**{name: getattr(config, name) for name in OPTIONS})

    @property
    def room(self) -> int:
        """Tokens that a prompt to sample from leaves to its response at least."""
        return self.max_response_length if self.response_room is None else self.response_room

    @property
    def chat(self) -> bool:
        """Whether the template is the tokenizer's own."""
        return self.template == CHAT

    def prompt_text(self, prompt: str) -> str:
        """The template with the prompt in its place.

        Raises:
            UserError: the template is a tokenizer's.
        """
        if self.chat:
            raise UserError(
                f"data.template={CHAT}: a tokenizer that is made here has no chat template; give model.path"
            )
        return filled(self.template, prompt)


OPTIONS = tuple(each.name for each in fields(EncodingRules) if each.name != "close_cut")
"""Rules that are options of a data set."""


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
    shown: k prompts as the model is given them, without the template: what is too long has lost its start.
    max_length: most tokens of prompt and response together.
    dropped: texts' rows left out, by reason. changed: prompts and responses that were shortened or tokenised otherwise.
    """

    prompts: Ragged
    responses: tuple[Ragged, ...]
    index: np.ndarray
    shown: list[str]
    max_length: int
    dropped: Counter[str]
    changed: Counter[str]

    def __len__(self) -> int:
        return len(self.prompts)


def encode(
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    responses: Sequence[Sequence[str]] | None,
    rules: EncodingRules,
    rewrite: Rewrite | None = None,
    ended: Sequence[bool] | None = None,
) -> Encoded:
    """Token ids of n prompts and of the responses to each (None: prompts alone, to sample from).

    A prompt is [BOS, where the tokenizer has one and the template does not begin with it] + the template's text, in
    which control tokens come from the template alone. A response has the tokens that follow the prompt's where both are
    tokenised as one text (`joining.tokenise_behind`), and is closed by EOS. The names of control tokens inside prompts
    and responses are plain text. A template that shows an exchange has a conversation's turns, a system's message in
    front of the first; another has them as one plain text. With the tokenizer's chat template a prompt has the tokens
    of `apply_chat_template`, BOS or none, and a response is closed as the template closes an assistant's turn.

    - A response longer than `max_response_length`, EOS included, drops its row, with all its responses;
      with long_responses="cut" its first `max_response_length` tokens are kept instead, without an EOS (with
      `close_cut` one less, and an EOS).
    - A row that has not `ended` (None: all have) was cut when it was sampled: its responses are not closed (with
      `close_cut` they are).
    - Where prompt and longest response together exceed `max_length`, the start of the prompt is cut, within the
      template: its end, the template and the BOS stay. A conversation loses its oldest turns first; a system's message
      stays. All responses of a row follow the same prompt. Prompts alone
      leave `rules.room` tokens to their response.
    - Two responses that are equal once they are cut drop their row: it no longer says anything.
    - A row drops out whose prompt has not a single token, for nothing would predict the first token of the response,
      and one whose template and responses leave no room for the prompt, or that the chat template refuses.

    Raises `UserError` where the tokenizer has no EOS.
    """
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no EOS token, so a response cannot be closed")
    sides = list(zip(*responses, strict=True)) if responses is not None else []
    shown = list(prompts)
    rows: dict[int, _Row] = {}
    todo = list(range(len(prompts)))
    while todo:
        texts = [shown[i] if rewrite is None else rewrite(i, shown[i]) for i in todo]
        closed = [ended is None or bool(ended[i]) for i in todo]
        found = _rows(tokenizer, texts, [[s[i] for i in todo] for s in sides], rules, closed)
        rows.update(zip(todo, found, strict=True))
        todo = [i for i in todo if rows[i].excess > 0 and shown[i]]
        cut = without_start(tokenizer, [shown[i] for i in todo], [rows[i].excess for i in todo])
        for i, text in zip(todo, cut, strict=True):
            shown[i] = text
    kept, dropped, changed = [], Counter[str](), Counter[str]()
    for i in range(len(prompts)):
        row, was_cut = rows[i], shown[i] != prompts[i]
        too_long = row.excess > 0 or (was_cut and not shown[i])
        reason = row.reason or (NO_ROOM if too_long else None)
        if reason is not None:
            dropped[reason] += 1
            continue
        kept.append(i)
        changed["prompt cut at its start"] += was_cut
        changed["response cut at its end"] += row.cut
        changed["response tokenised apart from its prompt, with which it would merge"] += row.apart
    return Encoded(
        prompts=Ragged.of([rows[i].prompt for i in kept]),
        responses=tuple(Ragged.of([rows[i].replies[side] for i in kept]) for side in range(len(sides))),
        index=np.array(kept, dtype=np.int64),
        shown=[shown[i] for i in kept],
        max_length=rules.max_length,
        dropped=dropped,
        changed=+changed,
    )


def template_length(tokenizer: PreTrainedTokenizerFast, rules: EncodingRules) -> int:
    """Tokens of a prompt of one letter in its template, BOS included."""
    return len(_framed(tokenizer, ["x"], rules).tokens[0])


def without_start(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], tokens: Sequence[int]
) -> list[str]:
    """Each prompt without about so many tokens at its start, and without one character at least; a conversation without
    its oldest turns. Empty where nothing is left to cut."""
    if not texts:
        return []
    last = [messages_of(text)[-1][1] for text in texts]
    batch = tokenizer(last, add_special_tokens=False, split_special_tokens=True, verbose=False)
    cut = []
    for prompt, text, count, encoding in zip(texts, last, tokens, batch.encodings, strict=True):
        fewer = without_first_turn(prompt)
        start = encoding.offsets[count][0] if count < len(encoding) else len(text)
        rest = text[max(start, 1) :]
        cut.append(fewer if fewer is not None else with_last(prompt, rest) if rest else "")
    return cut


def without_end(tokenizer: PreTrainedTokenizerFast, text: str, tokens: int) -> str:
    """A text without about so many tokens at its end, and without one character at least."""
    batch = tokenizer([text], add_special_tokens=False, split_special_tokens=True, verbose=False)
    offsets = batch.encodings[0].offsets
    return text[: min(offsets[-tokens][0], len(text) - 1)] if tokens < len(offsets) else ""


class _Row(NamedTuple):
    """One row's tokens, whatever their number.

    cut: responses that were too long. apart: responses that are not tokenised as one text with the prompt. reason: why
    it is of no use, however short the prompt; None: it is. excess: tokens that its prompt has too many; of a row that
    is of no use, none.
    """

    prompt: np.ndarray
    replies: tuple[np.ndarray, ...]
    cut: int
    apart: int
    reason: str | None
    excess: int


def _rows(
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    sides: Sequence[Sequence[str]],
    rules: EncodingRules,
    ended: Sequence[bool],
) -> list[_Row]:
    framed = _framed(tokenizer, prompts, rules)
    closing = end_of_turn(tokenizer) if rules.chat else int(tokenizer.eos_token_id)
    begun = (framed.texts, framed.behind)
    if rules.chat:
        found = [replies_behind(tokenizer, prompts, *begun, side, closing) for side in sides]
    else:
        found = [tokenise_behind(tokenizer, *begun, side, framed.plain) for side in sides]
    rows = []
    for i, own in enumerate(framed.tokens):
        closed = [_close(ids[i], closing, rules, ended[i]) for ids, _ in found]
        replies, cut = tuple(reply for reply, _ in closed), sum(cut for _, cut in closed)
        refused = framed.refused[i]
        reason = _reason(own, replies, cut, rules) if refused is None else refused
        longest = max(map(len, replies), default=rules.room)
        excess = len(own) + longest - rules.max_length if reason is None else 0
        rows.append(_Row(own, replies, cut, sum(bool(apart[i]) for _, apart in found), reason, excess))
    return rows


def _reason(
    prompt: np.ndarray, replies: tuple[np.ndarray, ...], cut: int, rules: EncodingRules
) -> str | None:
    """Why a row is of no use, however short its prompt; None: it is."""
    if cut and rules.long_responses == "drop":
        return "response too long"
    if len(replies) == 2 and np.array_equal(*replies):
        return "equal replies once cut"
    return None if len(prompt) else "prompt without tokens"


@dataclass(frozen=True)
class _Framed:
    """Prompts in their template.

    texts, behind: each text and its tokens, for what is tokenised behind it. tokens: those that the model is given, BOS
    included. plain: no control tokens are looked for in texts. refused: why the template refuses one.
    """

    texts: list[str]
    behind: list[np.ndarray]
    tokens: list[np.ndarray]
    plain: bool
    refused: list[str | None]


def _framed(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], rules: EncodingRules) -> _Framed:
    if rules.chat:
        texts, refused = map(list, zip(*chat_texts(tokenizer, prompts), strict=True)) if prompts else ([], [])
        ids = control_ids(tokenizer, texts)
        return _Framed(texts, ids, ids, False, refused)
    plain = not any(name in rules.template for name in control_tokens(tokenizer))
    texts = [filled(rules.template, prompt) for prompt in prompts]
    before, after = around(rules.template)
    ids = tokenise_between(tokenizer, before, after, [readable(prompt) for prompt in prompts])
    for i, turns in enumerate(turns_in(rules.template, prompt) for prompt in prompts):
        if turns:
            texts[i] = turns_filled(rules.template, harmless(tokenizer, [text for _, text in turns]))
            (ids[i],) = control_ids(tokenizer, [texts[i]])
    tokens = [_with_bos(tokenizer.bos_token_id, own) for own in ids]
    return _Framed(texts, ids, tokens, plain, [None] * len(prompts))


def _close(tokens: np.ndarray, eos: int, rules: EncodingRules, ended: bool) -> tuple[np.ndarray, bool]:
    """A response with its EOS where it `ended`, or its beginning where that is too long; and whether it was that."""
    closing = np.full(int(ended or rules.close_cut), eos, dtype=np.int32)
    cut = len(tokens) + len(closing) > rules.max_response_length
    if cut and not rules.close_cut:
        closing = closing[:0]
    return np.append(tokens[: rules.max_response_length - len(closing)], closing), cut


def _with_bos(bos: int | None, tokens: np.ndarray) -> np.ndarray:
    """A prompt's tokens with one BOS, where there is such a token."""
    if bos is None or (len(tokens) and tokens[0] == bos):
        return tokens
    return np.concatenate([np.array([bos], dtype=np.int32), tokens])
