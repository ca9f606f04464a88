"""Where methods that know no preference end, in the plane of two objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from lightning_moa.reporting.styles import Style


def draw_ends(
    ax: Axes,
    frame: pd.DataFrame,
    columns: Sequence[str],
    styles: Mapping[str, Style],
    *,
    title: str,
    front: ArrayLike | None = None,
) -> None:
    """One marker a method: its mean over seeds, single seeds small and faint.

    Args:
        ax: drawn into, with a legend.
        frame: a column `method` and the two columns; one row for each method and seed.
        columns: horizontal and vertical, higher is better.
        styles: method -> style; those that are drawn.
        title: of the panel.
        front: (k, 2) points of the exact front in the order in which they are joined, drawn in black.
    """
    handles = []
    if front is not None:
        line: dict[str, Any] = {"color": "black", "linewidth": 2.2, "zorder": 2, "label": "exact front"}
        handles += ax.plot(*np.asarray(front, dtype=np.float64).T, **line)
    for method, style in styles.items():
        values = frame[frame["method"] == method][list(columns)].to_numpy()
        mark: dict[str, Any] = {"marker": style.marker, "color": style.colour, "linestyle": ""}
        size = 13.0 if style.marker == "*" else 9.0
        if len(values) > 1:
            ax.plot(*values.T, **mark, markersize=0.5 * size, alpha=0.4, zorder=3)
        ax.plot(*values.mean(axis=0), **mark, markersize=size, markeredgecolor="white", zorder=5)
        handles.append(Line2D([], [], **mark, markersize=0.8 * size, label=style.label))
    ax.set_title(title)
    ax.legend(handles=handles, fontsize=8)
