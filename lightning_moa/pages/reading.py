"""Files of a result, read so that a broken one is named and stops nothing."""

from __future__ import annotations

import csv
import io
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from lightning_moa.errors import UserError
from lightning_moa.reporting.files import read_text
from lightning_moa.reporting.run_record import read_run_record
from lightning_moa.turns import readable

T = TypeVar("T")
ROWS = 100
"""Of a table that a page shows; the file has them all."""
CELL = 2_000
"""Letters of a cell that a page shows."""
TEXTS = ("prompt", "response")
"""Columns of what was said."""
_FRACTION = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
LEAVES = 200_000
"""Values that a record may have: a few lines of YAML can stand for any number."""
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class Cells:
    """A table to be shown: texts."""

    name: str
    header: list[str]
    rows: list[list[str]]
    count: int
    """Rows of the file; no more than ROWS are in `rows`."""

    def without(self, place: Mapping[str, str]) -> Cells:
        """It without the columns that say in each row shown what the page says: name -> value."""
        kept = [
            at
            for at, name in enumerate(self.header)
            if name not in place or any(row[at] != place[name] for row in self.rows)
        ]
        rows = [[row[at] for at in kept] for row in self.rows]
        return replace(self, header=[self.header[at] for at in kept], rows=rows)


@dataclass(frozen=True)
class Picture:
    file: Path
    width: int
    height: int


@dataclass
class Reader:
    """Reads a result's files; `problems` says in a line each which could not be read, and why.

    Args:
        folder: of the result; files are named as they lie in it.
    """

    folder: Path
    problems: list[str] = field(default_factory=list)

    def read(self, file: Path | None, how: Callable[[Path], T]) -> T | None:
        """What `how` makes of a file; None where there is none, or it can't be read."""
        if file is None:
            return None
        try:
            return how(file)
        # A file of somebody else's may break any reader in any way. Whatever it is stands on the page.
        except Exception as error:
            name = file.relative_to(self.folder).as_posix()
            said = " ".join(str(error).split()).removeprefix(f"{file}: ").replace(str(file), name)
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            self.problems.append(f"{name}: {kind}{said[:400]}")
            return None


def read_cells(file: Path) -> Cells:
    """A CSV file's first rows, long numbers shortened but in columns of texts.

    Raises:
        UserError: not a CSV file, or rows of several lengths.
    """
    try:
        rows = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
        header = next(rows, None)
        if header is None:
            raise UserError(f"{file}: empty; allowed is a header and rows")
        body = []
        number = 0
        for number, row in enumerate(rows, 1):
            if len(row) != len(header):
                raise UserError(f"{file}: row {number} has {len(row)} cells, the header {len(header)}")
            if number <= ROWS:
                body.append([shown(name, cell) for name, cell in zip(header, row, strict=True)])
    except csv.Error as error:
        raise UserError(f"{file}: not a CSV file, {error}") from error
    return Cells(file.name, header, body, number)


def shown(name: str, cell: str) -> str:
    """A cell of a column as a page shows it; a prompt or a response that looks like a number is none, and a
    conversation is one plain text."""
    return begun(readable(cell)) if name in TEXTS else shortened(cell)


def shortened(cell: str) -> str:
    """A cell as a page shows it: of a number four digits that count, of a long text its beginning."""
    return f"{float(cell):.4g}" if len(cell) > 7 and _FRACTION.fullmatch(cell) else begun(cell)


def begun(text: str) -> str:
    """A text, or its beginning where it is long."""
    return text if len(text) <= CELL else f"{text[:CELL]} …"


def read_picture(file: Path) -> Picture:
    """A PNG's size.

    Raises:
        UserError: not a PNG, or one that was cut off.
    """
    content = file.read_bytes()
    if not content.startswith(PNG_START) or len(content) < 33:
        raise UserError(f"{file}: not a PNG")
    if not content.rstrip(b"\0").endswith(PNG_END):
        raise UserError(f"{file}: a PNG that was cut off")
    width, height = struct.unpack(">II", content[16:24])
    return Picture(file, width, height)


def read_record(file: Path) -> dict[str, Any]:
    """run.yaml.

    Raises:
        UserError: not a mapping, or one of more than LEAVES values.
    """
    record = read_run_record(file) or {}
    if sum(1 for _ in zip(_leaves(record), range(LEAVES + 1), strict=False)) > LEAVES:
        raise UserError(f"{file}: more than {LEAVES} values")
    return record


def _leaves(value: Any) -> Iterator[Any]:
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
    if inside is None:
        yield value
    else:
        # One for the mapping itself: empty ones count, too.
        yield None
        for each in inside:
            yield from _leaves(each)
