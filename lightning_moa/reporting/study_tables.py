"""What a script shows of its study at its end, for the terminal."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich.table import Table


def methods_table(title: str, metrics: pd.DataFrame, timings: pd.DataFrame) -> Table:
    """Hypervolumes, regret and costs of each method.

    Args:
        title: the study's.
        metrics: of the results' schema.
        timings: columns `method` and `seconds`, a row for each seed.
    """
    spaces = list(dict.fromkeys(metrics["space"]))
    table = Table(title=f"{title}: hypervolume in each space, mean over seeds", title_justify="left")
    table.add_column("method", no_wrap=True)
    for column in (*spaces, "regret", "models", "parameters", "steps", "seconds"):
        table.add_column(column, justify="right")
    seconds = timings.groupby("method")["seconds"].mean()
    for method, rows in metrics.groupby("method", sort=False):
        cells = [_mean(rows[rows["space"] == space]["hypervolume"]) for space in spaces]
        costs = [rows[name].max() for name in ("trained_models", "trained_parameters", "training_steps")]
        shown = ["" if pd.isna(cost) else f"{int(cost):,}" for cost in costs]
        clock = f"{seconds[method]:.0f}" if method in seconds else ""
        table.add_row(str(method), *cells, _mean(rows["mean_regret"].dropna()), *shown, clock)
    return table


def claims_table(claims: pd.DataFrame) -> Table:
    """A claim with its value, interval, bound and verdict in each row."""
    table = Table(title="claims", title_justify="left")
    for column in ("claim", "value", "interval", "bound", "verdict"):
        words = column in ("claim", "verdict")
        table.add_column(column, justify="left" if words else "right", no_wrap=column != "claim")
    for row in claims.to_dict("records"):
        fixed = np.isnan(row["ci_low"]) or row["ci_low"] == row["ci_high"]
        interval = "" if fixed else f"{row['ci_low']:.3g} .. {row['ci_high']:.3g}"
        table.add_row(row["claim"], f"{row['value']:.3g}", interval, f"{row['bound']:.3g}", row["verdict"])
    return table


def _mean(values: pd.Series) -> str:
    return "" if values.empty else f"{values.mean():.3f}"
