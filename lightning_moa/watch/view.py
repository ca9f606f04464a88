"""What was seen of a folder of runs, for a terminal or a pipe. Every text from a file is shown as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lightning_moa.reporting.remaining import clock
from lightning_moa.reporting.under_way import FINISHED
from lightning_moa.watch import seen
from lightning_moa.watch.seen import Run, Seen, Study

ENDED = 5
"""Studies shown that are not in progress."""
_BARS = "▁▂▃▄▅▆▇█"
_TREND = 12
"""Characters of a trend."""
_QUIET = 60
"""Seconds of silence that are worth a word."""
_COLOURS = {seen.FAILED: "red", seen.KILLED: "red", seen.STOPPED: "yellow", seen.AT_WORK: "cyan"}


class View:
    """One look at a folder.

    Args:
        runs: the folder.
        found: what was seen in it.
        only: what names of shown numbers begin with; empty: all are shown.
    """

    def __init__(self, runs: Path, found: Seen, only: Sequence[str] = ()) -> None:
        self.runs, self.found, self.only = runs, found, tuple(only)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        found = self.found
        if not (found.studies or found.others or found.done):
            yield _line(f"{self.runs}: no run yet", "yellow")
        shown = [each for each in found.studies if each.state == "in progress"]
        ended = [each for each in found.studies if each.state != "in progress"]
        for study in [*shown, *ended[:ENDED]]:
            yield from self._study(study, options)
        if len(ended) > ENDED:
            yield _line(f"and {len(ended) - ENDED} that ended before", "dim")
        if found.done and not found.studies:
            yield _line(f"{self.runs}: {found.done} runs are there; no study says that it has asked for them")
        for run in found.others:
            yield from self._run(run, options, "of no study that is told of")
        for problem in found.problems:
            yield _line(problem, "yellow")

    def _study(self, study: Study, options: ConsoleOptions) -> Iterator[RenderableType]:
        start = study.start
        words = " ".join([Path(start.script).name, *start.arguments])
        yield _line(words, "bold")
        yield Padding(_line(_how(study), _colour(study)), (0, 0, 0, 2), expand=False)
        if study.state == "in progress":
            yield Padding(_bar(study.share, min(60, options.max_width - 2)), (0, 0, 0, 2), expand=False)
        for state in (seen.AT_WORK, seen.FAILED, seen.KILLED, seen.STOPPED):
            for run in study.runs:
                if run.state == state:
                    yield from self._run(run, options)
        for run in sorted(
            (run for run in study.runs if run.state == seen.DONE and run.silent is not None),
            key=lambda run: -(run.silent or 0.0),
        ):
            yield from self._run(run, options)

    def _run(self, run: Run, options: ConsoleOptions, note: str = "") -> Iterator[RenderableType]:
        words = [run.name, run.state]
        if run.state == seen.AT_WORK:
            words[1] = f"{run.share:.0%}"
        if run.update is not None and run.state != seen.DONE:
            words.append(f"update {run.update}")
        if run.seconds is not None and run.state != seen.KILLED:
            words.append(f"{clock(run.seconds)}{' so far' if run.state == seen.AT_WORK else ''}")
        if run.left is not None:
            words.append(f"about {clock(run.left)} left")
        if run.elsewhere is not None:
            words.append(f"on {run.elsewhere}")
        if run.silent is not None and (run.silent > _QUIET or run.elsewhere) and run.state != seen.DONE:
            words.append(f"wrote last {clock(run.silent)} ago")
        words += [each for each in (run.said, note) if each]
        yield Padding(_line(", ".join(words), _COLOURS.get(run.state, "")), (0, 0, 0, 2), expand=False)
        numbers = self._numbers(run, ascii_only=options.ascii_only)
        if numbers:
            yield Padding(numbers, (0, 0, 0, 6), expand=False)

    def _numbers(self, run: Run, *, ascii_only: bool) -> Columns | None:
        """Each column's last value, and how it came there."""
        parts = []
        for name in sorted(run.series, key=_rank):
            if self.only and not name.startswith(self.only):
                continue
            values = [value for _, value in run.series[name]]
            trend = "" if ascii_only or len(values) < 2 else f" {trend_of(values)}"
            told = f"{name} {values[-1]:.4g}{trend}"
            parts.append(_line(told, "" if math.isfinite(values[-1]) else "red"))
        return Columns(parts, padding=(0, 3)) if parts else None


def trend_of(values: Sequence[float]) -> str:
    """A bar for each of the values, or for means over some that follow each other; what is not finite leaves a gap."""
    many = -(-len(values) // _TREND) or 1
    groups = [values[i : i + many] for i in range(0, len(values), many)]
    means = [sum(group) / len(group) for group in groups]
    finite = [each for each in means if math.isfinite(each)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((each - low) / step)] if math.isfinite(each) else " " for each in means)


def plain(text: str) -> str:
    """Without what a terminal takes for a command."""
    return "".join(each if each.isprintable() else " " for each in text)


def _how(study: Study) -> str:
    counts = Counter(run.state for run in study.runs)
    runs = len(study.runs)
    told = [f"{counts[state]} {state}" for state in seen.STATES[1:] if counts[state]]
    there = sum(asked.there for asked in study.start.runs)
    done = f"{counts[seen.DONE]} of {runs} run{'s' * (runs != 1)} done"
    done += f" ({there} before)" if there else ""
    where = "" if study.machine is None else f" on {study.machine}"
    if study.state == "in progress":
        head = f"in progress{where} for {clock(study.age)}, "
        head += f"{study.start.workers} worker{'s' * (study.start.workers != 1)}"
        if study.alive is None and study.silent is not None:
            head += f", wrote last {clock(study.silent)} ago"
        left = study.left
        told.append("no remaining time yet" if left is None else str(left))
        return f"{head}: {', '.join([done, *told])}"
    named = study.state in (FINISHED, seen.KILLED)
    head = (study.state if named else "ended") + where
    if study.start.ended is not None and study.silent is not None:
        head += f" {clock(study.silent)} ago"
    return f"{head}: {', '.join([done, *told])}" + ("" if named else f"; {study.state}")


def _colour(study: Study) -> str:
    return {"in progress": "cyan", FINISHED: "green"}.get(study.state, "red")


def _bar(share: float, width: int) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=1.0, completed=share, width=max(width - 5, 10)), f"{share:.0%}")
    return grid


def _rank(name: str) -> tuple[int, str]:
    """Losses first, then what was measured on the grid, then the rest."""
    return next((i for i, head in enumerate(("loss", "grid/")) if name.startswith(head)), 2), name


def _line(text: str, style: str = "") -> Text:
    return Text(plain(text), style=style)
