"""Tables for the terminal. Numbers are shortened here, and only here: files keep every digit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from lightning_moa.reporting.catalogue import Standing
from lightning_moa.reporting.verdicts import FAILS, HOLDS, NOISE, ONE_SEED


def catalogue_table(standings: Sequence[Standing]) -> Table:
    """A row per artefact and scale with results, with the verdicts on the paper's claims."""
    table = Table()
    for heading in ("paper", "artefact"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it shows", overflow="fold")
    table.add_column("script", justify="center")
    table.add_column("scale", no_wrap=True)
    table.add_column("claims")
    for standing in standings:
        artefact = standing.artefact
        head = (artefact.paper, artefact.name, artefact.title, "yes" if standing.has_script else "-")
        for scale, verdicts in (standing.scales or {"-": Counter[str]()}).items():
            table.add_row(*head, scale, verdict_counts(verdicts))
            head = ("", "", "", "")
    return table


def verdict_counts(verdicts: Counter[str]) -> str:
    """Such as `3 hold, 1 within noise, 2 fail`; `-` where no claim was judged."""
    words = {HOLDS: "hold", NOISE: NOISE, FAILS: "fail", ONE_SEED: ONE_SEED}
    return ", ".join(f"{verdicts[key]} {word}" for key, word in words.items() if verdicts[key]) or "-"
