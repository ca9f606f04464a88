"""What sets runs apart besides their methods, by their run.yaml: why their numbers may not be comparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from lightning_moa.reporting.run_record import MEASURED_WITH

Record = Mapping[str, Any] | None
Named = Sequence[tuple[str, Record]]
"""Runs by name, and what their run.yaml holds."""

WORDS = {
    "data": "data differ",
    "prompts": "held-out prompts differ",
    "decoding": "decoding differs",
    "base": "base models differ",
    "rewards": "reward models differ",
    "commit": "commits differ",
    "packages": "library versions differ",
}
DECIDING = MEASURED_WITH
"""Without the commit and the libraries, which often change no number."""
_SHOWN = 3
_LONGEST = 60
"""Letters of a value that are shown."""


def differing(runs: Named, parts: Sequence[str] = tuple(WORDS)) -> list[str]:
    """A line for each part in which any two runs differ, naming keys and values; what one of them does not say is
    passed over."""
    found = []
    for part in parts:
        known = [(name, _keys(record[part])) for name, record in runs if record and part in record]
        lines = list(_lines(known))
        if lines:
            more = f"; and in {len(lines) - _SHOWN} more settings" if len(lines) > _SHOWN else ""
            found.append(f"{WORDS[part]}: {'; '.join(lines[:_SHOWN])}{more}")
    return found


def unsaid(runs: Named, parts: Sequence[str] = tuple(WORDS)) -> list[str]:
    """One line, where records lack parts: older ones, those of other people, or none at all."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for name, record in runs:
        gone = tuple(part for part in parts if part not in (record or {}))
        if gone:
            lacking.setdefault(gone, []).append(name)
    told = [
        f"{shown_names(names)} ({'nothing at all' if len(gone) == len(parts) else ', '.join(map(_thing, gone))})"
        for gone, names in lacking.items()
    ]
    return [f"not told by run.yaml, so differences in it are not seen: {'; '.join(told)}"] if told else []


def _keys(part: Any) -> dict[str, Any]:
    if isinstance(part, Mapping):
        if set(part) == {"id", "dirty"}:
            return {"": f"{str(part['id'] or 'none')[:7]}{' with changes' if part['dirty'] else ''}"}
        return dict(part)
    return {"": part}


def _lines(known: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """One for each key that several runs have, with values that are not all the same."""
    for key in dict.fromkeys(key for _, values in known for key in values):
        there = [(name, dict(_leaves(values[key], key))) for name, values in known if key in values]
        for leaf in dict.fromkeys(leaf for _, values in there for leaf in values):
            found: dict[str, list[str]] = {}
            for name, values in there:
                found.setdefault(_text(values.get(leaf)), []).append(name)
            if len(found) > 1:
                shown = zip(_apart(list(found)), found.values(), strict=True)
                yield f"{leaf} {', '.join(f'{value} ({shown_names(names)})' for value, names in shown)}".strip()


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _leaves(each, f"{where}.{key}" if where else str(key))
    else:
        yield where, value


def _text(value: Any) -> str:
    return "none" if value is None or value == {} else str(value)


def _apart(texts: Sequence[str], begin: int | None = None) -> list[str]:
    """Different texts, shortened, from a letter on; those that would look alike from where they begin to differ."""
    if begin is None:
        short = [_short(" ".join(text.split())) for text in texts]
    else:
        short = [f"from letter {begin + 1} on {_short(repr(text[begin:]))}" for text in texts]
    for form in {each for each in short if short.count(each) > 1}:
        alike = [i for i, each in enumerate(short) if each == form]
        letters = zip_longest(*(texts[i] for i in alike))
        at = next(place for place, each in enumerate(letters) if len(set(each)) > 1)
        for i, said in zip(alike, _apart([texts[i] for i in alike], at), strict=True):
            short[i] = said
    return short


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def shown_names(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _thing(part: str) -> str:
    return WORDS[part].rpartition(" differ")[0]
