"""Panels beside fronts: what else a policy does as its preference moves. Drawn from tables alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from lightning_moa.reporting.styles import Style, styles_of


def shades(labels: Sequence[str], colours: str = "viridis_r", marker: str = "o") -> dict[str, Style]:
    """A style for each of an ordered series (steps of a training, values of a setting), light to dark."""
    ramp = matplotlib.colormaps[colours](np.linspace(0.15, 0.95, max(len(labels), 1)))
    return {
        label: Style(label, matplotlib.colors.to_hex(colour), marker)
        for label, colour in zip(labels, ramp, strict=True)
    }


def draw_along_weight(
    ax: Axes,
    frame: pd.DataFrame,
    column: str,
    objective: str,
    *,
    title: str,
    label: str = "",
    styles: Mapping[str, Style] | None = None,
    exact: ArrayLike | None = None,
) -> None:
    """A column against the weight lambda of an objective: the mean over seeds bold, single seeds faint.

    Preferences that give the objective an equal weight (m > 2) are averaged, those of the best policies too. Methods
    without a preference, and rows where the column is empty, are left out.

    Args:
        ax: drawn into.
        frame: columns `method`, `seed`, `lambda_<objective>` and the column.
        column: what is shown.
        objective: whose weight is the horizontal axis.
        title: of the panel.
        label: of the vertical axis.
        styles: method -> style, where `styles_of` isn't wanted.
        exact: (k, 2) weights and values of the best policies, drawn in black.
    """
    weight = f"lambda_{objective}"
    known = frame[frame[weight].notna() & frame[column].notna()]
    looks = styles_of(known["method"]) | dict(styles or {})
    if exact is not None:
        weights, values = np.asarray(exact, dtype=np.float64).T
        best = pd.Series(values).groupby(weights).mean()
        ax.plot(best.index, best, color="black", linewidth=2.2, zorder=2)
    for method, rows in known.groupby("method", sort=False):
        style = looks[str(method)]
        if rows["seed"].nunique() > 1:
            for _, seed_rows in rows.groupby("seed", sort=True):
                line = seed_rows.groupby(weight)[column].mean()
                ax.plot(line.index, line, color=style.colour, linewidth=0.8, alpha=0.35, zorder=3)
        line = rows.groupby(weight)[column].mean()
        ax.plot(
            line.index,
            line,
            color=style.colour,
            linewidth=1.6,
            marker=style.marker,
            markersize=4.5,
            markeredgecolor="white",
            markeredgewidth=0.5,
            zorder=5,
        )
    ax.set_title(title)
    ax.set_xlabel(f"weight of {objective}")
    ax.set_ylabel(label)


def draw_bars(
    ax: Axes, values: Mapping[str, Mapping[int, float]], styles: Mapping[str, Style], *, title: str
) -> None:
    """One bar a method: the mean over seeds, single seeds as dots.

    Args:
        ax: drawn into.
        values: method -> seed -> value.
        styles: method -> style.
        title: of the panel.
    """
    for place, (method, per_seed) in enumerate(values.items()):
        each = list(per_seed.values())
        ax.bar(place, np.mean(each), color=styles[method].colour, width=0.7, zorder=2)
        if len(each) > 1:
            ax.plot([place] * len(each), each, ".", color="black", markersize=4, zorder=3)
    ax.set_xticks(range(len(values)), [styles[method].label for method in values], rotation=35, ha="right")
    ax.grid(axis="x", visible=False)
    ax.set_title(title)


def draw_grouped_bars(
    ax: Axes,
    values: Mapping[str, Mapping[str, Mapping[int, float]]],
    styles: Mapping[str, Style],
    *,
    title: str,
) -> None:
    """A group of bars for each name, a bar for each series: the mean over seeds, single seeds as dots.

    Args:
        ax: drawn into.
        values: name of the group -> series -> seed -> value; the same series in every group.
        styles: series -> style.
        title: of the panel.
    """
    for place, group in enumerate(values.values()):
        width = 0.8 / len(group)
        for i, (series, per_seed) in enumerate(group.items()):
            x, each = place - 0.4 + (i + 0.5) * width, list(per_seed.values())
            label = styles[series].label if place == 0 else None
            ax.bar(x, np.mean(each), color=styles[series].colour, width=0.9 * width, zorder=2, label=label)
            if len(each) > 1:
                ax.plot([x] * len(each), each, ".", color="black", markersize=4, zorder=3)
    ax.set_xticks(range(len(values)), list(values))
    ax.grid(axis="x", visible=False)
    ax.set_title(title)


def draw_over_steps(
    ax: Axes, frame: pd.DataFrame, column: str, style: Style, *, line: str = "-", faint: bool = True
) -> None:
    """A column over a training's steps: the mean over seeds bold, single seeds faint.

    Args:
        ax: drawn into.
        frame: columns `seed`, `step` and the column; several rows of a seed's step are averaged.
        column: what is shown; rows where it is empty are left out.
        style: of the line.
        line: matplotlib's style of the mean's line.
        faint: whether single seeds are shown.
    """
    known = frame[frame[column].notna()]
    if faint and known["seed"].nunique() > 1:
        for _, rows in known.groupby("seed", sort=True):
            each = rows.groupby("step")[column].mean()
            ax.plot(each.index, each, color=style.colour, linewidth=0.8, alpha=0.35, zorder=3)
    mean = known.groupby("step")[column].mean()
    ax.plot(mean.index, mean, line, color=style.colour, linewidth=1.8, zorder=5, label=style.label)
    ax.set_xlabel("update")
