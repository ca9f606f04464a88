"""What `moa compare` says of any two results, made once for a site that has nobody to ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning_moa.errors import UserError
from lightning_moa.reporting.compare import compare
from lightning_moa.reporting.compare_formats import cells_of, title_of
from lightning_moa.reporting.fronts import objectives_of
from lightning_moa.reporting.loaded import Run, reordered

MOST = 3_000
"""Pairs: of more, those that come last are left to `moa compare`."""


def comparisons(runs: Mapping[str, Run]) -> tuple[dict[str, dict[str, Any]], int]:
    """Every two of the runs that have the same objectives.

    Args:
        runs: key -> run; a run's `name` is what the tables call it.

    Returns:
        The key of a pair's first run -> the key of its second -> `title`, `rows` (a heading first) and `warnings`, or
        `error`, why they can't be compared; and how many pairs were left out.
    """
    found: dict[str, dict[str, Any]] = {key: {} for key in runs}
    left_out = 0
    ordered = _in_one_order(runs)
    for number, (one, other) in enumerate(_pairs(ordered)):
        if number < MOST:
            found[one][other] = _said([ordered[one], ordered[other]])
        else:
            left_out += 1
    return found, left_out


def _in_one_order(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Runs of the same objectives have them in the order of the first of these."""
    first: dict[frozenset[str], tuple[str, ...]] = {}
    ordered = {}
    for key, run in runs.items():
        mine = objectives_of(run.points)
        order = first.setdefault(frozenset(mine), mine)
        ordered[key] = run if mine == order else reordered(run, order)
    return ordered


def _pairs(runs: Mapping[str, Run]) -> Iterator[tuple[str, str]]:
    keys = list(runs)
    for i, one in enumerate(keys):
        for other in keys[i + 1 :]:
            if objectives_of(runs[one].points) == objectives_of(runs[other].points):
                yield one, other


def _said(runs: list[Run]) -> dict[str, Any]:
    try:
        comparison = compare(runs)
    # Records of somebody else's may hold anything; whatever it does to the comparison stands on the page.
    except Exception as error:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        return {"error": kind + str(error)}
    return {
        "title": title_of(comparison),
        "rows": cells_of(comparison),
        "warnings": comparison.warnings,
    }
