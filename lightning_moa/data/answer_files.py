"""A user's own files of single responses with scores, read and checked. Light: no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_moa.data.configs import AnswersConfig
from lightning_moa.data.files import place, read_local, require_columns, require_prompt
from lightning_moa.data.forms import LISTS, MESSAGES, PROMPTS, SINGLE, passed_over
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.messages import NO_REPLY, dialogues_of, prompts_of, replies_of
from lightning_moa.data.rated import by_list
from lightning_moa.data.rows import Rows, answer_tables
from lightning_moa.data.tables import AnswerTable, DropReport
from lightning_moa.data.templates import in_turns
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def read_answers(
    config: AnswersConfig, objectives: Sequence[str], report: DropReport
) -> dict[str, AnswerTable]:
    """The responses of "train" and "eval", rewards (n, m) in the order of the objectives; the rest goes into `report`.

    Raises:
        UserError: no path, columns of no known form, or a value that is not allowed; the line names file and row.
    """
    if config.path is None:
        raise UserError(
            "data.path is empty: give data.path=<file or folder> of your responses and their scores"
        )
    choices = choose_labels(config.labels, objectives)
    rows = {split: _rows(frame, config, report) for split, frame in read_local(config.path).items()}
    return answer_tables(rows, choices, config, report)


def _rows(frame: pd.DataFrame, config: AnswersConfig, report: DropReport) -> Rows:
    """One form of several, told by the columns and said in the report."""
    there = [str(column) for column in frame.columns]
    prompt = config.prompt_column or next((name for name in PROMPTS if name in there), PROMPTS[0])
    single = config.response_column or next((name for name in SINGLE if name in there), None)
    several = next((name for name in LISTS if name in there), None)
    if single is not None:
        words, rows = f"{prompt} and one {single} a row", _single(frame, prompt, single)
    elif several is not None:
        words, rows = f"{prompt} and several {several}, scored one by one", _several(frame, prompt, several)
    elif MESSAGES in there:
        words, rows = f"{MESSAGES} that end in the response", _ending(frame, in_turns(config.template))
    else:
        raise UserError(
            f"{place(frame, 0)[0]} has no single responses among its columns {', '.join(there)}: needed is "
            f"{SINGLE[0]} (or data.response_column), a list of {LISTS[0]}, or {MESSAGES}; pairs are read by data=pairs"
        )
    left = passed_over(there, prompt, config.prompt_column)
    report.notes = list(dict.fromkeys([*report.notes, f"read as {words}{left}"]))
    return rows


def _single(frame: pd.DataFrame, prompt: str, response: str) -> Rows:
    require_prompt(frame, prompt)
    require_columns(frame, [response])
    prompts, reasons = prompts_of(frame, prompt)
    replies = [(reply,) for reply in replies_of(frame, response)]
    return _made(prompts, replies, reasons, frame.drop(columns=[prompt, response]))


def _several(frame: pd.DataFrame, prompt: str, responses: str) -> Rows:
    """A row for each of a prompt's responses, with its own scores; one without a text where there are none."""
    import pandas as pd

    require_prompt(frame, prompt)
    require_columns(frame, [responses])
    each = [
        (one, text, ratings)
        for one in by_list(frame, prompt, responses)
        for text, ratings in zip(one.responses or [None], one.ratings or [{}], strict=True)
    ]
    if all(text is None for _, text, _ in each):
        raise UserError(f"{place(frame, 0)[0]}: the lists of column {responses!r} hold no response at all")
    index = pd.MultiIndex.from_tuples([one.index for one, _, _ in each])
    names = list(dict.fromkeys(name for _, _, ratings in each for name in ratings))
    scores = {name: [ratings.get(name) for _, _, ratings in each] for name in names}
    return _made(
        [one.prompt for one, _, _ in each],
        [(text,) for _, text, _ in each],
        [one.reason for one, _, _ in each],
        pd.DataFrame(scores, index=index, dtype=object),
    )


def _ending(frame: pd.DataFrame, chat: bool) -> Rows:
    said = dialogues_of(frame, MESSAGES, chat)
    return _made(
        [prompt for prompt, _ in said],
        [(reply,) for _, reply in said],
        [NO_REPLY if prompt is None else None for prompt, _ in said],
        frame.drop(columns=[MESSAGES]),
    )


def _made(
    prompts: list[str | None],
    responses: Sequence[tuple[str | None, ...]],
    reasons: list[str | None],
    labels: pd.DataFrame,
) -> Rows:
    return Rows(
        prompts=prompts,
        responses=list(responses),
        reasons=reasons,
        keys=[prompt or "" for prompt in prompts],
        labels=labels,
    )
