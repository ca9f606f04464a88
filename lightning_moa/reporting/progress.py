"""One line of progress for all runs of a study, with a remaining time that follows what was measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.progress import Task as Bar
from rich.text import Text


class _Remaining(ProgressColumn):
    def render(self, task: Bar) -> Text:
        return Text(task.fields["remaining"], style="cyan")


class Work(Protocol):
    """What is shown of a task."""

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def cost(self) -> float: ...


class Display:
    """The overall bar, and the runs under way.

    The remaining time is the expected cost of what is left, times the ratio of measured to expected seconds of
    what is done, over the number of workers. Before anything is done it says so instead of guessing.
    """

    def __init__(self, todo: Sequence[Work], workers: int, console: Console) -> None:
        self.cost = {task.key: task.cost for task in todo}
        self.names = {task.key: task.name for task in todo}
        self.workers = min(workers, len(todo))
        self.share: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self.spent: dict[str, float] = {}
        self.console = console
        self.lock = threading.Lock()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            _Remaining(),
            console=console,
            refresh_per_second=4,
        )
        self.bar: TaskID = self.progress.add_task("all runs", total=sum(self.cost.values()), remaining="")
        self.bars: dict[str, TaskID] = {}
        self.begun = time.monotonic()

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def start(self, key: str) -> None:
        with self.lock:
            self.started[key] = time.monotonic()
            self.share[key] = 0.0
            self.bars[key] = self.progress.add_task(f"  {self.names[key]}", total=1.0, remaining="")

    def advance(self, key: str, share: float) -> None:
        """`share` of the run's work is done."""
        with self.lock:
            if key in self.bars and self.share.get(key, 1.0) < 1.0:
                self.share[key] = min(share, 1.0)
                self.progress.update(self.bars[key], completed=self.share[key])
        self.refresh()

    def finish(self, key: str) -> None:
        with self.lock:
            self.share[key] = 1.0
            self.spent[key] = time.monotonic() - self.started[key]
            self.progress.remove_task(self.bars.pop(key))
            if not self.console.is_terminal:
                done = sum(1 for value in self.share.values() if value == 1.0)
                left = self.remaining()
                note = f", about {clock(left)} left" if left else ""
                self.console.print(
                    f"[{done}/{len(self.cost)}] {self.names[key]} ({self.spent[key]:.0f} s){note}",
                    highlight=False,
                    markup=False,
                )

    def drop(self, key: str) -> None:
        """It has ended, neither done nor failed."""
        with self.lock:
            self.progress.remove_task(self.bars.pop(key))

    def note(self, line: str) -> None:
        """A line above the bars."""
        with self.lock:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def fail(self, key: str) -> None:
        self.drop(key)
        with self.lock:
            self.console.print(f"failed: {self.names[key]}", style="red", highlight=False, markup=False)

    def refresh(self) -> None:
        with self.lock:
            left = self.remaining()
            done = sum(self.cost[key] * share for key, share in self.share.items())
            text = f"about {clock(left)} left" if left is not None else "measuring"
            self.progress.update(self.bar, completed=done, remaining=text)

    def remaining(self) -> float | None:
        """Seconds until the last run ends, or None before anything has been measured."""
        now = time.monotonic()
        expected = sum(self.cost[key] * share for key, share in self.share.items())
        measured = sum(self.spent.values()) + sum(now - self.started[key] for key in self.bars)
        if expected <= 0 or now - self.begun < 5:
            return None
        left = sum(self.cost.values()) - expected
        return seconds_left(left, done=expected, measured=measured, workers=self.workers)


def seconds_left(left: float, *, done: float, measured: float, workers: int) -> float | None:
    """Seconds until work is done that `workers` do side by side; None before any was.

    Args:
        left, done: expected seconds of what is left, and of what is done.
        measured: seconds that the latter took.
    """
    return left * (measured / done) / max(workers, 1) if done > 0 else None


def clock(seconds: float) -> str:
    """As 1:05, or 2:01:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
