"""A prompt in its template: a text with {prompt} in it once, or the beginning of a conversation, which shows how an
earlier exchange stands: `USER: {prompt} ASSISTANT:{reply}</s>USER: {prompt} ASSISTANT:`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lightning_moa.data.configs import CHAT
from lightning_moa.turns import Message, alternating, is_conversation, messages_of, readable

PROMPT, REPLY = "{prompt}", "{reply}"

_PLACE = re.compile(r"(\{prompt\}|\{reply\})")


def is_template(template: str) -> bool:
    """Whether a prompt can be put into it: it holds {prompt} once, or an exchange and {prompt}, behind which stands
    what stands behind the exchange's own; or it is `CHAT`."""
    _, *parts = _PLACE.split(template)
    places, texts = parts[::2], parts[1::2]
    exchange = places == [PROMPT, REPLY, PROMPT] and texts[0] == texts[2]
    return template == CHAT or places == [PROMPT] or exchange


def in_turns(template: str) -> bool:
    """Whether the turns of a conversation are told apart by it, and are not one plain text in a user's place."""
    return template == CHAT or REPLY in template


def around(template: str) -> tuple[str, str]:
    """What stands before a prompt and after it."""
    before, *_, after = _PLACE.split(template)
    return before, after


def turns_in(template: str, prompt: str) -> list[Message]:
    """The turns of a conversation that the template tells apart, a user's first and last; empty for what is put into
    it as one text."""
    return alternating(messages_of(prompt)) if in_turns(template) and is_conversation(prompt) else []


def turns_filled(template: str, texts: Sequence[str]) -> str:
    """The template with the texts of a conversation's turns in their places."""
    before, _, answered, _, asked, _, after = _PLACE.split(template)
    marks = [before, *(mark for _ in texts[1::2] for mark in (answered, asked))]
    return "".join(mark + text for mark, text in zip(marks, texts, strict=True)) + after


def filled(template: str, prompt: str) -> str:
    """The template with a prompt in its place: a conversation's turns, or its one plain text."""
    turns = turns_in(template, prompt)
    if turns:
        return turns_filled(template, [text for _, text in turns])
    before, after = around(template)
    return before + readable(prompt) + after
