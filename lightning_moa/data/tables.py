"""What rows become once they are read: pairs with labels, and an account of what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lightning_moa.data.order import stable_hash
from lightning_moa.errors import UserError

GoldReward = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""(prompts, responses) -> (n,) float64, higher is better."""


@dataclass(frozen=True)
class PairTable:
    """n prompts with two responses each. Labels: (n, m), index of the better response, NaN where unknown.

    subsets: the part of the data set that each row is of; empty: there are no parts.
    """

    prompts: list[str]
    responses: list[tuple[str, str]]
    labels: np.ndarray
    objectives: tuple[str, ...]
    subsets: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prompts)

    def digest(self) -> str:
        """Of its texts, in their order: what is worked out for one table belongs to no other."""
        return f"{stable_hash(*self.prompts, *(text for pair in self.responses for text in pair)):016x}"


@dataclass(frozen=True)
class AnswerTable:
    """n prompts with one answer each. Rewards: (n, m), higher is better, NaN where unknown. subsets: as of pairs."""

    prompts: list[str]
    responses: list[str]
    rewards: np.ndarray
    objectives: tuple[str, ...]
    subsets: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass
class DropReport:
    """What was left out or shortened, where and why. Printed with every run; nothing is dropped silently.

    Keys are stages: a split ("train"), or a split under one tokenizer ("train as pairs").
    """

    unit: str = "pairs"
    kept: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    changed: dict[str, Counter[str]] = field(default_factory=dict)
    doubts: dict[str, list[str]] = field(default_factory=dict)
    """What makes one doubt the rows that were kept, see `doubts.doubts`."""
    notes: list[str] = field(default_factory=list)
    """How the rows were read, before they were split."""
    subsets: dict[str, Counter[str]] = field(default_factory=dict)
    """Rows kept of each part of the data set."""

    def drop(self, stage: str, reason: str, count: int = 1) -> None:
        """Count rows that were left out."""
        if count:
            self.dropped.setdefault(stage, Counter())[reason] += count

    def change(self, stage: str, what: str, count: int = 1) -> None:
        """Count rows that were kept in a shortened form."""
        if count:
            self.changed.setdefault(stage, Counter())[what] += count

    def restart(self, stage: str) -> None:
        """Forget a stage that is about to be done again."""
        self.kept.pop(stage, None)
        self.dropped.pop(stage, None)
        self.changed.pop(stage, None)
        self.doubts.pop(stage, None)
        self.subsets.pop(stage, None)

    def lines(self) -> list[str]:
        """How the rows were read, a readable line per stage, such as `train: 575 pairs kept, 12 dropped (equal
        replies 3, ...)`, then one for each doubt about them."""
        stages = sorted({*self.kept, *self.dropped, *self.changed})
        doubts = [f"{stage}, warning: {each}" for stage in stages for each in self.doubts.get(stage, [])]
        return [*self.notes, *map(self._line, stages), *doubts]

    def _line(self, stage: str) -> str:
        dropped, changed = self.dropped.get(stage, Counter()), self.changed.get(stage, Counter())
        unit = f"{self.unit} " if " as " not in stage else ""
        line = f"{stage}: {self.kept[stage]} {unit}kept, {dropped.total()} dropped"
        if dropped:
            line += f" ({_listed(dropped)})"
        subsets = self.subsets.get(stage, Counter())
        if len(subsets) > 1:
            line += f"; of {_listed(subsets)}"
        return line + (f"; changed: {_listed(changed)}" if changed else "")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))


def check_labelled(tables: Mapping[str, PairTable]) -> None:
    """Raise a `UserError` for a split in which no pair has a label of an objective: nothing could be learned of it, or
    asked."""
    for split, table in tables.items():
        for name, labels in zip(table.objectives, table.labels.T, strict=True):
            if len(labels) and np.isnan(labels).all():
                raise UserError(
                    f"{name}: none of the {len(labels)} {split} pairs has a label; more pairs, or another "
                    "data.eval_fraction, are needed"
                )
