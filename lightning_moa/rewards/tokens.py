"""From the text of a reward model's input to token ids, cut where it is too long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_moa.data.chat import chat_texts
from lightning_moa.data.encoding import without_end, without_start
from lightning_moa.data.plain_text import control_ids, control_tokens, spaced
from lightning_moa.errors import UserError
from lightning_moa.rewards.inputs import EARLIER, END, FIXED, PROMPT, RESPONSE, InputForm, Piece, Segment
from lightning_moa.turns import readable

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

FORM = (FIXED, EARLIER)
"""The roles of a form's own words, in which control tokens are control tokens."""


@dataclass(frozen=True)
class Token:
    """One token of an input: its id, its segment's number for the model, and what its text is."""

    id: int
    type_id: int
    role: str


@dataclass
class InputEncoder:
    """Texts to the tokens of one model's inputs.

    tokenizer: a fast one. form: how an input is built. longest: most tokens of an input. cut counts what was
    shortened: "prompts cut at their start" and "responses cut at their end".
    """

    tokenizer: PreTrainedTokenizerFast
    form: InputForm
    longest: int
    cut: Counter[str]

    def encode(self, prompt: str, response: str) -> list[Token]:
        """The input of one response, at most `longest` tokens.

        The names of control tokens are plain text within the prompt and the response, and control tokens where the
        form itself holds them. Where there is too much, the prompt loses its start; the form's own words (such as the
        assistant's marker) and the special tokens stay. Only a response that is too long by itself loses its end.

        Raises `UserError` where not even the form's own words fit.
        """
        if self.form.chat:
            return [Token(token_id, 0, FIXED) for token_id in self._conversation(prompt, response)]
        tokens = self._frame(self._tokens(self.form.build(readable(prompt), response)))
        if not tokens:
            # A model needs one token to say what it thinks of an empty text.
            tokens = [self._special("eos" if self.tokenizer.bos_token_id is None else "bos")]
        excess = len(tokens) - self.longest
        if excess <= 0:
            return tokens
        prompt_places = [i for i, token in enumerate(tokens) if token.role in (PROMPT, EARLIER)]
        response_places = [i for i, token in enumerate(tokens) if token.role == RESPONSE]
        dropped = prompt_places[:excess]
        self.cut["prompts cut at their start"] += bool(dropped)
        if len(dropped) < excess:
            over = excess - len(dropped)
            if over > len(response_places):
                raise UserError(
                    f"an input of {self.longest} tokens has no room for the form {self.form.layout}"
                )
            dropped += response_places[-over:]
            self.cut["responses cut at their end"] += 1
        gone = set(dropped)
        return [token for i, token in enumerate(tokens) if i not in gone]

    def _conversation(self, prompt: str, response: str) -> list[int]:
        """The tokens of `apply_chat_template`; what is too long loses the oldest turns, then the start of the prompt,
        then the end of the response."""
        shown, said = prompt, response
        while True:
            ((text, refused),) = chat_texts(self.tokenizer, [shown], [said])
            if refused is not None:
                raise UserError(f"a reward model's input was {refused}")
            ids: list[int] = control_ids(self.tokenizer, [text])[0].tolist()
            excess = len(ids) - self.longest
            if excess <= 0:
                self.cut["prompts cut at their start"] += shown != prompt
                self.cut["responses cut at their end"] += said != response
                return ids
            if shown:
                (shown,) = without_start(self.tokenizer, [shown], [excess])
            elif said:
                said = without_end(self.tokenizer, said, excess)
            else:
                raise UserError(f"an input of {self.longest} tokens has no room for {self.form.layout}")

    def _tokens(self, segments: Sequence[Segment]) -> list[Token]:
        """The tokenizer's layout of one text or of a pair, each token with its role."""
        controls = control_tokens(self.tokenizer)
        segments = [tuple(map(self._ended, segment)) for segment in segments]
        fixed = [piece.text for segment in segments for piece in segment if piece.role in FORM]
        plain = not any(name in text for text in fixed for name in controls)
        tokens = self._laid_out(segments, plain)
        if any(token.id in controls.values() and token.role not in FORM for token in tokens):
            # A text's own word, or the tokenizer's vocabulary has the name as a word, too: a space makes it text.
            tokens = self._laid_out([tuple(map(self._spaced, segment)) for segment in segments], plain)
        return tokens if plain else self._once_each(tokens)

    def _once_each(self, tokens: list[Token]) -> list[Token]:
        """One BOS and one EOS, where the form holds what the tokenizer adds."""
        if [token.id for token in tokens[:2]] == [self.tokenizer.bos_token_id] * 2:
            tokens = tokens[1:]
        if [token.id for token in tokens[-2:]] == [self.tokenizer.eos_token_id] * 2:
            tokens = tokens[:-1]
        return tokens

    def _ended(self, piece: Piece) -> Piece:
        if piece.text != END or piece.role not in FORM:
            return piece
        self._special("eos")
        return Piece(self.tokenizer.eos_token, piece.role)

    def _spaced(self, piece: Piece) -> Piece:
        return piece if piece.role in FORM else Piece(spaced(self.tokenizer, piece.text), piece.role)

    def _laid_out(self, segments: Sequence[Segment], plain: bool) -> list[Token]:
        texts = ["".join(piece.text for piece in segment) for segment in segments]
        batch = self.tokenizer(
            *([text] for text in texts),
            add_special_tokens=not self.form.bos_between,
            split_special_tokens=plain,
            verbose=False,
        )
        encoding: Encoding = batch.encodings[0]
        ends = [_role_ends(segment) for segment in segments]
        tokens: list[Token] = []
        last_segment = 0
        for token_id, type_id, segment_number, (start, end) in zip(
            encoding.ids, encoding.type_ids, encoding.sequence_ids, encoding.offsets, strict=True
        ):
            if segment_number is None:
                tokens.append(Token(token_id, type_id, FIXED))
                continue
            if self.form.bos_between and segment_number != last_segment:
                tokens.append(self._special("bos"))
            last_segment = segment_number
            # A token that spans two pieces counts as the later one: what must stay is never cut in part.
            tokens.append(Token(token_id, type_id, _role_at(ends[segment_number], max(start, end - 1))))
        return tokens

    def _frame(self, tokens: list[Token]) -> list[Token]:
        """The tokens with BOS first and EOS last, where the form asks for them and the tokenizer did not."""
        if self.form.bos_first and (not tokens or tokens[0].id != self.tokenizer.bos_token_id):
            tokens = [self._special("bos"), *tokens]
        if self.form.eos_last and tokens[-1].id != self.tokenizer.eos_token_id:
            tokens = [*tokens, self._special("eos")]
        return tokens

    def _special(self, name: str) -> Token:
        token_id = getattr(self.tokenizer, f"{name}_token_id")
        if token_id is None:
            raise UserError(
                f"the tokenizer has no {name.upper()} token, which the form {self.form.layout} needs"
            )
        return Token(token_id, 0, FIXED)


def _role_ends(segment: Segment) -> list[tuple[int, str]]:
    """(end in characters, role) of each piece of a segment, in order."""
    ends: list[tuple[int, str]] = []
    position = 0
    for piece in segment:
        position += len(piece.text)
        ends.append((position, piece.role))
    return ends


def _role_at(ends: Sequence[tuple[int, str]], character: int) -> str:
    return next((role for end, role in ends if character < end), ends[-1][1])
