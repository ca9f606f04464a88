"""Files and folders that are either whole or untouched: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_moa.errors import UserError
from lightning_moa.run_folders import abandoned, owner, scratch_folder

if TYPE_CHECKING:
    import pandas as pd

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a formula begins with, in one spreadsheet or another."""


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Put `content` (text as UTF-8) at `path`, making its folder if need be.

    A reader sees the old file or the new one, never a part. If the disk is full or the folder can't be
    written, the old file stays as it was. What a process that was killed on the way has left is cleared.

    Raises:
        UserError: the operating system refused; the message names the path and the reason.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.{owner()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            # A full disk may only be noticed here, and must be noticed before the old file is replaced.
            os.fsync(file.fileno())
        os.replace(temporary, path)
        for left in abandoned(path.parent, f".{glob.escape(path.name)}.*"):
            left.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: can't be written, {error.strerror or error}; it is as it was") from error
    finally:
        # Gone already after the rename; where even removing fails, the first error is the one to report.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Take a file away, where it is there.

    Raises:
        UserError: the operating system refused.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: can't be replaced, {error.strerror or error}; it is as it was") from error


@contextlib.contextmanager
def in_the_making(target: Path) -> Iterator[Path]:
    """Inside, a new, empty folder to write in; then it is put where the target is, which goes, if it is there.

    Where anything is raised, the target is as it was before. What processes that were killed on the way have left is
    cleared by the next that comes to its end.

    Raises:
        OSError: the operating system refused.
    """
    target = target.resolve()
    folder = scratch_folder(target.parent, target.name)
    try:
        yield folder
        _put(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name in (f".{target.name}", f".{target.name}.old"):
        for left in abandoned(target.parent, glob.escape(name)):
            shutil.rmtree(left, ignore_errors=True)


def _put(folder: Path, target: Path) -> None:
    if not target.exists():
        folder.rename(target)
        return
    old = target.with_name(f".{target.name}.old.{owner()}")
    target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def spreadsheet_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an apostrophe before each text, of a cell or a heading, that a spreadsheet would run as a formula.

    For CSV files that people open: texts may be somebody else's, or a model's.
    """
    return frame.map(_safe).rename(columns=_safe)


def _safe(cell: Any) -> Any:
    if not (isinstance(cell, str) and cell.startswith(FORMULAS)):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def without_apostrophe(text: str) -> str:
    """A text as it was before `spreadsheet_text`."""
    return text[1:] if text.startswith(tuple(f"'{each}" for each in FORMULAS)) else text


def read_text(path: str | Path) -> str:
    """The file's text, its line ends as they are; UserError if it is missing, unreadable or not UTF-8."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except OSError as error:
        raise UserError(f"{path}: can't be read, {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text") from error
