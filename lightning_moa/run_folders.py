"""Folders of runs: the results under their keys, and the scratch folders that they are made in. A folder appears under
its key only when it is complete: it is renamed at the end."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import psutil

from lightning_moa.errors import UserError
from lightning_moa.task_files import DONE

# What a scratch folder's name says of its owner, before the process's number. No dot: dots part the name.
_OWNER = platform.node().replace(".", "_") + "-"
# Seconds by which a disk's clock and the machine's may differ.
_CLOCKS_DIFFER = 60.0


def is_done(runs: Path, key: str) -> bool:
    """Whether a complete result lies under this key."""
    return (runs / key / DONE).is_file()


def record(runs: Path, key: str) -> dict[str, Any]:
    """What a finished task wrote of itself: `seconds`, `peak_memory_mib`, ..."""
    path = runs / key / DONE
    try:
        loaded: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(
            f"{path}: not a task's record ({error}); delete the folder and start again"
        ) from error
    return loaded


def scratch_folder(runs: Path, key: str) -> Path:
    """A new, empty folder to work in; its name tells whose it is, so that a dead process's can be cleared."""
    folder = runs / f".{key}.{_OWNER}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def publish(runs: Path, key: str, folder: Path) -> None:
    """Put a finished folder under its key in one rename. An older result there is replaced, checkpoints are done
    with."""
    final = runs / key
    if final.exists():
        old = runs / f".{key}.old.{_OWNER}{os.getpid()}"
        final.rename(old)
        folder.rename(final)
        shutil.rmtree(old)
    else:
        folder.rename(final)
    shutil.rmtree(runs / f"partial-{key}", ignore_errors=True)


def clear_dead(runs: Path) -> None:
    """Remove the scratch folders that this machine's killed processes have left behind. Another machine that shares
    the disk may be at work in its own."""
    for folder in runs.glob(f".*-*.{_OWNER}*"):
        pid = folder.name.rpartition(f".{_OWNER}")[2]
        if pid.isdigit() and not _is_at_work(int(pid), folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_at_work(pid: int, folder: Path) -> bool:
    """Whether the process lives, and is the one that made the folder: its number may have been given again."""
    try:
        process = psutil.Process(pid)
        made_it = process.create_time() <= folder.stat().st_mtime + _CLOCKS_DIFFER
        return made_it and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
