"""A column's values as prompts and replies: plain texts, or lists of messages with a role and a content each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_moa.data.files import place, values
from lightning_moa.errors import UserError
from lightning_moa.turns import ASSISTANT, ROLES, Message, joined, spoken, unmarked

if TYPE_CHECKING:
    import pandas as pd

ROLE_WORDS = {
    **{role: role for role in ROLES},
    **{"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "developer": "system"},
}
"""The words that files have for a message's role."""

NOT_A_USER = "prompt does not end in a user's turn"
NO_REPLY = "no reply at the end"


def prompts_of(frame: pd.DataFrame, column: str) -> tuple[list[str | None], list[str | None]]:
    """(prompts, why a row cannot be used): a text, or a conversation's messages up to a user's last one.

    Raises:
        UserError: names file, row and column of a value that is neither.
    """
    prompts: list[str | None] = []
    reasons: list[str | None] = []
    for said in _said(frame, column):
        messages = said if isinstance(said, list) else []
        prompts.append(joined(messages) if isinstance(said, list) else said)
        reasons.append(NOT_A_USER if isinstance(said, list) and _last(messages) != "user" else None)
    return prompts, reasons


def replies_of(frame: pd.DataFrame, column: str) -> list[str | None]:
    """Texts, also where each is the one message of an assistant; None where a row has another number of messages.

    Raises:
        UserError: as for `prompts_of`.
    """
    return [
        said
        if not isinstance(said, list)
        else said[0][1]
        if [role for role, _ in said] == ["assistant"]
        else None
        for said in _said(frame, column)
    ]


def dialogues_of(frame: pd.DataFrame, column: str, chat: bool = False) -> list[tuple[str | None, str | None]]:
    """(prompt, reply) of conversations that end in an assistant's message: lists of messages, or texts whose reply
    stands behind the last "\\n\\nAssistant:", which the prompt keeps; with `chat`, the turns of such a text are
    messages. (None, None) where there is no such end.

    Raises:
        UserError: as for `prompts_of`.
    """
    return [_cut(said, chat) for said in _said(frame, column)]


def talked(prompt: str | None) -> str | None:
    """The prompt of the conversation that a dialogue's text is; as it stands where it ends in no user's turn."""
    messages = [] if prompt is None else spoken(prompt)
    return joined(messages) if _last(messages) == "user" else prompt


def _cut(said: str | list[Message] | None, chat: bool) -> tuple[str | None, str | None]:
    if isinstance(said, list):
        ends = _last(said) == "assistant" and _last(said[:-1]) == "user"
        return (joined(said[:-1]), said[-1][1]) if ends else (None, None)
    before, marker, reply = (said or "").rpartition(ASSISTANT)
    prompt = talked(before + marker) if chat else before + marker
    return (prompt, reply.strip()) if marker else (None, None)


def _last(messages: Sequence[Message]) -> str | None:
    return messages[-1][0] if messages else None


def _said(frame: pd.DataFrame, column: str) -> list[str | list[Message] | None]:
    """A column's values: texts, messages, or None."""
    found: list[str | list[Message] | None] = []
    for position, value in enumerate(values(frame, column)):
        if value is None or isinstance(value, str):
            found.append(None if value is None else unmarked(value))
            continue
        try:
            found.append(messages_in(value))
        except ValueError as error:
            file, row = place(frame, position)
            raise UserError(f"{file}, row {row}, column {column!r}: {error}") from error
    return found


def messages_in(value: Any) -> list[Message]:
    """The messages of a list of objects with role and content (or from and value).

    Raises:
        ValueError: says in words what is expected.
    """
    if isinstance(value, (dict, int, float)) or not hasattr(value, "__iter__"):
        raise ValueError(f"a text or a list of messages is expected, got {type(value).__name__}")
    return [_message(each) for each in value]


def _message(each: Any) -> Message:
    if not isinstance(each, dict):
        raise ValueError(f"a message with a role and a content is expected, got {type(each).__name__}")
    role, content = each.get("role", each.get("from")), each.get("content", each.get("value"))
    if not isinstance(role, str) or role not in ROLE_WORDS:
        raise ValueError(f"a message's role is {role!r}: allowed are {', '.join(ROLE_WORDS)}")
    if content is not None and not isinstance(content, str):
        content = _text_of_parts(content)
    return ROLE_WORDS[role], unmarked(content or "")


def _text_of_parts(parts: Any) -> str:
    """The text of a content that is a list of parts, such as {"type": "text", "text": "..."}."""
    if isinstance(parts, (dict, int, float)) or not hasattr(parts, "__iter__"):
        raise ValueError(f"a message's content is a text or a list of texts, got {type(parts).__name__}")
    found = [part.get("text") if isinstance(part, dict) else part for part in parts]
    texts = [text for text in found if isinstance(text, str)]
    if len(texts) < len(found):
        raise ValueError("a message's content has a part that is no text: only texts can be trained on")
    return "".join(texts)
