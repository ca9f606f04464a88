"""Tables for the terminal. Numbers are shortened here, and only here: files keep every digit."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from lightning_moa.reporting.catalogue import Standing, verdict_counts
from lightning_moa.reporting.schema import OURS, PAPER


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
