"""Reading rows: local files and folders, or the hub at a pinned commit.

Every frame that leaves this file has the index (file, row), row counted from 1 (for JSON lines it is the
line), so that a later complaint can say where a value stands.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_moa.errors import UserError
from lightning_moa.turns import unmarked

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".jsonl", ".json", ".csv", ".parquet", ".arrow")
PACKINGS = (".gz", ".xz")
METADATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
"""Files that tell of a data set in its folder, as `save_to_disk` and the hub leave them; they hold no rows."""
TRAIN_WORDS = {"train", "training"}
EVAL_WORDS = {"test", "eval", "evaluation", "valid", "validation", "dev"}
COMMIT = re.compile(r"[0-9a-f]{40}")


def read_local(
    path: str | Path, by_name: bool = True, below: bool = True, key: str = "data.path"
) -> dict[str, pd.DataFrame]:
    """The rows of a file, or of all files below a folder: {"train": frame} or {"train": ..., "eval": ...}.

    A folder may be one that `datasets` has saved, or a copy of the hub's: files that tell of the data (`METADATA`),
    caches and what is hidden, files or folders, are no data.

    In a folder, a file whose name or sub-folder holds the word train (or training) goes to "train"; one with
    test, eval, evaluation, valid, validation or dev goes to "eval". Words are what stands between dots,
    dashes and underscores, as in `test-00000-of-00001.parquet`. Where no name says anything (and for a single
    file, whatever its name) all rows are "train", and the caller splits them. `by_name=False` does so always.
    `below=False` leaves out what lies in sub-folders. `key` names the path in errors.
    Raises `UserError` where a path is missing, no file has a known format, or names say something only in
    part.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return {"train": _concat([(path.name, read_file(path))])}
    if not path.is_dir():
        raise UserError(f"{key} {path} is not there: give a file or a folder of {_formats()}")
    files = sorted(
        file
        for file in path.glob("**/*" if below else "*")
        if file.is_file() and _is_data(file.relative_to(path))
    )
    if not files:
        raise UserError(f"the folder {key} {path} holds no file of the formats {_formats()}")
    sides = {file: side_of(file.relative_to(path)) if by_name else None for file in files}
    unnamed = [file for file, side in sides.items() if side is None]
    if len(unnamed) == len(files):
        sides = dict.fromkeys(files, "train")
    elif unnamed:
        raise UserError(f"{unnamed[0]} says neither train nor test in its name, as other files of {path} do")
    elif "train" not in sides.values():
        raise UserError(f"the folder {path} holds files named test or eval, but none named train")
    splits = dict.fromkeys(side for side in sides.values() if side is not None)
    return {
        split: _concat([(str(f.relative_to(path)), read_file(f)) for f in files if sides[f] == split])
        for split in sorted(splits, reverse=True)
    }


def size_of(path: str | Path | None) -> int:
    """Bytes of a file, or of all files below a folder; 0 where there is none."""
    root = Path(path or "").expanduser()
    files = root.rglob("*") if path and root.is_dir() else [root]
    return sum(file.stat().st_size for file in files if file.is_file())


def _is_data(file: Path) -> bool:
    """Whether a file, named within its folder, is one of rows."""
    hidden = any(part.startswith((".", "__")) for part in file.parts)
    cached = file.suffix == ".arrow" and file.name.startswith("cache-")
    return format_of(file) is not None and not hidden and not cached and file.name not in METADATA


def format_of(file: Path) -> str | None:
    """The format's suffix, one of `FORMATS`, packed or not; None if it is another."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in PACKINGS:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None


def read_file(file: Path) -> pd.DataFrame:
    """One file's rows, values as they stand (no guessing of dates or numbers; csv values are all text).

    A `.json` file is a list of objects, or, as published sets have it, one object a line.
    Raises `UserError` for an unknown format, a file that is empty, damaged, or not valid.
    """
    import pandas as pd

    kind = format_of(file)
    if kind is None:
        raise UserError(f"{file} is of no known format: allowed are {_formats()}")
    content = _unpack(file)
    if not content.strip():
        raise UserError(f"{file} is empty")
    if kind == ".parquet":
        try:
            frame = pd.read_parquet(io.BytesIO(content))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} is not a readable parquet file: {_first_line(error)}") from error
        frame.index = pd.RangeIndex(1, len(frame) + 1)
    elif kind == ".arrow":
        frame = _arrow_rows(content, file)
    elif kind == ".csv":
        frame = _csv_rows(_text(content, file), file)
    else:
        rows = _json_rows(_text(content, file), file)
        # As objects: pandas' own texts cannot hold halves of characters, which are dropped and counted later.
        frame = pd.DataFrame(list(rows.values()), index=list(rows), dtype=object)
    if frame.empty:
        raise UserError(f"{file} holds no rows")
    return frame


def _csv_rows(text: str, file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        _check_header(text, file)
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (csv.Error, pd.errors.ParserError) as error:
        raise UserError(f"{file} is not valid csv: {_first_line(error)}") from error
    if len(frame) and not isinstance(frame.index, pd.RangeIndex):
        # Of what a row has too much pandas makes names of rows, and each column's values stand in the one before.
        count = len(frame.columns)
        raise UserError(
            f"{file}, row 1: {count + frame.index.nlevels} values, and the header names {count} columns"
        )
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def _check_header(text: str, file: Path) -> None:
    """Raise a `UserError` for two columns of one name, of which pandas would call the second another."""
    names = next(csv.reader(io.StringIO(text.lstrip())), [])
    for name, count in Counter(names).items():
        if name and count > 1:
            raise UserError(f"{file}: {count} columns are called {name!r}; one of a name is allowed")


def read_hub(
    hub_id: str,
    revision: str | None,
    splits: Mapping[str, str],
    *,
    subset: str | None = None,
    data_dir: str | None = None,
    data_files: Mapping[str, str] | None = None,
) -> dict[str, pd.DataFrame]:
    """Rows of a hub data set at one commit; `splits` maps our split ("train", "eval") to the hub's name, and `subset`
    is the hub's name of a part with rows of its own form.

    Raises `UserError` where no commit is given (a branch's name would not pin anything), where the hub can't
    be reached, or where the set at that commit lacks a split. Code from the hub is never run.
    """
    if revision is None or not COMMIT.fullmatch(revision):
        raise UserError(
            f"{hub_id} is read from the hub at a pinned commit only: give data.revision=<commit> "
            f"(40 hex digits), or data.path=<local file or folder>; got {revision!r}"
        )
    import datasets

    options = {"name": subset, "data_dir": data_dir, "data_files": dict(data_files) if data_files else None}
    try:
        loaded = datasets.load_dataset(hub_id, revision=revision, **options)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"{hub_id} at {revision} could not be read from the hub ({_first_line(error)}); "
            f"data.path=<local file or folder> reads it without a network"
        ) from error
    absent = [name for name in splits.values() if name not in loaded]
    if absent:
        raise UserError(f"{hub_id} at {revision} has no split {absent[0]!r}; it has {', '.join(loaded)}")
    where = f"{hub_id}/{data_dir}" if data_dir else hub_id
    return {ours: _from_hub(f"{where} {theirs}", loaded[theirs]) for ours, theirs in splits.items()}


def require_columns(frame: pd.DataFrame, columns: Iterable[str], instead: str = "") -> None:
    """Raise a `UserError` that names the first missing column, lists those that are there, and says what may do."""
    for column in columns:
        if column not in frame.columns:
            there = ", ".join(map(str, frame.columns))
            raise UserError(f"{place(frame, 0)[0]} has no column {column!r}; it has {there}{instead}")


def require_prompt(frame: pd.DataFrame, column: str) -> None:
    """As `require_columns`, where `data.prompt_column` may name another."""
    require_columns(frame, [column], "; data.prompt_column=<column> says which are the prompts")


def texts(frame: pd.DataFrame, column: str) -> list[str | None]:
    """A column's texts; None for a missing value. Raises `UserError` for a value that is not text."""
    require_columns(frame, [column])
    found = values(frame, column)
    for position, value in enumerate(found):
        if value is not None and not isinstance(value, str):
            file, row = place(frame, position)
            raise UserError(
                f"{file}, row {row}, column {column!r}: text is expected, got {type(value).__name__}"
            )
    return [None if value is None else unmarked(value) for value in found]


def values(frame: pd.DataFrame, column: str) -> list[Any]:
    """A column's values as plain Python objects, lists for arrays, None where one is missing (null, NaN)."""
    series = frame[column].astype(object)
    return [_plain(value) for value in series.where(series.notna(), None).tolist()]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value.tolist()] if getattr(value, "ndim", 0) else value


def number(value: Any) -> float | None:
    """A value, or the text of one, as a finite number; None for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def place(frame: pd.DataFrame, position: int) -> tuple[str, int]:
    """(file, row) of a frame's row at a position."""
    file, row = frame.index[position]
    return str(file), int(row)


def _concat(parts: list[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([frame for _, frame in parts], keys=[name for name, _ in parts])


def _from_hub(where: str, loaded: Any) -> pd.DataFrame:
    import pandas as pd

    frame = loaded.to_pandas()
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return _concat([(where, frame)])


def side_of(relative: Path) -> str | None:
    """The split that the words of a file's name tell, else those of its folders from the inside out."""
    for part in reversed(relative.parts):
        words = set(re.split(r"[-_.\s]+", part.lower()))
        if words & TRAIN_WORDS:
            return "train"
        if words & EVAL_WORDS:
            return "eval"
    return None


@lru_cache(maxsize=4096)
def folder_of(file: str) -> str:
    """The folder that a file, named within its data set, lies in, but for those that only say train or test."""
    folders = Path(file).parts[:-1]
    return "/".join(folder for folder in folders if side_of(Path(folder)) is None)


def _unpack(file: Path) -> bytes:
    content = file.read_bytes()
    packing = file.suffix.lower()
    try:
        if packing == ".gz":
            return gzip.decompress(content)
        if packing == ".xz":
            return lzma.decompress(content)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{file} is cut short or damaged: {_first_line(error)}") from error
    return content


def _text(content: bytes, file: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: byte {error.start} cannot be decoded") from error


def _arrow_rows(content: bytes, file: Path) -> pd.DataFrame:
    """The rows of a stream or a file of Arrow's."""
    import pandas as pd
    import pyarrow as pa

    opened = pa.ipc.open_file if content.startswith(b"ARROW1") else pa.ipc.open_stream
    try:
        frame = opened(io.BytesIO(content)).read_all().to_pandas()
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not a readable arrow file: {_first_line(error)}") from error
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


class _Doubled(Exception):
    """An object names a value twice: one of them would vanish without a word."""


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise _Doubled(f"{doubled!r} is there twice in one object; allowed is once")
    return found


def _json_rows(text: str, file: Path) -> dict[int, dict[str, Any]]:
    """Row number to row. Lines are split at newlines only, as JSON lets other separators stand in strings."""
    if text.lstrip().startswith("["):
        try:
            items = json.loads(text, object_pairs_hook=_named_once)
        except json.JSONDecodeError as error:
            raise UserError(f"{file}, line {error.lineno}: not valid JSON ({error.msg})") from error
        except (_Doubled, ValueError, RecursionError) as error:
            raise UserError(f"{file}: {_first_line(error)}") from error
        rows = dict(enumerate(items, start=1))
        word = "row"
    else:
        rows, word = {}, "line"
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                rows[number] = json.loads(line, object_pairs_hook=_named_once)
            except json.JSONDecodeError as error:
                raise UserError(f"{file}, line {number}: not valid JSON ({error.msg})") from error
            except (_Doubled, ValueError, RecursionError) as error:
                raise UserError(f"{file}, line {number}: {_first_line(error)}") from error
    for number, row in rows.items():
        if not isinstance(row, dict):
            raise UserError(
                f"{file}, {word} {number}: an object with named values is expected, got {type(row).__name__}"
            )
    return rows


def _formats() -> str:
    return f"{', '.join(FORMATS)}, each also with {' or '.join(PACKINGS)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
