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

from lightning_moa.reporting.remaining import Left, Part, kind_of, left_of


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

    The remaining time follows what runs of each kind have taken so far (`remaining.left_of`). Before anything of what
    is left is measured it says so instead of guessing.
    """

    def __init__(self, todo: Sequence[Work], workers: int, console: Console) -> None:
        self.cost = {task.key: task.cost for task in todo}
        self.names = {task.key: task.name for task in todo}
        self.workers = min(workers, len(todo))
        self.share: dict[str, float] = {}
        self.before: dict[str, float] = {}
        """Shares that runs began with, since an earlier start had done them."""
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

    def start(self, key: str, *, goes_on: bool = False) -> None:
        """A run begins; `goes_on`: from what an earlier start has left of it, so that its first share is that one's."""
        with self.lock:
            if not goes_on:
                self.before[key] = 0.0
            self.started[key] = time.monotonic()
            self.share[key] = 0.0
            self.bars[key] = self.progress.add_task(f"  {self.names[key]}", total=1.0, remaining="")

    def advance(self, key: str, share: float) -> None:
        """`share` of the run's work is done."""
        with self.lock:
            if key in self.bars and self.share.get(key, 1.0) < 1.0:
                self.share[key] = min(share, 1.0)
                self.before.setdefault(key, self.share[key])
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
                note = "" if left is None or left.seconds < 0.5 else f", {left}"
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
            text = "measuring" if left is None else str(left)
            self.progress.update(self.bar, completed=done, remaining=text)

    def remaining(self) -> Left | None:
        """Time until the last run ends, or None before anything of what is left has been measured."""
        now = time.monotonic()
        if now - self.begun < 5:
            return None
        taken = {**{key: now - self.started[key] for key in self.bars}, **self.spent}
        parts = [
            Part(kind_of(key), cost, self.share.get(key, 0.0), self.before.get(key, 0.0), taken.get(key, 0.0))
            for key, cost in self.cost.items()
        ]
        return left_of(parts, self.workers)
