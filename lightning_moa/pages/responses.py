"""Responses that a study measured, from the folder of its runs: a few prompts, each method at each preference."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_moa.folders import refuse_links_out, run_in
from lightning_moa.pages.reading import ROWS, Cells, shown
from lightning_moa.reporting.files import read_text

PROMPTS = 3
"""Of a measurement."""
FILE = "responses.csv"
LEFT_OUT = ("sample", "prompt_index", "prompt", "response", "step", "policy", "log_ratio")


def measured_responses(record: Mapping[str, Any], runs: Path, problems: list[str]) -> list[Cells]:
    """A table for each method of a study: its first seed's responses to the first prompts.

    Args:
        record: the study's run.yaml, which names the measurements.
        runs: the folder that holds them, named by whoever asks: what the record says of it is not followed.
        problems: what can't be read is added there. A measurement that isn't in the folder is passed over.
    """
    found = []
    for method, seed, name in _measurements(record):
        try:
            folder = run_in(runs, name)
            if not (folder / FILE).is_file():
                continue
            refuse_links_out(runs, [folder / FILE])
            found.append(_first(folder / FILE, f"{method}, seed {seed}"))
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            said = " ".join(str(error).split()).replace(f"{runs}/", "").replace(str(runs), "--runs")
            problems.append(f"responses of {method}, seed {seed}: {said}")
    return found


def _measurements(record: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Method, seed and measurement of each method's first seed."""
    seen: set[str] = set()
    policies = record.get("policies")
    for each in policies if isinstance(policies, list) else []:
        if isinstance(each, Mapping) and isinstance(name := each.get("measurement"), str):
            method = str(each.get("method"))
            if method not in seen:
                seen.add(method)
                yield method, each.get("seed"), name


def _first(file: Path, title: str) -> Cells:
    rows = list(csv.DictReader(io.StringIO(read_text(file), newline="")))
    # A prompt may have been measured several times.
    first: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if None in row:
            raise ValueError(f"row {number} has more cells than the header")
        first.setdefault(row["prompt"], row["prompt_index"])
    chosen = list(first.values())[:PROMPTS]
    last = max((int(row["step"]) for row in rows), default=0)
    mine = [
        row
        for row in rows
        # The first of several responses; earlier measurements had one each.
        if row["prompt_index"] in chosen and int(row["step"]) == last and row.get("sample", "0") == "0"
    ]
    mine.sort(key=lambda row: chosen.index(row["prompt_index"]))
    others = [name for name in (rows[0] if rows else {}) if name not in LEFT_OUT]
    others.sort(key=lambda name: not name.startswith("lambda_"))
    weights = sum(name.startswith("lambda_") for name in others)
    header = ["prompt", "policy", *others[:weights], "response", *others[weights:]]
    body = [[shown(name, row[name] or "") for name in header] for row in mine[:ROWS]]
    return Cells(title, header, body, len(mine))
