"""Bad inputs by a generator, for `bad_inputs`: settings of a wrong type, range, path or unit, and files that are torn,
mixed, reversed or in another encoding."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pandas as pd

NO_SUCH = "/dev/null/place"
"""A path below a file: nothing is there, and nothing can be made there."""
TYPES: dict[Any, tuple[str, ...]] = {
    int: ("many", "1.5", "[1]", "{a: 1}", "true and false"),
    float: ("little", "[0.1]", "{a: 1}", "1,5"),
    bool: ("perhaps", "2", "[true]"),
}
UNITS: dict[Any, tuple[str, ...]] = {int: ("10 steps", "1k", "3s"), float: ("10%", "1e-3s", "0.5 nats")}
RANGES: dict[Any, tuple[str, ...]] = {float: ("nan", "inf", "-inf")}
PATHS = re.compile(r"(^|\.)(path|results_dir|runs_dir)$")


def settings(schema: type, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, value, what is wrong with it) of a study's dataclass, every key of it and of its sections.

    What a key might well mean is left out: of one that takes any text, all but paths that lead nowhere.
    """
    hints = get_type_hints(schema)
    for item in fields(schema):
        key, default = prefix + item.name, _default(item)
        if key in ("scale", "data.name"):
            continue
        yield f"{key}x", "1", "unknown key"
        if is_dataclass(default):
            yield key, "3" if prefix else "{no such key: 1}", "type"
            yield from settings(type(default), f"{key}.")
            continue
        kinds = [each for each in get_args(hints[item.name]) or (hints[item.name],) if each is not NoneType]
        origin = get_origin(hints[item.name])
        if origin in (list, dict):
            yield key, "3", "type"
            yield key, "{a: 1}" if origin is list else "[1]", "type"
            continue
        for wrong, table in (("type", TYPES), ("unit", UNITS), ("range", RANGES)):
            yield from ((key, value, wrong) for value in table.get(kinds[0], ()))
        yield from ((key, value, "range") for value in _outside(item, kinds[0]))
        if PATHS.search(key):
            yield key, NO_SUCH, "path"


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _outside(item: Field[Any], kind: Any) -> Iterator[str]:
    """Just beyond what a key allows, and far beyond it."""
    limits = item.metadata
    if limits.get("choices"):
        yield from ("nonsense", str(limits["choices"][0]).upper() + "!", "-1")
    for name, sign in (("at_least", -1), ("above", -1), ("at_most", 1), ("below", 1)):
        if name in limits:
            step = 1 if kind is int else 1e-3
            near = limits[name] + (sign * step if name.startswith("at_") else 0)
            yield from (f"{near:g}", f"{limits[name] + sign * 1e6:.0f}")


ROWS = [
    {
        "prompt": f"Wie süß ist Kuchen {i}?",
        "response_0": f"Sehr süß, “{i}” Stück.",
        "response_1": f"Kaum, {i}.",
        "a": i % 2,
        "b": i // 2 % 2,
    }
    for i in range(40)
]


def _told(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def _form(row: dict[str, Any], form: str) -> dict[str, Any]:
    """A row of pairs in another of the forms that files of preferences have."""
    prompt, first, second = row["prompt"], row["response_0"], row["response_1"]
    labels = {"a": row["a"], "b": row["b"]}
    if form == "two responses":
        return row
    if form == "chosen and rejected":
        return {"prompt": prompt, "chosen": first, "rejected": second, **labels}
    if form == "conversations":
        sides = ([_told("user", prompt), _told("assistant", each)] for each in (first, second))
        return dict(zip(("chosen", "rejected"), sides, strict=True)) | labels
    if form == "messages":
        return {"prompt": [_told("user", prompt)], "response_0": first, "response_1": second, **labels}
    return {"prompt": prompt, "completions": [first, second], "a": [1, 2], "b": [2, row["a"]]}


FORMS = ("two responses", "chosen and rejected", "conversations", "messages", "several, rated")
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz")


def data_files(rng: random.Random) -> Iterator[tuple[str, bytes, str]]:
    """(file name, content, what is wrong with it) of each form in each format."""
    for form in FORMS:
        rows = [_form(row, form) for row in ROWS]
        for suffix in SUFFIXES:
            if suffix == ".csv" and form not in FORMS[:2]:
                continue
            name, whole = f"{form}{suffix}", _packed(rows, suffix)
            for _ in range(2):
                yield name, _torn(whole, suffix, rng), "torn"
            yield name, b"", "empty"
            yield name, bytes(rng.randrange(256) for _ in range(400)), "another file"
            other = FORMS[(FORMS.index(form) + 2) % len(FORMS)]
            if suffix in (".jsonl", ".json"):
                yield name, _packed([*rows[:20], "prompt", *rows[20:]], suffix), "mixed"
                yield name, _packed([*rows[:20], _spoiled(rows[20], rng), *rows[21:]], suffix), "mixed"
                yield name, "\n".join(json.dumps(rows)).encode(), "mixed" if suffix == ".jsonl" else "torn"
            if suffix == ".csv":
                yield name, _packed([_form(row, other) for row in ROWS], ".parquet"), "mixed"
            yield name, _packed([_reversed(row) for row in rows], suffix), "reversed"
            if suffix in (".jsonl", ".json", ".csv"):
                text = _packed(rows, suffix, ascii_alone=False).decode()
                yield name, text.encode("utf-16"), "encoding"
                yield name, text.encode("utf-32-le"), "encoding"
                yield name, text.encode("cp1252", errors="replace"), "encoding"


def sound_files() -> Iterator[tuple[str, bytes]]:
    """The same files, whole."""
    for form in FORMS:
        rows = [_form(row, form) for row in ROWS]
        for suffix in SUFFIXES:
            if suffix != ".csv" or form in FORMS[:2]:
                yield f"{form}{suffix}", _packed(rows, suffix)


def _packed(rows: Sequence[Any], suffix: str, ascii_alone: bool = True) -> bytes:
    if suffix in (".csv", ".parquet"):
        frame, out = pd.DataFrame(list(rows)), io.BytesIO()
        frame.to_csv(out, index=False, quoting=1) if suffix == ".csv" else frame.to_parquet(out)
        return out.getvalue()
    if suffix == ".json":
        return json.dumps(rows, ensure_ascii=ascii_alone).encode()
    content = "".join(json.dumps(row, ensure_ascii=ascii_alone) + "\n" for row in rows).encode()
    return gzip.compress(content, mtime=0) if suffix.endswith(".gz") else content


def _torn(whole: bytes, suffix: str, rng: random.Random) -> bytes:
    """Cut at a random place that is not between two rows."""
    place = rng.randrange(len(whole) // 4, len(whole) - 12)
    if suffix in (".jsonl", ".csv"):
        # Within a row's text.
        place = whole.index(b"Ku", place % (len(whole) // 2))
    return whole[:place]


def _spoiled(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """With a value of another type."""
    name = rng.choice([name for name in row if name not in ("a", "b")])
    return {**row, name: rng.choice([7, {"text": "no"}, [1, 2], True])}


def _reversed(row: dict[str, Any]) -> dict[str, Any]:
    """Each column under the name of the one that stands opposite."""
    return dict(zip(row, reversed(list(row.values())), strict=True))


def torn_tables(whole: bytes, rng: random.Random) -> Iterator[tuple[bytes, str]]:
    """(content, what is wrong with it) of a CSV of results."""
    header, *rows = whole.decode().splitlines(keepends=True)
    names = header.rstrip("\n").split(",")
    last = rows[-1].rstrip("\n")
    yield b"", "empty"
    yield header.encode(), "empty"
    yield whole[: rng.randrange(5, len(header) - 5)], "torn"
    yield (header + "".join(rows[:-1]) + last[: last.index(",") + 1]).encode(), "torn"
    yield b"\x00" + whole[1:], "torn"
    yield bytes(rng.randrange(256) for _ in range(300)), "another file"
    yield whole.decode().encode("utf-16"), "encoding"
    yield (",".join(reversed(names)) + "\n" + "".join(rows)).encode(), "reversed"
    yield (header + header + "".join(rows)).encode(), "mixed"
    yield whole + b"1,2,3\n", "mixed"
    number = next(place for place, each in enumerate(last.split(",")) if re.fullmatch(r"-?\d+\.\d+", each))
    for wrong in ("many", "nan", "inf", "1,5"):
        cells = last.split(",")
        cells[number] = wrong
        yield (header + "".join(rows[:-1]) + ",".join(cells) + "\n").encode(), "type"


def torn_records(whole: bytes, rng: random.Random) -> Iterator[tuple[bytes, str]]:
    """The same of a record in JSON or YAML."""
    yield b"", "empty"
    yield whole[: rng.randrange(2, 20)], "torn"
    yield b"[1, 2", "torn"
    yield b"- a\n- b\n", "mixed"
    yield b"null", "type"
    yield b"7", "type"
    yield whole.decode("latin-1").encode("utf-16"), "encoding"
    yield bytes(rng.randrange(256) for _ in range(300)), "another file"
