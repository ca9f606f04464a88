"""What a script shows of its study at its end, for the terminal."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lightning_moa.reporting.catalogue import standing_of, verdict_counts
from lightning_moa.reporting.claim_rows import ruled_out
from lightning_moa.reporting.claims import OF_RULE, by_chance
from lightning_moa.reporting.schema import OURS, PAPER
from lightning_moa.reporting.verdicts import NOISE

WHOSE = {PAPER: "the paper's sentences", OURS: "claims of ours"}


def methods_table(title: str, metrics: pd.DataFrame, timings: pd.DataFrame) -> Table:
    """Hypervolumes, regret and costs of each method.

    Args:
        title: the study's.
        metrics: of the results' schema.
        timings: columns `method` and `seconds`, a row for each seed.
    """
    spaces = list(dict.fromkeys(metrics["space"]))
    # Where there is little room, as where no terminal is, names are folded and numbers stay whole.
    table = Table(
        title=f"{title}: hypervolume in each space, mean over seeds",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("method", overflow="fold")
    for column in (*spaces, "regret", "models", "weights", "steps", "s"):
        table.add_column(column, justify="right", no_wrap=True)
    seconds = timings.groupby("method")["seconds"].mean()
    for method, rows in metrics.groupby("method", sort=False):
        cells = [_mean(rows[rows["space"] == space]["hypervolume"]) for space in spaces]
        costs = [rows[name].max() for name in ("trained_models", "trained_parameters", "training_steps")]
        shown = ["" if pd.isna(cost) else f"{int(cost):,}" for cost in costs]
        clock = f"{seconds[method]:.0f}" if method in seconds else ""
        table.add_row(Text(str(method)), *cells, _mean(rows["mean_regret"].dropna()), *shown, clock)
    return table


def reward_model_lines(reward_models: pd.DataFrame) -> list[str]:
    """How well the reward models that were trained here order held-out pairs, the mean over seeds of each."""
    lines = []
    for model, rows in reward_models.groupby("model", sort=False) if len(reward_models) else ():
        shown = []
        for objective, own in rows.groupby("objective", sort=False):
            low, mean, high = (own[name].mean() for name in ("ci_low", "accuracy", "ci_high"))
            shown.append(f"{objective} {mean:.0%} [{low:.0%}, {high:.0%}] of {int(own['pairs'].min())}")
        lines.append(f"{model} model, held-out pairs that it orders as labelled: {', '.join(shown)}")
    return lines


def claims_table(claims: pd.DataFrame) -> Table:
    """A claim with its value, interval, bound, p and verdict in each row, the paper's sentences before ours. A verdict
    that Holm's adjustment takes back has a star."""
    table = Table(title="claims", title_justify="left", caption_justify="left")
    table.caption = f"* {NOISE} with Holm's adjustment over all rows"
    for column in ("claim", "value", "interval", "bound", "p", "verdict"):
        text = column in ("claim", "verdict")
        table.add_column(column, justify="left" if text else "right", no_wrap=column != "claim")
    for whose, words in WHOSE.items():
        mine = claims[claims["whose"] == whose]
        if len(mine):
            table.add_row(f"{words}:")
        for row in mine.to_dict("records"):
            interval = "" if np.isnan(row["ci_low"]) else f"{row['ci_low']:.3g} .. {row['ci_high']:.3g}"
            p = "" if np.isnan(row["p"]) else f"{row['p']:.2g}"
            star = "" if row["verdict"] == row["verdict_holm"] else " *"
            numbers = (f"{row['value']:.3g}", interval, f"{row['bound']:.3g}", p)
            table.add_row(Text(row["claim"]), *numbers, row["verdict"] + star)
        table.add_section()
    return table


def noise_lines(claims: pd.DataFrame) -> list[str]:
    """What each claim within noise rules out."""
    found = [(row["claim"], ruled_out(row)) for row in claims.to_dict("records")]
    return [f"{NOISE}: {claim}: {left}" for claim, left in found if left]


def claims_lines(claims: pd.DataFrame) -> list[str]:
    """How the paper's sentences and our own stand, and how many rows would hold if nothing were there."""
    lines = [
        f"{WHOSE[whose]}: {verdict_counts(standing)}"
        for whose, standing in standing_of(claims).items()
        if standing.claims
    ]
    tests = int(claims["p"].notna().sum())
    if tests:
        lines.append(
            f"by chance: of {tests} rows with an interval {by_chance(claims):.1f} would hold, and as many fail, if "
            "every true value lay at its bound"
        )
    return lines


def sensitivity_lines(sensitivity: pd.DataFrame | None) -> list[str]:
    """How many verdicts change where the reference point of hypervolumes is another one.

    A claim's statistic may name another method at each, the strongest rival there; and where one can't be asked, no
    verdict has changed.
    """
    if sensitivity is None or sensitivity.empty:
        return []
    verdicts = sensitivity.pivot_table("verdict", ["claim", "where"], "reference", aggfunc="first")
    whole = {name: verdicts[[OF_RULE, name]].dropna() for name in verdicts if name != OF_RULE}
    changed = {name: int((both[name] != both[OF_RULE]).sum()) for name, both in whole.items()}
    words = ", ".join(f"{count} change at {name!r}" for name, count in changed.items())
    return [f"reference point: {len(verdicts)} verdicts rest on it; {words}"]


def _mean(values: pd.Series) -> str:
    return "" if values.empty else f"{values.mean():.3f}"
