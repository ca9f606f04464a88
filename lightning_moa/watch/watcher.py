"""Looks into a folder of runs. It never writes, and finds its way where others write, rename and remove meanwhile."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_moa.errors import UserError
from lightning_moa.reporting.under_way import PROGRESS, STUDIES, Start
from lightning_moa.run_folders import abandoned, owner
from lightning_moa.task_files import DONE as RECORD
from lightning_moa.task_files import LOG, partial_folder_of
from lightning_moa.watch import seen
from lightning_moa.watch.files import Series, Unread, changed, series_of, text_of
from lightning_moa.watch.seen import Run, Seen, Study

_MADE_IN = re.compile(r"\.(?P<key>[^.]+-[0-9a-f]{16})\.(?P<owner>[^.]+-\d+_\w+)")
"""The folder that a run is made in."""
_KEY = re.compile(r"(?:failed-|partial-)?[^.]+-[0-9a-f]{16}")
CLOCKS = 60.0
"""Seconds by which clocks of a machine and of its disk may differ."""
_CHECKPOINT = re.compile(r"update-(\d+)")


class Watcher:
    """A folder of runs, looked into again and again.

    Args:
        runs: the folder.

    Raises:
        UserError: it is none, or one that no study has made.
    """

    def __init__(self, runs: str | Path) -> None:
        self.runs = Path(runs)
        self._records: dict[tuple[str, float], dict[str, Any]] = {}
        """What runs that are done said of themselves, by key and time."""
        if not self.runs.is_dir():
            raise UserError(f"{runs}: no such folder; allowed is a folder of runs, such as runs_dir names")
        names = self._names()
        if names and not any(
            name == STUDIES or _KEY.fullmatch(name) or _MADE_IN.match(name) for name in names
        ):
            raise UserError(f"{runs}: holds no runs; allowed is a folder of runs, such as runs_dir names")

    def look(self, last: int = 3) -> Seen:
        """What is there now.

        Args:
            last: trainings of a study, those done last, whose logs are read, besides all that are at work.

        Raises:
            UserError: the folder is gone.
        """
        return _Look(self, last).seen()

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self.runs))
        except OSError as error:
            raise UserError(f"{self.runs}: can't be read ({error.strerror or error})") from error


class _Look:
    """One look: what is read is read once."""

    def __init__(self, watcher: Watcher, last: int) -> None:
        self.runs, self.records, self.last = watcher.runs, watcher._records, last
        self.root = self.runs.resolve()
        self.now = time.time()
        self.problems: list[str] = []
        self.names = watcher._names()
        self.dead = {path.name for path in abandoned(self.runs, ".*-*")}
        self.made_in: dict[str, tuple[Path, str]] = {}
        """Key -> the folder that it is made in, and whose that is; of several processes, the one that tells."""
        for match in filter(None, map(_MADE_IN.fullmatch, self.names)):
            path, key = self.runs / match[0], match["key"]
            before = self.made_in.get(key)
            if before is None or before[0].name in self.dead or changed(path / PROGRESS) is not None:
                self.made_in[key] = (path, match["owner"])

    def seen(self) -> Seen:
        studies = sorted(self._studies(), key=lambda each: (each.state == "in progress", each.start.began))
        told = {asked.key for study in studies for asked in study.start.runs}
        rest = {re.sub("^(failed|partial)-", "", name) for name in self.names if _KEY.fullmatch(name)}
        others = [self._run(key, key) for key in sorted((rest | set(self.made_in)) - told)]
        done = sum(
            changed(self.runs / name / RECORD) is not None for name in self.names if _KEY.fullmatch(name)
        )
        return Seen(studies[::-1], [run for run in others if run.state != seen.DONE], done, self.problems)

    def _studies(self) -> Iterator[Study]:
        folder = self.runs / STUDIES
        dead = {path.name for path in abandoned(folder, "*")}
        try:
            names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            self.problems.append(f"{folder}: can't be read ({error.strerror or error})")
            return
        for name in names:
            start = self._start(folder / name)
            if start is not None:
                yield self._study(start, name.partition(".")[2], gone=name in dead)

    def _start(self, path: Path) -> Start | None:
        text = self._text(path)
        try:
            return None if text is None else Start.read(text)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self.problems.append(f"{path}: not as a study wrote it ({type(error).__name__})")
            return None

    def _study(self, start: Start, owned_by: str, *, gone: bool) -> Study:
        machine = owned_by.rpartition("-")[0]
        here = machine == owner().rpartition("-")[0]
        alive = False if gone or start.ended is not None else (True if here else None)
        runs = [self._run(asked.key, asked.name, start, alive, asked.there) for asked in start.runs]
        ends = {
            run.key: changed(self.runs / run.key / RECORD) or 0.0
            for run in runs
            if run.state == seen.DONE and changed(self.runs / run.key / LOG / "metrics.csv") is not None
        }
        shown = set(sorted(ends, key=ends.__getitem__)[-self.last :]) if self.last else set()
        runs = [
            replace(run, series=self._series(self.runs / run.key), silent=self._since(ends[run.key]))
            if run.key in shown
            else run
            for run in runs
        ]
        wrote = [run.silent for run in runs if run.silent is not None]
        silent = self._since(start.ended) if start.ended is not None else min(wrote, default=None)
        return Study(start, runs, alive, self._since(start.began), silent, None if here else machine)

    def _run(
        self,
        key: str,
        name: str,
        start: Start | None = None,
        alive: bool | None = False,
        there: bool = True,
    ) -> Run:
        """A run of a study, or of none that is told of; `there`: the study did not ask for it to be made."""
        written = changed(self.runs / key / RECORD)
        # With fresh=true it is made once more.
        again = start is not None and alive and not there and (written or 0.0) < start.began - CLOCKS
        if written is not None and not again:
            record = self._record(key, written)
            return Run(key, str(record.get("name", name)), seen.DONE, 1.0, seconds=_number(record, "seconds"))
        if key in self.made_in:
            return self._at_work(key, name, *self.made_in[key])
        failed = self.runs / f"failed-{key}"
        when = changed(failed / "error.txt")
        if when is not None and (start is None or not alive or when >= start.began):
            return self._failed(key, name, failed)
        update = self._checkpoint(key)
        goes_on = "" if update is None else f"goes on from update {update}"
        if alive is False and update is not None:
            return Run(key, name, seen.STOPPED, said=goes_on)
        return Run(key, name, seen.NOT_BEGUN if alive is False else seen.WAITING, said=goes_on)

    def _at_work(self, key: str, name: str, folder: Path, owned_by: str) -> Run:
        told = self._object(folder / PROGRESS)
        machine, here = owned_by.rpartition("-")[0], owner().rpartition("-")[0]
        times = [changed(folder / PROGRESS), changed(folder / LOG / "metrics.csv"), changed(folder)]
        silent = self._since(max(filter(None, times), default=self.now))
        share, began = _number(told, "share") or 0.0, _number(told, "began")
        state = seen.KILLED if folder.name in self.dead else seen.AT_WORK
        # The first share of one that goes on from a checkpoint is what an earlier start had done.
        before = 0.0 if self._checkpoint(key) is None else _number(told, "first_share") or 0.0
        return Run(
            key,
            str(told.get("name", name)),
            state,
            min(max(share, 0.0), 1.0) if state == seen.AT_WORK else 0.0,
            before,
            None if began is None else self._since(began),
            _left(told, self.now) if state == seen.AT_WORK else None,
            silent,
            None if machine == here else machine,
            said="its process is gone" if state == seen.KILLED else "",
            series=self._series(folder),
        )

    def _failed(self, key: str, name: str, folder: Path) -> Run:
        path = folder / "error.txt"
        lines = [line for line in (self._text(path) or "").splitlines() if line.strip()] or [name]
        # The run's name, its configuration, its traceback.
        return Run(
            key, lines[0], seen.FAILED, said=f"{lines[-1].strip()} ({path})", series=self._series(folder)
        )

    def _checkpoint(self, key: str) -> int | None:
        """The last update that a checkpoint was left at; 0 where another kind of state was left."""
        try:
            names = os.listdir(partial_folder_of(self.runs, key))
        except OSError:
            return None
        return max((int(match[1]) for match in filter(None, map(_CHECKPOINT.fullmatch, names))), default=0)

    def _series(self, folder: Path) -> Series:
        return series_of(self._text(folder / LOG / "metrics.csv") or "")

    def _record(self, key: str, written: float) -> dict[str, Any]:
        if (key, written) not in self.records:
            told = self._object(self.runs / key / RECORD)
            # Of all that a record holds, no more is kept in memory.
            self.records[key, written] = {name: told[name] for name in ("name", "seconds") if name in told}
        return self.records[key, written]

    def _object(self, path: Path) -> dict[str, Any]:
        """A file of JSON; empty where there is none, or it can't be read, which is said."""
        text = self._text(path)
        if text is None:
            return {}
        try:
            found = json.loads(text)
            if isinstance(found, dict):
                return found
        except (ValueError, RecursionError):
            pass
        self.problems.append(f"{path}: not as a run wrote it")
        return {}

    def _text(self, path: Path) -> str | None:
        try:
            if not path.resolve().is_relative_to(self.root):
                raise Unread(f"{path}: a link out of {self.runs}, which is not followed")
            return text_of(path)
        except Unread as error:
            self.problems.append(str(error))
            return None

    def _since(self, then: float) -> float:
        # Another machine's clock, or the disk's, may be ahead.
        return max(0.0, self.now - then)


def _number(told: dict[str, Any], name: str) -> float | None:
    value = told.get(name)
    try:
        # A whole number may be too large for a float, and what is not finite is no time and no share.
        found = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _left(told: dict[str, Any], now: float) -> float | None:
    """Seconds until a run is done, at the pace since its first share was told; before a second one, since it began."""
    share, at, began = (_number(told, name) for name in ("share", "at", "began"))
    first, since = _number(told, "first_share"), _number(told, "first_at")
    if share is None or at is None or began is None:
        return None
    done, took = share - (first or 0.0), at - (since or began)
    if done <= 0 or took <= 0:
        done, took = share, at - began
    if done <= 0 or took <= 0:
        return None
    return max(0.0, (1 - share) * took / done - (now - at))
