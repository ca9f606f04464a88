"""From a data set's rows to tables: drop and count bad rows, split by prompt, choose labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lightning_moa.data.configs import DataConfig
from lightning_moa.data.doubts import doubts
from lightning_moa.data.files import folder_of
from lightning_moa.data.labels import SHORTER, LabelChoice, label_matrix, shorter
from lightning_moa.data.order import spread, stable_hash
from lightning_moa.data.tables import AnswerTable, DropReport, PairTable
from lightning_moa.errors import UserError

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
    subsets: the part of the data set that each row is of; by default the folder that its file lies in.
    """

    prompts: list[str | None]
    responses: list[tuple[str | None, ...]]
    reasons: list[str | None]
    keys: list[str]
    labels: pd.DataFrame
    checked: bool = False
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
    if not prompt.strip():
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
) -> dict[str, PairTable]:
    """{"train": table, "eval": table} of pairs; labels (n, m) from the chosen columns or the rule `shorter`.

    `rows` has "train" and, where the data set has its own test split, "eval".
    """
    objectives = tuple(choice.objective for choice in choices)
    tables = {}
    for split, (part, labels) in _split_and_drop(rows, choices, config, report, paired=True).items():
        tables[split] = PairTable(
            prompts=[str(prompt) for prompt in part.prompts],
            responses=[(str(first), str(second)) for first, second in part.responses],
            labels=labels,
            objectives=objectives,
            subsets=part.subsets,
        )
        report.doubts[split] = doubts(tables[split])
    return tables


def answer_tables(
    rows: Mapping[str, Rows],
    choices: Sequence[LabelChoice],
    config: DataConfig,
    report: DropReport,
) -> dict[str, AnswerTable]:
    """As `pair_tables`, for rows with a single answer: the chosen columns are rewards (n, m), not indices."""
    objectives = tuple(choice.objective for choice in choices)
    return {
        split: AnswerTable(
            prompts=[str(prompt) for prompt in part.prompts],
            responses=[str(response) for (response,) in part.responses],
            rewards=rewards,
            objectives=objectives,
            subsets=part.subsets,
        )
        for split, (part, rewards) in _split_and_drop(rows, choices, config, report, paired=False).items()
    }


def _split_and_drop(
    rows: Mapping[str, Rows],
    choices: Sequence[LabelChoice],
    config: DataConfig,
    report: DropReport,
    paired: bool,
) -> dict[str, tuple[Rows, np.ndarray]]:
    labels = {name: _labels(part, choices, paired) for name, part in rows.items()}
    for name, part in rows.items():
        for i in np.flatnonzero(np.isnan(labels[name]).all(axis=1)):
            part.reasons[i] = part.reasons[i] or "no label"
    if "eval" in rows:
        sides = {name: [(name, np.arange(len(part.prompts)))] for name, part in rows.items()}
    else:
        held_out = split_by_key(rows["train"].keys, config.eval_fraction, config.split_seed)
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


def _labels(part: Rows, choices: Sequence[LabelChoice], paired: bool) -> np.ndarray:
    """(n, m) labels of all rows; the rule `shorter` is worked out where rows have two responses."""
    frame = part.labels
    if paired:
        if SHORTER in frame.columns and any(choice.column == SHORTER for choice in choices):
            raise UserError(f"the data has a column {SHORTER!r} of its own, which is also a rule: rename it")
        sides = [[responses[k] or "" for responses in part.responses] for k in (0, 1)]
        frame = frame.assign(**{SHORTER: shorter(*sides)})
    return label_matrix(frame, choices, [str(column) for column in frame.columns])


def _drop_shared(rows: Mapping[str, Rows], parts: Mapping[str, tuple[str, np.ndarray]]) -> None:
    """Mark training rows whose key or prompt is also held out."""
    name, positions = parts["eval"]
    held = rows[name]
    keys = {held.keys[i] for i in positions if held.reasons[i] is None}
    prompts = {held.prompts[i] for i in positions if held.reasons[i] is None}
    name, positions = parts["train"]
    train = rows[name]
    for i in positions:
        if train.reasons[i] is None and (train.keys[i] in keys or train.prompts[i] in prompts):
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
        subsets=[rows.subsets[i] for i in positions],
    )
