"""The tokenizer's own chat template: conversations as the text that an instruct model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_moa.data.configs import CHAT
from lightning_moa.data.joining import tokenise_behind
from lightning_moa.data.plain_text import control_ids, control_tokens, harmless
from lightning_moa.errors import UserError
from lightning_moa.turns import messages_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SAID = "xyzzy"


def check_chat(tokenizer: PreTrainedTokenizerFast) -> None:
    """Raise a `UserError` for a tokenizer that has no chat template."""
    if not tokenizer.chat_template:
        raise UserError(
            f"data.template={CHAT}: the tokenizer has no chat template; give data.template=<text with {{prompt}}>, "
            "or a model.path whose tokenizer has one"
        )


def chat_texts(
    tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], replies: Sequence[str] | None = None
) -> list[tuple[str, str | None]]:
    """(text, None) of each prompt's conversation, up to where a reply begins or, where there are replies, with each; or
    ("", why) where the template refuses it.

    Control tokens come from the template alone: a name of one in a message has a space put into it. A template that can
    think aloud is asked not to.

    Raises:
        UserError: the tokenizer has no chat template.
    """
    check_chat(tokenizer)
    said = [messages_of(prompt) for prompt in prompts]
    if replies is not None:
        said = [[*each, ("assistant", reply)] for each, reply in zip(said, replies, strict=True)]
    clean = iter(harmless(tokenizer, [text for each in said for _, text in each]))
    return [
        _rendered(tokenizer, [{"role": role, "content": next(clean)} for role, _ in each], replies is None)
        for each in said
    ]


def _rendered(
    tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]], replying: bool
) -> tuple[str, str | None]:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=replying, enable_thinking=False
        )
    except TemplateError as error:
        return "", f"refused by the chat template: {str(error).splitlines()[0]}"
    return str(text), None


def replies_behind(
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    begun: Sequence[str],
    tokens: Sequence[np.ndarray],
    replies: Sequence[str],
    closing: int,
) -> tuple[list[np.ndarray], np.ndarray]:
    """int32 token ids of each reply, those that it has in the template between its prompt's and what closes the turn;
    and (n,) bool, which are not those of one text (`joining.tokenise_behind`).

    Args:
        prompts: n.
        begun: their texts, up to where a reply begins.
        tokens: those of these texts.
        replies: n.
        closing: the token that closes a turn.
    """
    name = str(tokenizer.convert_ids_to_tokens(closing))
    inner = [
        _between(text, start, name, reply)
        for (text, _), start, reply in zip(
            chat_texts(tokenizer, prompts, replies), begun, replies, strict=True
        )
    ]
    whole = [start + text + name for start, text in zip(begun, inner, strict=True)]
    control = np.array([*control_tokens(tokenizer).values()])
    found: list[np.ndarray] = []
    odd: list[int] = []
    for row, (ids, own) in enumerate(zip(control_ids(tokenizer, whole), tokens, strict=True)):
        reply = ids[len(own) : -1]
        as_one = (
            ids[-1] == closing and np.array_equal(ids[: len(own)], own) and not np.isin(reply, control).any()
        )
        found.append(reply)
        odd += [] if as_one else [row]
    behind = tokenise_behind(
        tokenizer,
        [begun[row] for row in odd],
        [tokens[row] for row in odd],
        [inner[row] for row in odd],
        plain=False,
    )
    for row, ids in zip(odd, behind[0], strict=True):
        found[row] = ids
    apart = np.zeros(len(found), dtype=bool)
    apart[odd] = behind[1]
    return found, apart


def _between(text: str, start: str, name: str, reply: str) -> str:
    """What a template puts between the beginning of a turn and what closes it; the reply, where that isn't seen."""
    inner, closed, _ = text.removeprefix(start).rpartition(name)
    return inner if closed and text.startswith(start) else reply


def end_of_turn(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that closes an assistant's turn in the chat template; EOS where the template closes it by no token.

    Raises:
        UserError: the tokenizer has no chat template.
    """
    ((text, refused),) = chat_texts(tokenizer, ["x"], [_SAID])
    after = "" if refused else text.rpartition(_SAID)[2]
    ids = np.array(tokenizer(after, add_special_tokens=False)["input_ids"], dtype=np.int64)
    control = np.array([*control_tokens(tokenizer).values()])
    found = ids[np.isin(ids, control)]
    return int(found[0]) if len(found) else int(tokenizer.eos_token_id)
