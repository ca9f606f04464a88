"""What makes one doubt that rows say what they are meant to say: counted, and printed with what was dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from lightning_moa.data.tables import AnswerTable, PairTable

FEW = 20
"""Rows, below which a split says little."""
RARE = 0.05
"""Share of the pairs, below which an objective is hardly labelled."""


def doubts(table: PairTable) -> list[str]:
    """One line each, with its counts; empty for pairs that look sound.

    Few pairs; an objective of which nearly all labels are missing, or of which one response column is always the better
    one; pairs that come again with another label.
    """
    found = []
    if len(table) < FEW:
        found.append(f"only {len(table)} pairs, which say little")
    for name, labels in zip(table.objectives, table.labels.T, strict=True):
        known = labels[~np.isnan(labels)]
        if len(known) < RARE * len(labels):
            found.append(f"{name} is labelled in only {len(known)} of {len(labels)} pairs")
        if len(known) > 1 and (known == known[0]).all():
            found.append(
                f"{name}: response {known[0]:.0f} is the better one in all {len(known)} labelled pairs"
            )
    found += [
        f"{name}: {count} pairs come again with the other label"
        for name, count in _contradictions(table)
        if count
    ]
    return found


def answer_doubts(table: AnswerTable) -> list[str]:
    """The same for single responses with scores: few of them; an objective whose score is the same throughout;
    responses that come again with another score."""
    found = []
    if len(table) < FEW:
        found.append(f"only {len(table)} answers, which say little")
    said: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, texts in enumerate(zip(table.prompts, table.responses, strict=True)):
        said[texts].append(row)
    repeated = [rows for rows in said.values() if len(rows) > 1]
    for name, scores in zip(table.objectives, table.rewards.T, strict=True):
        if len(scores) > 1 and (scores == scores[0]).all():
            found.append(f"{name}: all {len(scores)} answers have the score {scores[0]:g}")
        count = sum(len(rows) for rows in repeated if len(set(scores[rows])) > 1)
        if count:
            found.append(f"{name}: {count} answers come again with another score")
    return found


def _contradictions(table: PairTable) -> Iterator[tuple[str, int]]:
    """(objective, pairs of which another row with the same texts, in either order, says the opposite)."""
    places: dict[tuple[str, str, str], list[tuple[int, bool]]] = defaultdict(list)
    for row, (prompt, (first, second)) in enumerate(zip(table.prompts, table.responses, strict=True)):
        swapped = second < first
        places[prompt, *((second, first) if swapped else (first, second))].append((row, swapped))
    repeated = [rows for rows in places.values() if len(rows) > 1]
    for name, labels in zip(table.objectives, table.labels.T, strict=True):
        said = ([1 - labels[row] if swapped else labels[row] for row, swapped in rows] for rows in repeated)
        known = ([label for label in each if not np.isnan(label)] for each in said)
        yield name, sum(len(each) for each in known if len(set(each)) > 1)
