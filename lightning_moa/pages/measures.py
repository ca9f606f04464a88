"""A part's methods in numbers: the text beside its pictures."""

from __future__ import annotations

import pandas as pd

from lightning_moa.pages.content import Panel
from lightning_moa.pages.wording import interval, short
from lightning_moa.reporting.fronts import objectives_of, values_of
from lightning_moa.reporting.loaded import Run
from lightning_moa.reporting.schema import SPACES
from lightning_moa.reporting.styles import styles_of
from lightning_moa.reporting.verdicts import Estimate, estimate

HEADER = (
    "method",
    "space",
    "seeds",
    "policies",
    "rewards, lowest to highest",
    "hypervolume",
    "regret",
    "KL, nats",
)


def measures_of(panel: Panel) -> list[tuple[str, list[str]]]:
    """For each method and space the method's name and the cells of HEADER; none where there are no points."""
    run = panel.run
    if run is None:
        return []
    found: list[tuple[str, list[str]]] = []
    for space in SPACES:
        rows = run.rows(space)
        styles = styles_of(rows["method"])
        for method, mine in rows.groupby("method", sort=False):
            name = str(method)
            cells = [
                styles[name].label,
                space,
                str(mine["seed"].nunique()),
                str(len(mine)),
                _ranges(mine, space),
                interval(_hypervolume(run.metrics, name, space)),
                _regret(run, name) if space == "gold" else "-",
                _kl(mine),
            ]
            found.append((name, cells))
    return found


def _regret(run: Run, method: str) -> str:
    """With the weight of the KL that it is under, where it is known, and the number of preferences that it is over."""
    regret, asked = run.regret(method), run.asked(method)
    if not regret:
        return "-"
    over = len({each for seed in regret for each in asked.get(seed, ())})
    under = "" if run.beta is None else f"beta {run.beta:g}, "
    return f"{interval(estimate(regret))} ({under}{over} preference{'s' * (over != 1)})"


def _ranges(rows: pd.DataFrame, space: str) -> str:
    values = values_of(rows, space)
    ends = zip(objectives_of(rows), values.min(axis=0), values.max(axis=0), strict=True)
    return "; ".join(f"{name} {low:.3g} to {high:.3g}" for name, low, high in ends)


def _hypervolume(metrics: pd.DataFrame | None, method: str, space: str) -> Estimate | None:
    if metrics is None:
        return None
    mine = metrics[(metrics["method"] == method) & (metrics["space"] == space)]
    values = {int(seed): float(each) for seed, each in zip(mine["seed"], mine["hypervolume"], strict=True)}
    return estimate(values) if values else None


def _kl(rows: pd.DataFrame) -> str:
    if "kl" not in rows.columns or not rows["kl"].notna().any():
        return "-"
    return f"{short(rows['kl'].min())} to {short(rows['kl'].max())}"
