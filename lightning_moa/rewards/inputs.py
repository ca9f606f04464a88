"""How the input of a hub reward model is built from a prompt and a response, as text.

Nothing heavy is imported here: tokens are made in `tokens.py`. Texts are taken as they are, neither stripped
nor cleaned, so a leading space of a response reaches the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lightning_moa.data.configs import CHAT
from lightning_moa.errors import UserError
from lightning_moa.turns import ASSISTANT, alternating, spoken

PROMPT, EARLIER, RESPONSE, FIXED = "prompt", "earlier", "response", "fixed"
"""What a piece of text is: the prompt or the form's words for its earlier turns (may lose their start, in this order of
the text), the response, or the form's own words."""
END = "\x03"
"""A piece that is the tokenizer's EOS."""

TLDR_HEAD = re.compile(r"(?:SUBREDDIT: [^\n]*\n\n)?(?:TITLE: [^\n]*\n\n)?(?:POST|ARTICLE): ")


@dataclass(frozen=True)
class Piece:
    """A stretch of an input's text, and what it is."""

    text: str
    role: str


Segment = tuple[Piece, ...]


@dataclass(frozen=True)
class InputForm:
    """The form of a model's input.

    A `build` gives one segment or two, each tokenised as one text. Two segments are laid out as the
    tokenizer lays out a pair, or, with `bos_between`, joined by the BOS token alone.
    """

    name: str
    """A word for it, for records."""
    layout: str
    """The form for a reader, with {prompt} and {response}, and special tokens in angle brackets."""
    build: Callable[[str, str], tuple[Segment, ...]]
    """(prompt, response) to segments."""
    bos_between: bool = False
    """Join two segments by the BOS token, and add no other special token."""
    bos_first: bool = False
    """See to it that the BOS token comes first."""
    eos_last: bool = False
    """See to it that the EOS token comes last."""
    chat: bool = False
    """The tokenizer's chat template, with the response as the assistant's last message."""


def dialogue(prompt: str) -> str:
    """The text of a dialogue before its last "\\n\\nAssistant:", ending in exactly one space.

    A prompt that ends in the marker is a dialogue already, of any number of turns; any other is one human
    turn. The models were trained with a space before that last marker.
    """
    if prompt.endswith(ASSISTANT):
        return prompt.removesuffix(ASSISTANT).rstrip(" ") + " "
    return f"\n\nHuman: {prompt} "


def post_of(prompt: str) -> str:
    """The post or article alone, without the lines SUBREDDIT and TITLE and the word POST before it.

    A prompt of another form is taken whole.
    """
    head = TLDR_HEAD.match(prompt)
    return prompt[head.end() :] if head else prompt


def templated(template: str) -> InputForm:
    """The form of one text that holds {response} once, and {prompt} once or not at all.

    Control tokens are the tokenizer's own, and those whose names the template holds; names in texts are plain text.

    `CHAT` is the tokenizer's own.

    Raises:
        UserError: a template of another form.
    """
    if template == CHAT:
        return InputForm("chat template", "the tokenizer's chat template", _prompt_response, chat=True)
    if template.count("{response}") != 1 or template.count("{prompt}") > 1:
        raise UserError(
            f"{template!r}: must hold {{response}} exactly once, and {{prompt}} at most once; or be {CHAT}"
        )
    parts = re.split(r"(\{prompt\}|\{response\})", template)

    def build(prompt: str, response: str) -> tuple[Segment, ...]:
        filled = {"{prompt}": Piece(prompt, PROMPT), "{response}": Piece(response, RESPONSE)}
        return (tuple(filled.get(part, Piece(part, FIXED)) for part in parts if part),)

    return InputForm("template", repr(template), build)


def _human_assistant(prompt: str, response: str) -> tuple[Segment, ...]:
    return (Piece(dialogue(prompt), PROMPT), Piece(ASSISTANT, FIXED)), (Piece(response, RESPONSE),)


def _response_only(prompt: str, response: str) -> tuple[Segment, ...]:
    return ((Piece(response, RESPONSE),),)


def _summary_bos_post(prompt: str, response: str) -> tuple[Segment, ...]:
    return (Piece(response, RESPONSE), Piece(" ", FIXED)), (Piece(" ", FIXED), Piece(post_of(prompt), PROMPT))


def _summary_document(prompt: str, response: str) -> tuple[Segment, ...]:
    return (Piece(response, RESPONSE),), (Piece(post_of(prompt), PROMPT),)


def _prompt_response(prompt: str, response: str) -> tuple[Segment, ...]:
    return (Piece(prompt, PROMPT),), (Piece(response, RESPONSE),)


def _safe_rlhf(prompt: str, response: str) -> tuple[Segment, ...]:
    talk = alternating(spoken(prompt)) if prompt.endswith(ASSISTANT) else []
    (_, first), *rest = talk or [("user", prompt)]
    turns = [Piece("BEGINNING OF CONVERSATION: USER: ", FIXED), Piece(first, PROMPT)]
    for role, text in rest:
        marks = (" ASSISTANT:",) if role == "assistant" else (END, "USER: ")
        turns += [*(Piece(mark, EARLIER) for mark in marks), Piece(text, PROMPT)]
    return ((*turns, Piece(" ASSISTANT:", FIXED), Piece(response, RESPONSE)),)


HUMAN_ASSISTANT = InputForm(
    "dialogue, response",
    "pair of '\\n\\nHuman: {prompt} \\n\\nAssistant:' and '{response}'",
    _human_assistant,
)
RESPONSE_ONLY = InputForm("response", "'{response}'", _response_only)
SUMMARY_BOS_POST = InputForm(
    "summary bos post", "'{response} <BOS> {prompt}'", _summary_bos_post, bos_between=True
)
SUMMARY_DOCUMENT = InputForm("summary, document", "pair of '{response}' and '{prompt}'", _summary_document)
PROMPT_RESPONSE = InputForm("prompt, response", "pair of '{prompt}' and '{response}'", _prompt_response)
SAFE_RLHF = InputForm(
    "Safe-RLHF conversation",
    "'<BOS>BEGINNING OF CONVERSATION: USER: {prompt} ASSISTANT:{response}<EOS>', each turn of a dialogue so",
    _safe_rlhf,
    bos_first=True,
    eos_last=True,
)
