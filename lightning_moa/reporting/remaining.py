"""How long is left of work in parts of several kinds, by what was measured so far. Light."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One run, as far as time goes."""

    kind: str
    """Runs of one kind do the same sort of work, so that what is expected of them is wrong by one factor."""
    cost: float
    """Seconds that it is expected to take."""
    share: float = 0.0
    """Of its work, done."""
    before: float = 0.0
    """Of its work, done by an earlier start, in no time of this one's."""
    seconds: float = 0.0
    """That it has taken in this start."""
    left: float | None = None
    """Seconds until it is done, where it has told more than its kind does."""


@dataclass(frozen=True)
class Left:
    """Time until work is done."""

    seconds: float
    whole: bool
    """False: kinds of runs are left of which none was measured yet, and which come on top."""

    def __str__(self) -> str:
        return f"{'about' if self.whole else 'more than'} {clock(self.seconds)} left"


def left_of(parts: Sequence[Part], workers: int) -> Left | None:
    """Time until all parts are done by `workers` that work side by side; None where none of what is left was measured.

    A part is expected to take its cost times the ratio of measured to expected seconds of its kind. It can be
    no sooner than the longest part alone.
    """
    expected: dict[str, float] = defaultdict(float)
    measured: dict[str, float] = defaultdict(float)
    for part in parts:
        expected[part.kind] += part.cost * max(part.share - part.before, 0.0)
        measured[part.kind] += part.seconds
    pace = {kind: measured[kind] / done for kind, done in expected.items() if done > 0}
    open_parts = [part for part in parts if part.share < 1]
    known = [
        part.cost * (1 - part.share) * pace[part.kind] if part.left is None else part.left
        for part in open_parts
        if part.kind in pace or part.left is not None
    ]
    if open_parts and not known:
        return None
    seconds = max([sum(known) / max(workers, 1), *known], default=0.0)
    return Left(seconds, len(known) == len(open_parts))


def kind_of(key: str) -> str:
    """Of a run, by its key: the function that makes it."""
    return key.rpartition("-")[0]


def clock(seconds: float) -> str:
    """As 1:05, or 2:01:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
