"""A prompt that a conversation led to, as one text: what is said in a message cannot begin another.

A prompt is a text throughout this package. That of a conversation (a system's message, several turns) holds its
messages one after the other, each behind marks that a text which is read from a file cannot hold (`unmarked`). A prompt
without marks is one message of a user.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ROLES = ("system", "user", "assistant")
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
"""What stands before a turn where a conversation is one plain text, as in hh-rlhf."""

_BEGIN, _SAYS = "\x01", "\x02"
"""Start of heading, start of text; neither is white space, so that stripping a prompt takes no mark away."""
_MESSAGE = re.compile(f"{_BEGIN}({'|'.join(ROLES)}){_SAYS}([^{_BEGIN}]*)")
_CONVERSATION = re.compile(f"(?:{_MESSAGE.pattern})+")
_TURN = re.compile(f"({HUMAN}|{ASSISTANT})")

Message = tuple[str, str]
"""Role and text."""


def joined(messages: Iterable[Message]) -> str:
    """The prompt of a conversation's messages; a single one, of a user, is its own text."""
    said = [(role, unmarked(text)) for role, text in messages]
    if len(said) == 1 and said[0][0] == "user":
        return said[0][1]
    return "".join(f"{_BEGIN}{role}{_SAYS}{text}" for role, text in said)


def is_conversation(prompt: str) -> bool:
    """Whether a prompt is that of a conversation, by its marks."""
    return prompt.startswith(_BEGIN) and _CONVERSATION.fullmatch(prompt) is not None


def messages_of(prompt: str) -> list[Message]:
    """The messages of a prompt; a text that is no conversation throughout is one of a user's."""
    if not is_conversation(prompt):
        return [("user", prompt)]
    return [(found[1], found[2]) for found in _MESSAGE.finditer(prompt)]


def without_first_turn(prompt: str) -> str | None:
    """The prompt without its oldest exchange, so that it begins at a user's next turn; a system's message stays. None
    where a user has one turn alone."""
    messages = messages_of(prompt)
    system = [each for each in messages if each[0] == "system"]
    turns = [place for place, (role, _) in enumerate(messages) if role == "user"]
    return joined([*system, *messages[turns[1] :]]) if len(turns) > 1 else None


def with_last(prompt: str, text: str) -> str:
    """The prompt with another text as its last message."""
    if not is_conversation(prompt):
        return text
    *before, (role, _) = messages_of(prompt)
    return joined([*before, (role, text)])


def readable(prompt: str) -> str:
    """The prompt as plain text: as it is, or its turns behind `HUMAN` and `ASSISTANT`, the last of them to come.

    A system's message stands in front.
    """
    if not is_conversation(prompt):
        return prompt
    heads = {"system": "", "user": f"{HUMAN} ", "assistant": f"{ASSISTANT} "}
    return "".join(heads[role] + text for role, text in messages_of(prompt)) + ASSISTANT


def spoken(dialogue: str) -> list[Message]:
    """The messages of a plain text in `readable`'s form, without a turn that is still to come."""
    head, *parts = _TURN.split(dialogue)
    turns = [
        ("user" if mark == HUMAN else "assistant", text.strip())
        for mark, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    if turns and not turns[-1][1]:
        turns.pop()
    return ([("system", head.strip())] if head.strip() else []) + turns


def recalled(text: str) -> str:
    """The prompt that `readable` made a text of, where that was a conversation; any other text as it is."""
    prompt = joined(spoken(text))
    return prompt if is_conversation(prompt) and readable(prompt) == text else text


def alternating(messages: Iterable[Message]) -> list[Message]:
    """The turns of a user and of an assistant, one after the other, a user's first and last; empty where they are not.
    A system's message in front goes in front of the user's first turn, or, where a conversation has lost its start,
    stands for it."""
    turns = list(messages)
    if turns and turns[0][0] == "system":
        (_, head), *turns = turns
        is_user = bool(turns) and turns[0][0] == "user"
        turns = [("user", f"{head}\n\n{turns[0][1]}"), *turns[1:]] if is_user else [("user", head), *turns]
    roles = [role for role, _ in turns]
    fits = len(roles) % 2 == 1 and roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    return turns if fits else []


def unmarked(text: str) -> str:
    """The text with a space for each of the marks, which are control characters."""
    return text.replace(_BEGIN, " ").replace(_SAYS, " ")
