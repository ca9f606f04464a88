"""Folders of runs: the results under their keys, and the scratch folders that they are made in. A folder appears under
its key only when it is complete: it is renamed at the end."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from lightning_moa.errors import UserError
from lightning_moa.folders import refuse_links_out, run_in
from lightning_moa.task_files import AGAIN, DONE, LOG, partial_folder_of, read_mapping

# What a scratch folder's name says of its owner, before the process's number. No dot: dots part the name.
_MACHINE = platform.node().replace(".", "_") + "-"


def is_done(runs: Path, key: str) -> bool:
    """Whether a complete result lies under this key."""
    return (runs / key / DONE).is_file()


def record(runs: Path, key: str) -> dict[str, Any]:
    """What a finished task wrote of itself: `seconds`, `peak_memory_mib`, ...

    Raises:
        UserError: the record, or a file beside it, is not as the task left it, or a link leads out of the folder.
    """
    folder = run_in(runs, key)
    refuse_links_out(runs, folder.rglob("*"))
    loaded = read_mapping(folder / DONE)
    there = sizes_of(folder)
    for name, size in loaded.get("files", {}).items():
        if there.get(name) != size:
            found = "is missing" if name not in there else f"has {there[name]} bytes"
            raise UserError(f"{folder / name}: {found}, where the task left {size} bytes; {AGAIN}")
    return loaded


def sizes_of(folder: Path) -> dict[str, int]:
    """Bytes of a run's files by their names, but for its record, and for its log, which loggers keep open."""
    files = {
        file.relative_to(folder).as_posix(): file.stat().st_size
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    return {name: size for name, size in files.items() if name != DONE and not name.startswith(f"{LOG}/")}


def scratch_folder(runs: Path, key: str) -> Path:
    """A new, empty folder to work in; its name tells whose it is, so that a dead process's can be cleared."""
    folder = runs / f".{key}.{owner()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def publish(runs: Path, key: str, folder: Path, *, replace: bool) -> None:
    """Put a finished folder under its key in one rename; checkpoints are done with.

    Args:
        replace: an older result there makes room. Otherwise one that is there was made meanwhile by another start, and
            is kept: it is the same.

    Raises:
        OSError: it can't be renamed; what was there before is there still.
    """
    final = runs / key
    if final.exists() and replace:
        old = runs / f".{key}.old.{owner()}"
        final.rename(old)
        try:
            folder.rename(final)
        except OSError:
            if not is_done(runs, key):
                old.rename(final)
                raise
            # Another start has put its own there in this moment.
            shutil.rmtree(folder)
        shutil.rmtree(old)
    else:
        try:
            folder.rename(final)
        except OSError:
            if not is_done(runs, key):
                raise
            shutil.rmtree(folder)
    _remove(partial_folder_of(runs, key))


def clear_dead(runs: Path) -> None:
    """Remove the scratch folders that this machine's killed processes have left behind, of runs or of checkpoints, and
    checkpoints of runs that are finished. Another machine that shares the disk may be at work in its own."""
    for folder in abandoned(runs, ".*-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in runs.glob("partial-*"):
        done = runs / folder.name.removeprefix("partial-") / DONE
        # Those of a run that is made anew are younger than what it will replace.
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime <= done.stat().st_mtime:
                _remove(folder)


def _remove(partial: Path) -> None:
    """Checkpoints that are done with, if there are any. Under a scratch folder's name: to a start that is killed in the
    midst of it, a half-removed folder would look like checkpoints of one that is made anew."""
    away = partial.with_name(f".{partial.name}.old.{owner()}")
    # Nothing hangs on it: a later start clears what is left.
    with suppress(OSError):
        partial.rename(away)
        shutil.rmtree(away, ignore_errors=True)


def abandoned(folder: Path, pattern: str) -> Iterator[Path]:
    """What processes of this machine that live no more have left in a folder, under names that match the pattern and
    end with their `owner()`."""
    for path in folder.glob(f"{pattern}.{_MACHINE}*"):
        pid, _, began = path.name.rpartition(f".{_MACHINE}")[2].partition("_")
        if pid.isdigit() and _began(int(pid)) != began:
            yield path


def owner() -> str:
    """What the name of a scratch folder or file ends with: the machine and this process."""
    return f"{_MACHINE}{os.getpid()}_{_began(os.getpid())}"


def _began(pid: int) -> str | None:
    """When a process that lives was started, so that another of the same number is told apart; None for a dead one.

    In the kernel's ticks since the machine was: clocks may be set, and those of disks differ from the machines'.
    """
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return None
        stat = Path(f"/proc/{pid}/stat")
        # Behind the command's name, which may hold anything.
        return stat.read_text().rpartition(")")[2].split()[19] if stat.exists() else "0"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
