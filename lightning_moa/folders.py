"""Folders that others write, too, or that come from somebody else: what is read of them lies in them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lightning_moa.errors import UserError


def refuse_links_out(folder: Path, files: Iterable[Path]) -> None:
    """Raise a `UserError` for the first of a folder's files that a link leads out of it; the folder may be a link."""
    root = folder.resolve()
    for file in files:
        if not file.resolve().is_relative_to(root):
            raise UserError(f"{file}: a link out of {folder}, which is not followed; copy what it leads to")


def run_in(runs: Path, name: str) -> Path:
    """The folder of a run by the name that a record gives it.

    Raises:
        UserError: a name that leads elsewhere.
    """
    if Path(name).name != name or name in ("", ".."):
        raise UserError(f"{runs}: {name!r} is no name of a run in it")
    return runs / name


def check_place(folder: Path) -> Path:
    """The nearest folder above one, or itself, that is there; a `UserError` where something else is in the way."""
    # What may not be looked at, or no disk can have, is not there; pathlib's own `exists` raises an OSError then.
    there = next(each for each in (folder, *folder.absolute().parents) if os.path.exists(each))
    if not there.is_dir():
        raise UserError(f"{folder}: cannot be written, for {there} is a file")
    return there


def check_writable(folder: Path) -> None:
    """Raise a `UserError` where a folder, which need not be there yet, can't be made or written in. Nothing is made."""
    there = check_place(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be written, for {there} is read-only")
