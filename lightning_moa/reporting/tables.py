"""Tables for the terminal. Numbers are shortened here, and only here: files keep every digit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from lightning_moa.reporting.catalogue import Standing, verdict_counts
from lightning_moa.reporting.compare import Comparison, Entry
from lightning_moa.reporting.schema import OURS, PAPER


def comparison_table(comparison: Comparison) -> Table:
    """A row per run and method; `dominates` names the numbers of the rows that it dominates."""
    corner = ", ".join(
        f"{objective} {value:.4g}"
        for objective, value in zip(comparison.objectives, comparison.reference, strict=True)
    )
    table = Table(title=f"{comparison.space} space, reference point: {corner}", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("run", overflow="fold")
    table.add_column("method", overflow="fold")
    for heading in ("seeds", "hypervolume", "non-dominated", "spacing"):
        table.add_column(heading, justify="right")
    table.add_column("dominates")
    for number, (entry, beaten) in enumerate(zip(comparison.entries, comparison.dominated, strict=True), 1):
        table.add_row(
            str(number),
            entry.run,
            entry.method,
            str(len(entry.front)),
            _volume(entry),
            f"{entry.non_dominated:.1f} of {_size(entry):.1f}",
            "-" if math.isnan(entry.spacing) else f"{entry.spacing:.4g}",
            ", ".join(f"#{index + 1}" for index in beaten) or "-",
        )
    return table


def catalogue_table(standings: Sequence[Standing]) -> Table:
    """A row per artefact and scale with results, with the verdicts on the paper's sentences and on claims of ours."""
    table = Table(caption=_by_chance(standings), caption_justify="left")
    for heading in ("paper", "artefact"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it shows", overflow="fold")
    table.add_column("script", justify="center")
    table.add_column("scale", no_wrap=True)
    table.add_column("the paper's sentences")
    table.add_column("claims of ours")
    for standing in standings:
        artefact = standing.artefact
        head = (artefact.paper, artefact.name, artefact.title, "yes" if standing.has_script else "-")
        for scale, claims in (standing.scales or {"-": {}}).items():
            counts = [verdict_counts(claims[whose]) if claims else "-" for whose in (PAPER, OURS)]
            table.add_row(*head, scale, *counts)
            head = ("", "", "", "")
    return table


def _by_chance(standings: Sequence[Standing]) -> str:
    count = sum(sum(standing.by_chance.values()) for standing in standings)
    return f"by chance {count:.1f} of all claims would hold, and as many fail, if every true value lay at its bound"


def _volume(entry: Entry) -> str:
    if entry.interval is None:
        return f"{entry.hypervolume:.4g}"
    return f"{entry.hypervolume:.4g} [{entry.interval[0]:.4g}, {entry.interval[1]:.4g}]"


def _size(entry: Entry) -> float:
    return sum(len(values) for values in entry.front.values()) / len(entry.front)
