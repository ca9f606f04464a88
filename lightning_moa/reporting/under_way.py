"""What a study in progress says of itself in its runs folder, for `moa watch`. Light.

`studies/<name>.<owner>` is a start's: what it asks for, and at last how it ended. `progress.json` lies in the folder
that a run is made in, and is gone when the run is done. Both are JSON.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.progress import Work
from lightning_moa.run_folders import abandoned, owner

STUDIES = "studies"
PROGRESS = "progress.json"
FINISHED = "finished"


@dataclass(frozen=True)
class Asked:
    """A run that a start asks for."""

    key: str
    name: str
    cost: float
    """Seconds that it is expected to take; only its ratio to other runs' matters."""
    there: bool
    """Whether it was there before."""


@dataclass(frozen=True)
class Start:
    """A start of a study. Times are seconds since 1970 on the starting machine's clock."""

    script: str
    arguments: list[str]
    workers: int
    began: float
    runs: list[Asked]
    ended: float | None = None
    how: str | None = None
    """`finished`, or the first line of what ended it; None while it is in progress, and where it was killed."""

    def write(self, folder: Path) -> None:
        """To the runs folder, in the place of dead processes' starts of the same command for the same runs."""
        same = json.dumps([self.script, self.arguments, [run.key for run in self.runs]])
        name = f"{Path(self.script).stem or 'study'}-{hashlib.sha256(same.encode()).hexdigest()[:12]}"
        write_atomically(folder / STUDIES / f"{name}.{owner()}", json.dumps(asdict(self), indent=1))
        for former in abandoned(folder / STUDIES, glob.escape(name)):
            former.unlink(missing_ok=True)

    @staticmethod
    def read(text: str) -> Start:
        """The start that a file's text tells.

        Raises:
            ValueError, TypeError, KeyError: it tells none.
        """
        told: dict[str, Any] = json.loads(text)
        found = Start(**{**told, "runs": [Asked(**each) for each in told["runs"]]})
        numbers = [found.began, found.workers, *(asked.cost for asked in found.runs)]
        texts = [
            found.script,
            *found.arguments,
            *(each for asked in found.runs for each in (asked.key, asked.name)),
            *([] if found.how is None else [found.how]),
        ]
        if found.ended is not None:
            numbers.append(found.ended)
        # Neither what is no number, nor one that no clock can show.
        if not all(isinstance(each, int | float) and abs(each) < 1e18 for each in numbers) or not all(
            isinstance(each, str) for each in texts
        ):
            raise ValueError("numbers or texts of another kind")
        return found


@contextmanager
def recorded(folder: Path, ordered: Sequence[Work], todo: Sequence[Work], workers: int) -> Iterator[None]:
    """For the block, and behind it, the runs folder says what this process has been started to make.

    Args:
        folder: of the runs.
        ordered: all runs that are asked for; those that are not in `todo` are there.
        workers: processes that work side by side.
    """
    missing = {work.key for work in todo}
    runs = [Asked(work.key, work.name, work.cost, work.key not in missing) for work in ordered]
    start = Start(sys.argv[0], sys.argv[1:], min(workers, len(todo)), time.time(), runs)
    start.write(folder)
    how = FINISHED
    try:
        yield
    except BaseException as error:
        how = (str(error) or type(error).__name__).splitlines()[0]
        raise
    finally:
        replace(start, ended=time.time(), how=how).write(folder)


class RunProgress:
    """How far a run is, kept in the folder that it is made in: `name`, `began`, `share` done, `at`; and of the first
    share that was told, `first_share` and `first_at`, for one that goes on from a checkpoint begins in its middle."""

    EVERY = 0.5
    """Seconds between two states."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / PROGRESS
        self._told: dict[str, Any] = {"name": name, "began": time.time(), "share": 0.0}
        self._write()

    def advance(self, share: float) -> None:
        now = time.time()
        if "first_at" not in self._told:
            self._told |= {"first_share": share, "first_at": now}
        elif now - self._told["at"] < self.EVERY:
            return
        self._told["share"] = share
        self._write()

    def _write(self) -> None:
        self._told["at"] = time.time()
        part = self._file.with_name(f".{PROGRESS}.part")
        part.write_text(json.dumps(self._told))
        os.replace(part, self._file)

    def close(self) -> None:
        """The run is done, and its folder holds its result alone."""
        self._file.unlink()
