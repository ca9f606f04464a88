"""What of a run has no values in a space, and so is not compared there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lightning_moa.reporting.fronts import final_rows
from lightning_moa.reporting.loaded import Run


def lacking(run: Run, space: str) -> list[str]:
    """Lines on each method that has no values in the space, or has them for some of its seeds or policies alone."""
    key = ("lacking", space)
    if key not in run.known:
        run.known[key] = list(_lines(run, space))
    found: list[str] = run.known[key]
    return found


def _lines(run: Run, space: str) -> Iterator[str]:
    policies, measured = (
        Counter(zip(rows["method"], rows["seed"].map(int), strict=True))
        for rows in (final_rows(run.points), run.rows(space))
    )
    for method in dict.fromkeys(run.points["method"]):
        name = f"{run.name}: {method}"
        seeds = sorted(seed for each, seed in policies if each == method)
        there = [seed for seed in seeds if measured[method, seed]]
        gone = ", ".join(str(seed) for seed in seeds if seed not in there)
        n, m = (sum(counts[method, seed] for seed in there) for counts in (measured, policies))
        if not there:
            yield f"{name}: no values in space {space!r}, so it is left out"
        elif gone:
            yield f"{name}: of its seeds {gone} have no values in space {space!r} and are left out"
        if n < m:
            yield f"{name}: {n} of {m} policies have values in space {space!r}, the others are left out"
