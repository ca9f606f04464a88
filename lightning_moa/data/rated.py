"""Several responses to a prompt, each with ratings, as pairs: the one rated higher is better, a tie is no label."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_moa.data.files import number, place, values
from lightning_moa.data.messages import messages_in, prompts_of, replies_of
from lightning_moa.data.order import stable_hash
from lightning_moa.data.rows import Rows, reason_to_drop
from lightning_moa.errors import UserError
from lightning_moa.turns import unmarked

if TYPE_CHECKING:
    import pandas as pd

TEXT_KEYS = ("response", "text", "content", "completion", "output")
"""What an object's own text is called, among the responses of a row."""
ALONE = "only one response to its prompt, which data=answers takes"


@dataclass
class Answered:
    """A prompt, its k responses, and of each its ratings by name; `index` is the row that it began at."""

    prompt: str | None
    reason: str | None
    index: Any
    responses: list[str | None] = field(default_factory=list)
    ratings: list[dict[str, float | None]] = field(default_factory=list)
    labels: dict[str, Any] = field(default_factory=dict)
    """Of two responses: what the row says of them by itself, such as the index of the better one."""


def by_row(
    frame: pd.DataFrame, prompt_column: str, response_column: str, asked: Collection[str] = ()
) -> list[Answered]:
    """Rows with a response each: those of one prompt belong together. Every column of numbers is a rating.

    Raises:
        UserError: a value that is no number, beside numbers in a column that is `asked` for; the line names its row.
    """
    prompts, reasons = prompts_of(frame, prompt_column)
    responses = replies_of(frame, response_column)
    ratings = {
        str(column): found
        for column in frame.columns
        if column not in (prompt_column, response_column)
        and (found := _column(frame, column, column in asked)) is not None
    }
    groups: dict[str | int | None, Answered] = {}
    for row, (prompt, reason) in enumerate(zip(prompts, reasons, strict=True)):
        reason = reason or reason_to_drop(prompt, ())
        # Rows without a prompt have none in common.
        one = groups.setdefault(prompt if reason is None else row, Answered(prompt, reason, frame.index[row]))
        one.responses.append(responses[row])
        one.ratings.append({name: found[row] for name, found in ratings.items()})
    return list(groups.values())


def by_list(frame: pd.DataFrame, prompt_column: str, list_column: str) -> list[Answered]:
    """Rows with a list of responses: texts, or objects whose numbers are their ratings, by name.

    Beside texts, a column with a number for each of them is a rating; beside two, any other column is a label.

    Raises:
        UserError: a value that is no list of responses; the line names its file and row.
    """
    prompts, reasons = prompts_of(frame, prompt_column)
    others = {
        str(column): values(frame, column)
        for column in frame.columns
        if column not in (prompt_column, list_column)
    }
    found = []
    for row, given in enumerate(values(frame, list_column)):
        one = Answered(prompts[row], reasons[row], frame.index[row])
        try:
            pairs = [_response(each) for each in _listed(given)]
        except ValueError as error:
            file, line = place(frame, row)
            raise UserError(f"{file}, row {line}, column {list_column!r}: {error}") from error
        one.responses = [text for text, _ in pairs]
        one.ratings = [ratings for _, ratings in pairs]
        for name, column in others.items():
            _add(one, name, column[row])
        found.append(one)
    return found


def _add(one: Answered, name: str, value: Any) -> None:
    """What a row says beside its responses: a number for each of them, or a label of the two."""
    listed = isinstance(value, (list, tuple, np.ndarray))
    numbers = _numbers(list(value)) if listed and len(value) == len(one.responses) else None
    if numbers is not None:
        for ratings, each in zip(one.ratings, numbers, strict=True):
            ratings[name] = each
    elif not listed and len(one.responses) == 2:
        one.labels[name] = value


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, (list, tuple, np.ndarray)):
        raise ValueError(f"a list of responses is expected, got {type(given).__name__}")
    return list(given)


def _response(each: Any) -> tuple[str | None, dict[str, float | None]]:
    """A response's text and its ratings: every number that its object holds, under its innermost name."""
    if each is None or isinstance(each, str):
        return None if each is None else unmarked(each), {}
    if isinstance(each, dict):
        key = next((key for key in TEXT_KEYS if isinstance(each.get(key), str)), None)
        if key is None:
            raise ValueError(f"a response has no text, under any of {', '.join(TEXT_KEYS)}")
        return unmarked(each[key]), dict(_ratings(each, key))
    said = messages_in(each)
    return (said[0][1] if [role for role, _ in said] == ["assistant"] else None), {}


def _ratings(given: Mapping[str, Any], text_key: str) -> Iterator[tuple[str, float | None]]:
    """(name, number) of an object's numbers; of an object in it such as {"Rating": "4", "Rationale": ...} the rating.

    What is no number, "N/A" for instance, is not known.
    """
    for name, value in given.items():
        if isinstance(value, dict) and "Rating" in value:
            yield name, number(value["Rating"])
        elif isinstance(value, dict):
            yield from _ratings(value, "")
        elif name != text_key and number(value) is not None:
            yield name, number(value)


def _column(frame: pd.DataFrame, column: str, is_asked: bool) -> list[float | None] | None:
    """The numbers of a frame's column, which hold anything else only where nobody asks for them."""
    found = values(frame, column)
    if is_asked and any(number(value) is not None for value in found):
        return [rating(frame, column, row, value) for row, value in enumerate(found)]
    return _numbers(found)


def rating(frame: pd.DataFrame, column: str, row: int, value: Any) -> float | None:
    """A value as a number, None for a missing one. Raises `UserError` for anything else, with file, row and column."""
    found = number(value)
    if found is None and value not in (None, ""):
        file, line = place(frame, row)
        raise UserError(f"{file}, row {line}, column {column!r}: a number is expected, got {value!r}")
    return found


def _numbers(found: Sequence[Any]) -> list[float | None] | None:
    """The numbers of a column; None where it holds anything else, or nothing."""
    numbers = [number(value) for value in found]
    known = [value for value in numbers if value is not None]
    odd = any(each is None and value not in (None, "") for each, value in zip(numbers, found, strict=True))
    return None if odd or not known else numbers


def pairs_of(answered: Sequence[Answered], most: int | None) -> Rows:
    """All pairs of each prompt's responses, or `most` of them, those whose texts hash lowest.

    The label of a rating is the index of the response that it is higher for; None where both are alike or one is not
    known.
    """
    import pandas as pd

    names = list(dict.fromkeys(name for one in answered for each in one.ratings for name in each))
    more = list(dict.fromkeys(name for one in answered for name in one.labels))
    prompts, responses, reasons, index = [], [], [], []
    labels: dict[str, list[Any]] = {name: [] for name in [*names, *more]}
    for one in answered:
        for pair in _chosen(one, most):
            prompts.append(one.prompt)
            responses.append(tuple(one.responses[k] for k in pair) if len(pair) == 2 else (None, None))
            reasons.append(one.reason or (ALONE if len(pair) < 2 else None))
            index.append(one.index)
            ratings = [one.ratings[k] for k in pair]
            for name in labels:
                label = _better(*(each.get(name) for each in ratings)) if len(pair) == 2 else None
                labels[name].append(one.labels.get(name) if label is None else label)
    return Rows(
        prompts=prompts,
        responses=responses,
        reasons=reasons,
        keys=[prompt or "" for prompt in prompts],
        labels=pd.DataFrame(labels, index=pd.MultiIndex.from_tuples(index), dtype=object),
    )


def _chosen(one: Answered, most: int | None) -> list[tuple[int, ...]]:
    """Places of the responses of each pair; of a prompt with a single response that one alone."""
    pairs: list[tuple[int, ...]] = list(combinations(range(len(one.responses)), 2))
    if most is not None and len(pairs) > most:
        texts = [str(text) for text in one.responses]
        pairs = sorted(sorted(pairs, key=lambda pair: stable_hash(*(texts[k] for k in pair)))[:most])
    return pairs or [(0,)[: len(one.responses)]]


def _better(first: float | None, second: float | None) -> int | None:
    return None if first is None or second is None or first == second else int(second > first)
