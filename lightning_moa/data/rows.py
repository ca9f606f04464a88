"""From a data set's rows to tables: drop and count bad rows, split by prompt, choose labels."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lightning_moa.data.configs import DataConfig
from lightning_moa.data.doubts import answer_doubts, doubts
from lightning_moa.data.files import folder_of, number, values
from lightning_moa.data.labels import (
    SHORTER,
    LabelChoice,
    hold_strengths,
    label_matrix,
    score_matrix,
    shorter,
)
from lightning_moa.data.order import spread, stable_hash
from lightning_moa.data.tables import AnswerTable, DropReport, PairTable
from lightning_moa.errors import UserError
from lightning_moa.turns import messages_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Rows:
    """n rows as a data set's file reads them, bad ones still among them.

    prompts, responses: texts, None where missing; `responses` has one tuple of texts a row.
    reasons: why a row is to be dropped, None for a good row.
    checked: its texts were looked at already.
    keys: what a split must not tear apart (the prompt, or the id of a post).
    labels: frame of the n rows' label columns, index (file, row).
    mixed: which response is the first says what its label is, so the sides are mixed, by a hash of the texts, once
        labels are known.
    subsets: the part of the data set that each row is of; by default the folder that its file lies in.
    """

    prompts: list[str | None]
    responses: list[tuple[str | None, ...]]
    reasons: list[str | None]
    keys: list[str]
    labels: pd.DataFrame
    checked: bool = False
    mixed: bool = False
    subsets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Drop, for every data set alike, rows that lack a text and pairs that say nothing."""
        if not self.subsets:
            self.subsets = [folder_of(str(file)) for file in self.labels.index.get_level_values(0)]
        if self.checked:
            return
        for i, (prompt, responses) in enumerate(zip(self.prompts, self.responses, strict=True)):
            if self.reasons[i] is None:
                self.reasons[i] = reason_to_drop(prompt, responses)


def reason_to_drop(prompt: str | None, responses: tuple[str | None, ...]) -> str | None:
    """Why a row of these texts says nothing, in words; None for a good one."""
    if prompt is None or any(response is None for response in responses):
        return "missing text"
    stripped = [response.strip() for response in responses if response is not None]
    if not messages_of(prompt)[-1][1].strip():
        return "empty prompt"
    if not all(stripped):
        return "empty reply"
    if not (_is_unicode(prompt) and all(map(_is_unicode, stripped))):
        return "half a character"
    return "equal replies" if len(set(stripped)) < len(stripped) else None


def _is_unicode(text: str) -> bool:
    """Not where half of a character beyond the basic plane, such as an emoji, stands alone: JSON can spell it, no
    encoding can hold it."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def split_by_key(keys: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """(n,) bool, True for evaluation. About `fraction` of the distinct keys; equal keys are on one side.

    Each key's side depends on the key and the seed alone, so neither the rows' order nor other rows change it
    (only where that would leave one side empty, the nearest key goes there).
    """
    hashes = {key: stable_hash(str(seed), key) for key in set(keys)}
    limit = min(max(fraction * 2**64, min(hashes.values())), max(hashes.values()) - 1)
    return np.array([hashes[key] <= limit for key in keys], dtype=bool)


def pair_tables(
    rows: Mapping[str, Rows],
    choices: Sequence[LabelChoice],
    config: DataConfig,
    report: DropReport,
    complete: bool = False,
    strengths: Collection[str] = (),
) -> dict[str, PairTable]:
    """{"train": table, "eval": table} of pairs; labels (n, m) from the chosen columns or the rule `shorter`.

    `rows` has "train" and, where the data set has its own test split, "eval". A row without any label is dropped, where
    they are to be `complete` one that lacks any of them. Columns of `strengths` hold strengths whatever their numbers.
    """
    objectives = tuple(choice.objective for choice in choices)
    tables = {}
    for split, (part, labels) in _split_and_drop(
        rows, choices, config, report, paired=True, complete=complete, declared=strengths
    ).items():
        responses = [(str(first), str(second)) for first, second in part.responses]
        if part.mixed:
            responses, labels = _mixed(responses, labels)
        prompts = [str(prompt) for prompt in part.prompts]
        tables[split] = PairTable(prompts, responses, labels, objectives, part.subsets)
        report.doubts[split] = doubts(tables[split])
    return tables


def _mixed(
    responses: Sequence[tuple[str, str]], labels: np.ndarray
) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Responses and labels with the sides of some pairs swapped, so that the index gives no hint of the label."""
    swap = np.array([stable_hash(*pair) % 2 == 1 for pair in responses])
    sides = [
        (second, first) if swapped else (first, second)
        for (first, second), swapped in zip(responses, swap, strict=True)
    ]
    return sides, np.where(swap[:, None], 1 - labels, labels)


def answer_tables(
    rows: Mapping[str, Rows],
    choices: Sequence[LabelChoice],
    config: DataConfig,
    report: DropReport,
) -> dict[str, AnswerTable]:
    """As `pair_tables`, for rows with a single answer: the chosen columns are rewards (n, m), any numbers, and a row
    that lacks one of them is dropped."""
    objectives = tuple(choice.objective for choice in choices)
    tables = {
        split: AnswerTable(
            prompts=[str(prompt) for prompt in part.prompts],
            responses=[str(response) for (response,) in part.responses],
            rewards=rewards,
            objectives=objectives,
            subsets=part.subsets,
        )
        for split, (part, rewards) in _split_and_drop(rows, choices, config, report, paired=False).items()
    }
    report.doubts |= {split: answer_doubts(table) for split, table in tables.items()}
    return tables


def prompt_lists(
    rows: Mapping[str, Rows], config: DataConfig, report: DropReport
) -> dict[str, dict[str, str]]:
    """As `pair_tables`, for rows of a prompt alone: the distinct prompts of "train" and "eval", in their order, and the
    part of the data set that the first row of each is of."""
    found = _split_and_drop(rows, [], config, report, paired=False)
    lists: dict[str, dict[str, str]] = {}
    for split, (part, _) in found.items():
        lists[split] = {}
        for prompt, subset in zip(part.prompts, part.subsets, strict=True):
            lists[split].setdefault(str(prompt), subset)
    return lists


def _split_and_drop(
    rows: Mapping[str, Rows],
    choices: Sequence[LabelChoice],
    config: DataConfig,
    report: DropReport,
    paired: bool,
    complete: bool = True,
    declared: Collection[str] = (),
) -> dict[str, tuple[Rows, np.ndarray]]:
    strengths, indices = _strengths(rows, choices, declared) if paired else ([], [])
    labels = {name: _labels(part, choices, paired, strengths) for name, part in rows.items()}
    report.notes += [
        f"{column}: strengths, below 0 where the first response is the better one" for column in strengths
    ]
    report.notes += [
        f"{column}: 0 is the first response and 1 the second, -1 nobody knows; strengths go beyond -1 or 1"
        for column in indices
    ]
    for name, part in rows.items():
        unknown = np.isnan(labels[name])
        what = "label" if paired else "score"
        for i in np.flatnonzero(unknown.any(axis=1) if complete else unknown.all(axis=1)) if choices else ():
            lacking = f"no {what}" if unknown[i].all() or not paired else f"a {what} is missing"
            part.reasons[i] = part.reasons[i] or lacking
    if "eval" in rows:
        sides = {name: [(name, np.arange(len(part.prompts)))] for name, part in rows.items()}
    else:
        keys, variants = alike(rows["train"].keys)
        held_out = split_by_key(keys, config.eval_fraction, config.split_seed)
        if variants:
            report.notes.append(
                f"warning: {variants} prompts differ from another only in white space, line ends, case or Unicode "
                "form; they are on one side of the split"
            )
        sides = {"train": [("train", np.flatnonzero(~held_out)), ("eval", np.flatnonzero(held_out))]}
    parts = {split: (name, positions) for name, splits in sides.items() for split, positions in splits}
    _drop_shared(rows, parts)
    kept = {}
    for split, (name, positions) in parts.items():
        good = _count_and_keep(rows[name], positions, split, config, report)
        if not len(good):
            line = next(
                iter(line for line in report.lines() if line.startswith(f"{split}:")), "no rows at all"
            )
            raise UserError(f"nothing is left to use in the split {split!r} of {config.name} ({line})")
        kept[split] = (_take(rows[name], good), labels[name][good])
    return kept


def alike(keys: Sequence[str]) -> tuple[list[str], int]:
    """The keys, of which those that differ only in white space, line ends, case or Unicode form are one, the first in
    the alphabet; and how many distinct ones were such variants."""
    first: dict[str, str] = {}
    for key in sorted(set(keys)):
        first.setdefault(plainest(key), key)
    return [first[plainest(key)] for key in keys], len(set(keys)) - len(first)


@lru_cache(maxsize=1_000_000)
def plainest(key: str) -> str:
    """A text in lower case, its stretches of white space as one space each, in one Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", key).casefold().split())


def _strengths(
    rows: Mapping[str, Rows], choices: Sequence[LabelChoice], declared: Collection[str]
) -> tuple[list[str], list[str]]:
    """The chosen columns that hold strengths, of all splits together; and those that might, but are taken for indices
    with some unknown."""
    strengths, indices = [], []
    frames = [part.labels for part in rows.values()]
    for name in dict.fromkeys(choice.column for choice in choices):
        found = [value for frame in frames if name in frame.columns for value in values(frame, name)]
        if name in declared or hold_strengths(found):
            strengths.append(name)
        elif -1 in map(number, found):
            indices.append(name)
    return strengths, indices


def _labels(part: Rows, choices: Sequence[LabelChoice], paired: bool, strengths: Sequence[str]) -> np.ndarray:
    """(n, m) labels of all rows; the rule `shorter` is worked out where rows have two responses."""
    frame = part.labels
    if not paired:
        return score_matrix(frame, choices)
    if SHORTER in frame.columns and any(choice.column == SHORTER for choice in choices):
        raise UserError(
            f"data.labels: {SHORTER!r} is a column of the data, and what the response of fewer characters is called: "
            "rename the column"
        )
    sides = [[responses[k] or "" for responses in part.responses] for k in (0, 1)]
    frame = frame.assign(**{SHORTER: shorter(*sides)})
    return label_matrix(frame, choices, [str(column) for column in frame.columns], strengths)


def _drop_shared(rows: Mapping[str, Rows], parts: Mapping[str, tuple[str, np.ndarray]]) -> None:
    """Mark training rows whose key or prompt is also held out, or one that differs in nothing but its writing."""
    name, positions = parts["eval"]
    held = rows[name]
    good = [i for i in positions if held.reasons[i] is None]
    seen = {plainest(text) for i in good for text in (held.keys[i], held.prompts[i] or "")}
    name, positions = parts["train"]
    train = rows[name]
    for i in positions:
        if train.reasons[i] is None and not seen.isdisjoint(
            (plainest(train.keys[i]), plainest(train.prompts[i] or ""))
        ):
            train.reasons[i] = "prompt also in the evaluation split"


def _count_and_keep(
    rows: Rows, positions: np.ndarray, split: str, config: DataConfig, report: DropReport
) -> np.ndarray:
    """Positions of the good rows: those to train on in the rows' order, those to evaluate on so that the first of them
    stand for all (`order.spread`). Of more than `limit` the first ones of that order."""
    report.restart(split)
    good = []
    for i in positions:
        reason = rows.reasons[i]
        if reason is None:
            good.append(int(i))
        else:
            report.drop(split, reason)
    kept = np.array(good, dtype=np.int64)
    evaluated, limit = split == "eval", config.limit
    if evaluated or (limit is not None and len(good) > limit):
        texts = [(str(rows.prompts[i]), *map(str, rows.responses[i])) for i in good]
        kept = kept[spread(texts, [rows.subsets[i] for i in good], config.split_seed)][:limit]
    report.drop(split, f"beyond data.limit={limit}", len(good) - len(kept))
    report.kept[split] = len(kept)
    report.subsets[split] = Counter(rows.subsets[i] for i in kept)
    return kept if evaluated else np.sort(kept)


def _take(rows: Rows, positions: np.ndarray) -> Rows:
    return Rows(
        prompts=[rows.prompts[i] for i in positions],
        responses=[rows.responses[i] for i in positions],
        reasons=[None] * len(positions),
        keys=[rows.keys[i] for i in positions],
        labels=rows.labels.iloc[positions],
        checked=True,
        mixed=rows.mixed,
        subsets=[rows.subsets[i] for i in positions],
    )
