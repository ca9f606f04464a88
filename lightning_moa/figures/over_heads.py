"""What becomes of HaM as its number of heads K grows, drawn over K."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes


def draw_growth(ax: Axes, growth: pd.DataFrame) -> None:
    """Hypervolumes over K."""
    draw_over_k(ax, growth, "hypervolume", color="#882255", marker="P", label="all heads")
    draw_over_k(ax, growth, "any_four", color="#777777", marker="o", label="any four of them, on average")
    ax.set_title("Hypervolume of (c) (higher is better)")
    ax.legend(fontsize=8.5)


def draw_alive(ax: Axes, growth: pd.DataFrame) -> None:
    """Shares of heads that are alive over K."""
    draw_over_k(ax, growth, "alive", color="#882255", marker="P", label="alive")
    ax.set_ylim(-0.04, 1.04)
    ax.set_title("Share of heads alive at the end of (c)")


def draw_over_k(ax: Axes, growth: pd.DataFrame, column: str, **look: Any) -> None:
    """The mean over seeds as a line, single seeds as dots."""
    known = growth[growth[column].notna()]
    ax.plot(known["k"], known[column], ".", color=look["color"], alpha=0.5, zorder=2)
    mean = known.groupby("k")[column].mean()
    ax.plot(mean.index, mean, markeredgecolor="white", zorder=3, **look)
    ax.set_xscale("log", base=2)
    ticks = sorted(growth["k"].unique())
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.minorticks_off()
    ax.set_xlabel("number of heads K")
