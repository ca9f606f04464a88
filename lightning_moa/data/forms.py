"""The forms that files of preferences have, told apart by their columns, and each read into the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from lightning_moa.data.configs import PairsConfig
from lightning_moa.data.files import place, require_columns, require_prompt, values
from lightning_moa.data.messages import NO_REPLY, dialogues_of, prompts_of, replies_of
from lightning_moa.data.rated import by_list, by_row, pairs_of
from lightning_moa.data.rows import Rows
from lightning_moa.data.templates import in_turns
from lightning_moa.errors import UserError
from lightning_moa.turns import is_conversation

if TYPE_CHECKING:
    import pandas as pd

PROMPTS = ("prompt", "instruction", "question", "context", "input")
"""Names that a column of prompts has; the first that is there is taken."""
SIDES = (
    ("response_0", "response_1"),
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("response_a", "response_b"),
)
"""Names that the columns of two responses have."""
LISTS = ("completions", "responses")
SINGLE = ("response", "completion", "answer", "output")
CHOSEN, REJECTED, MESSAGES, REJECTED_RESPONSE = "chosen", "rejected", "messages", "rejected_response"


@dataclass(frozen=True)
class Form:
    """How a frame's columns are read."""

    words: str
    """What is printed of it."""
    read: Callable[[pd.DataFrame], Rows]
    """A frame's rows. Raises `UserError` for a value of another form, with file, row and column."""
    rated: bool = False
    """Whether responses are rated one by one, so that a rating's column is a label already."""


def form_of(columns: Iterable[str], config: PairsConfig) -> Form | None:
    """The form of a frame with these columns; None where it is of no known one.

    Columns that the config names are taken; without, those of `PROMPTS` and `SIDES`, or of another form. With a
    template that tells turns apart those of a dialogue that is one text become messages.
    """
    there = set(columns)
    prompt = config.prompt_column or next((name for name in PROMPTS if name in there), PROMPTS[0])
    form = _form_of(there, prompt, config)
    left = passed_over(there, prompt, config.prompt_column)
    return form and replace(form, words=form.words + left)


def passed_over(there: Iterable[str], prompt: str, given: str | None) -> str:
    """Words for columns that might be the prompt, too, and are not read; none where the config says which is."""
    others = [name for name in PROMPTS if name in there and name != prompt]
    return "" if given or not others else f" ({', '.join(others)} not read: data.prompt_column=<column>)"


def _form_of(there: set[str], prompt: str, config: PairsConfig) -> Form | None:
    most_pairs, chat = config.pairs_per_prompt, in_turns(config.template)
    known = next((pair for pair in SIDES if there.issuperset(pair)), ())
    sides: Sequence[str] = config.response_columns or known
    if sides:
        return Form(
            f"{prompt} and two responses, {' and '.join(sides)}", lambda frame: _two(frame, prompt, sides)
        )
    if {CHOSEN, REJECTED} <= there and prompt in there:
        words = f"{prompt}, {CHOSEN} and {REJECTED}; the label {CHOSEN} is the chosen one"
        return Form(words, lambda frame: _chosen(frame, prompt))
    if {CHOSEN, REJECTED} <= there:
        words = (
            f"conversations, {CHOSEN} and {REJECTED}, that begin alike; the label {CHOSEN} is the chosen one"
        )
        return Form(words, lambda frame: _conversations(frame, chat))
    if {MESSAGES, REJECTED_RESPONSE} <= there:
        words = f"{MESSAGES} that end in the chosen response, and {REJECTED_RESPONSE}; the label is {CHOSEN}"
        return Form(words, _with_rejected)
    several = next((name for name in LISTS if name in there), None)
    if several is not None and prompt in there:
        words = f"{prompt} and several {several}, rated one by one: {_pairs(most_pairs)}, a tie is no label"
        return Form(words, lambda frame: pairs_of(by_list(frame, prompt, several), most_pairs), rated=True)
    single = next((name for name in SINGLE if name in there), None)
    if single is not None and prompt in there:
        words = f"{prompt} and one {single} a row, each rated: {_pairs(most_pairs)} of a prompt, a tie is no label"
        asked = {column.removeprefix("-") for column in config.labels.values()}
        return Form(
            words, lambda frame: pairs_of(by_row(frame, prompt, single, asked), most_pairs), rated=True
        )
    return None


def refuse(frame: pd.DataFrame, prompt_column: str | None) -> NoReturn:
    """Raise a `UserError` for a frame of no known form."""
    require_prompt(frame, prompt_column or PROMPTS[0])
    raise UserError(
        f"{place(frame, 0)[0]} has no responses among its columns {', '.join(map(str, frame.columns))}: needed are "
        f"{' and '.join(SIDES[0])} (or data.response_columns), {CHOSEN} and {REJECTED}, a list of {LISTS[0]}, or a "
        f"{SINGLE[0]} a row with ratings"
    )


def _pairs(most: int | None) -> str:
    return "all pairs" if most is None else f"at most {most} pairs"


def _two(frame: pd.DataFrame, prompt: str, sides: Sequence[str]) -> Rows:
    require_prompt(frame, prompt)
    require_columns(frame, sides)
    prompts, reasons = prompts_of(frame, prompt)
    return _rows(frame, prompts, reasons, [replies_of(frame, side) for side in sides], [prompt, *sides])


def _chosen(frame: pd.DataFrame, prompt: str) -> Rows:
    """Responses beside their prompt. Such a response may be the whole conversation, too, as UltraFeedback's binarised
    copies have them; what came before its last message is the prompt, where that is more than one message."""
    prompts, reasons = prompts_of(frame, prompt)
    before, sides = zip(*(_ends(frame, column) for column in (CHOSEN, REJECTED)), strict=True)
    for i, (this, other) in enumerate(zip(*before, strict=True)):
        if this != other and this is not None and other is not None:
            reasons[i] = reasons[i] or "prompts differ"
        elif this is not None and is_conversation(this):
            prompts[i] = this
    return _labelled(_rows(frame, prompts, reasons, sides, [prompt, CHOSEN, REJECTED]))


def _ends(frame: pd.DataFrame, column: str) -> tuple[list[str | None], list[str | None]]:
    """Of lists of messages what came before the last one, and that; of texts nothing, and they."""
    lists = [not (each is None or isinstance(each, str)) for each in values(frame, column)]
    replies = replies_of(frame, column)
    if not any(lists):
        return [None] * len(replies), replies
    whole = dialogues_of(frame, column)
    found = [
        (before, end or reply) if is_list else (None, reply)
        for (before, end), reply, is_list in zip(whole, replies, lists, strict=True)
    ]
    return [before for before, _ in found], [reply for _, reply in found]


def _conversations(frame: pd.DataFrame, chat: bool) -> Rows:
    these, others = (dialogues_of(frame, column, chat) for column in (CHOSEN, REJECTED))
    return _alike(frame, these, others, [CHOSEN, REJECTED])


def _with_rejected(frame: pd.DataFrame) -> Rows:
    kept, rejected = dialogues_of(frame, MESSAGES), replies_of(frame, REJECTED_RESPONSE)
    others = [(prompt, reply) for (prompt, _), reply in zip(kept, rejected, strict=True)]
    return _alike(frame, kept, others, [MESSAGES, REJECTED_RESPONSE])


def _alike(
    frame: pd.DataFrame,
    these: Sequence[tuple[str | None, str | None]],
    others: Sequence[tuple[str | None, str | None]],
    used: Sequence[str],
) -> Rows:
    """(prompt, reply) of two conversations that begin alike: what they share is the prompt."""
    reasons = [
        NO_REPLY if this[0] is None or other[0] is None else None if this[0] == other[0] else "prompts differ"
        for this, other in zip(these, others, strict=True)
    ]
    sides = [[reply for _, reply in side] for side in (these, others)]
    return _labelled(_rows(frame, [prompt for prompt, _ in these], reasons, sides, used))


def _rows(
    frame: pd.DataFrame,
    prompts: list[str | None],
    reasons: list[str | None],
    sides: Sequence[Sequence[str | None]],
    used: Sequence[str],
) -> Rows:
    return Rows(
        prompts=prompts,
        responses=list(zip(*sides, strict=True)),
        reasons=reasons,
        keys=[prompt or "" for prompt in prompts],
        labels=frame.drop(columns=list(used)),
    )


def _labelled(rows: Rows) -> Rows:
    """With the label `CHOSEN`, which is the first response's; sides are mixed once labels are made of it."""
    labels: Any = rows.labels
    return replace(rows, labels=labels.assign(**{CHOSEN: 0}), mixed=True, checked=True)
