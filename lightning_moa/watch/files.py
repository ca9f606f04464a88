"""Files that somebody is writing while they are read: gone, torn or whole."""

from __future__ import annotations

import csv
import math
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

LARGEST = 8 * 2**20
"""Bytes of a file that is read; a run's log has some ten thousand."""
Series = dict[str, list[tuple[float, float]]]
"""Column -> (update, value), in the file's order."""


class Unread(Exception):
    """What a file can't be read for, in a line that names it."""


def text_of(path: Path) -> str | None:
    """A file's text; None where there is none (any more).

    Raises:
        Unread: it is a link, a pipe or the like, too large, or not to be opened.
    """
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise Unread(f"{path}: no plain file, and not read")
        if found.st_size > LARGEST:
            raise Unread(f"{path}: {found.st_size / 2**20:.0f} MiB, and not read; a log has far less")
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unread(f"{path}: can't be read ({error.strerror or error})") from error


def changed(path: Path) -> float | None:
    """When a file was last written, in seconds since 1970; None where there is none."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return None


def series_of(text: str) -> Series:
    """What a `metrics.csv` tells. A line that is not whole yet, and a number that is none, are left out."""
    whole = text[: text.rfind("\n") + 1]
    found: Series = {}
    rows: Iterable[list[str]] = _rows(whole.replace("\0", "").splitlines())
    header: list[str] = next(iter(rows), [])
    if "step" not in header:
        return found
    for row in rows:
        numbers = dict(zip(header, map(_number, row), strict=False)) if len(row) == len(header) else {}
        step = numbers.pop("step", None)
        if step is None or not math.isfinite(step):
            continue
        for name, value in numbers.items():
            if value is not None and name != "epoch":
                found.setdefault(name, []).append((step, value))
    return found


def _rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """Those of a CSV, up to one that is none."""
    with suppress(csv.Error):
        yield from csv.reader(lines)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
