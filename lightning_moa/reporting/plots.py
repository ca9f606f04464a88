"""Pictures of fronts: drawn from tables alone, the same bytes for the same tables."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.pareto import is_non_dominated
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.fronts import final_rows, objectives_of, preferences_of, rows_in, values_of
from lightning_moa.reporting.schema import SPACES
from lightning_moa.reporting.styles import RC, Style, styles_of

TITLES = {
    "gold": "Gold reward",
    "judge": "Held-out reward model",
    "reward": "Reward model",
    "accuracy": "Implicit accuracy",
}
FORMATS = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
"""File formats, and the metadata that would differ between days or versions, left out."""


def front_figure(
    points: pd.DataFrame,
    accuracies: pd.DataFrame | None = None,
    *,
    spaces: Sequence[str] | None = None,
    fronts: Mapping[str, ArrayLike] | None = None,
    styles: Mapping[str, Style] | None = None,
    title: str = "",
) -> Figure:
    """The fronts of all methods: a panel per space for two objectives, a matrix of projections for more.

    Where a method knows preferences, single seeds are faint and the mean over seeds at each preference is
    bold (for two objectives joined in the order of the first weight). Named policies, which don't correspond
    between seeds, are drawn for every seed, each seed's non-dominated ones joined. Each policy counts with
    its last step.

    Args:
        points: a POINTS table.
        accuracies: an ACCURACIES table of the same objectives.
        spaces: which of `gold`, `reward`, `accuracy` to show; all that have values if not given.
        fronts: space -> (k, m) samples of the exact front, drawn in black; for two objectives in the order in
            which they are to be joined.
        styles: method -> style, where `styles_of` isn't wanted.
        title: of the whole figure.

    Raises:
        UserError: a space without values.
    """
    tables = {
        "gold": points,
        "judge": points,
        "reward": points,
        "accuracy": points[:0] if accuracies is None else accuracies,
    }
    for space in spaces or ():
        if space not in SPACES:
            raise UserError(f"figure: unknown space {space!r}; allowed are {', '.join(SPACES)}")
    shown = {space: rows_in(final_rows(tables[space]), space) for space in spaces or SPACES}
    if spaces is None:
        shown = {space: rows for space, rows in shown.items() if len(rows)}
    for space, rows in shown.items():
        if rows.empty:
            raise UserError(f"figure: no values in space {space!r}; allowed are spaces that the points have")
    if not shown:
        raise UserError("figure: no values in any space; allowed are points with rewards or accuracies")
    methods = dict.fromkeys(name for rows in shown.values() for name in rows["method"])
    looks = styles_of(methods) | dict(styles or {})
    m = len(objectives_of(points))
    side = 4.1 if m == 2 else 2.5 * (m - 1)
    with canvas(max(side * len(shown), 4.6), side + 1.0, title) as figure:
        parts = figure.subfigures(1, len(shown), squeeze=False)[0]
        for part, (space, rows) in zip(parts, shown.items(), strict=True):
            _draw_space(part, rows, space, looks, (fronts or {}).get(space))
        seeds = max(rows["seed"].nunique() for rows in shown.values())
        handles = _legend([looks[name] for name in methods], bool(fronts), seeds, joined=m == 2)
        columns = max(2, min(len(handles), int(figure.get_figwidth() / 1.5)))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5)
    return figure


@contextmanager
def canvas(width: float, height: float, title: str = "") -> Iterator[Figure]:
    """A blank figure, in inches, that looks like all others where it is drawn on inside the with-block."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        yield figure


def divide(
    part: Figure | SubFigure,
    rows: int,
    columns: int,
    height: Sequence[float] = (),
    width: Sequence[float] = (),
) -> list[SubFigure]:
    """Parts of a figure, row by row, of equal size or with these ratios of heights and widths."""
    parts: Any = part.subfigures(
        rows, columns, squeeze=False, height_ratios=list(height) or None, width_ratios=list(width) or None
    )
    return list(parts.flat)


def draw_fronts(
    part: SubFigure,
    points: pd.DataFrame,
    space: str,
    *,
    front: ArrayLike | None = None,
    styles: Mapping[str, Style] | None = None,
    title: str = "",
) -> None:
    """Fronts as `front_figure` shows them, in one space and in a part of a larger figure, with their own legend.

    Args:
        part: of a `canvas`.
        points: a POINTS table, or an ACCURACIES table for that space.
        space: with values in all rows that are to be shown.
        front: (k, m) samples of the exact front.
        styles: method -> style, where `styles_of` isn't wanted.
        title: of the panel; the space's name if not given.

    Raises:
        UserError: no values in the space.
    """
    rows = rows_in(final_rows(points), space)
    if rows.empty:
        raise UserError(f"figure: no values in space {space!r}; allowed are spaces that the points have")
    methods = list(dict.fromkeys(rows["method"]))
    looks = styles_of(methods) | dict(styles or {})
    _draw_space(part, rows, space, looks, front)
    if title:
        part.axes[0].set_title(title)
    joined = len(objectives_of(points)) == 2
    handles = _legend([looks[name] for name in methods], front is not None, rows["seed"].nunique(), joined)
    if joined:
        part.axes[0].legend(handles=handles, loc="best", fontsize=8.5)
    else:
        part.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), fontsize=8.5)


def save_figure(figure: Figure, *paths: str | Path) -> None:
    """Write the figure to each path, PNG (200 dpi) or PDF by its suffix; equal figures give equal bytes.

    Raises:
        UserError: another suffix, or a file that can't be written.
    """
    for path in paths:
        suffix = Path(path).suffix.lower().removeprefix(".")
        if suffix not in FORMATS:
            raise UserError(f"{path}: no picture format {suffix!r}; allowed are .png and .pdf")
        buffer = io.BytesIO()
        with matplotlib.rc_context(RC):
            figure.savefig(buffer, format=suffix, metadata=FORMATS[suffix])
        write_atomically(path, buffer.getvalue())


def _draw_space(
    part: SubFigure, rows: pd.DataFrame, space: str, looks: Mapping[str, Style], front: ArrayLike | None
) -> None:
    objectives = objectives_of(rows)
    m = len(objectives)
    exact = None if front is None else np.asarray(front, dtype=np.float64)
    if m == 1:
        raise UserError("figure: one objective has no front; allowed are two or more")
    grid = part.subplots(m - 1, m - 1, squeeze=False, sharex="col" if m > 2 else False)
    for ax in grid.flat:
        ax.set_visible(False)
    # The lower triangle: column i, row j - 1 shows objective i against objective j.
    for i, j in combinations(range(m), 2):
        ax = grid[j - 1, i]
        ax.set_visible(True)
        _draw_panel(ax, rows, space, looks, exact, (i, j))
        ax.tick_params(labelbottom=True)
        if m == 2 or j == m - 1:
            ax.set_xlabel(f"{objectives[i]}  (higher is better →)")
        if i == 0:
            ax.set_ylabel(f"{objectives[j]}  (higher is better →)")
    grid[0, 0].set_title(TITLES[space])


def _draw_panel(
    ax: Axes,
    rows: pd.DataFrame,
    space: str,
    looks: Mapping[str, Style],
    exact: np.ndarray | None,
    axes: tuple[int, int],
) -> None:
    flat = len(objectives_of(rows)) == 2
    if exact is not None:
        if flat:
            ax.plot(*exact[:, axes].T, color="black", linewidth=2.2, zorder=2, solid_capstyle="round")
        else:
            ax.plot(*exact[:, axes].T, color="black", marker=".", markersize=2.0, linestyle="", zorder=1)
    for method, mine in rows.groupby("method", sort=False):
        style = looks[str(method)]
        if np.isnan(preferences_of(mine)).any():
            for _, seed_rows in mine.groupby("seed", sort=True):
                _draw_named(ax, values_of(seed_rows, space), style, flat, axes)
        else:
            _draw_preferences(ax, mine, space, style, flat, axes)


def _draw_named(ax: Axes, values: np.ndarray, style: Style, flat: bool, axes: tuple[int, int]) -> None:
    ax.plot(*values[:, axes].T, **_marks(style, 6.0), linestyle="", alpha=0.85, zorder=6)
    if flat:
        front = values[is_non_dominated(values)]
        front = front[np.argsort(front[:, 0], kind="stable")]
        ax.plot(*front.T, color=style.colour, linewidth=1.2, alpha=0.6, zorder=3)


def _draw_preferences(
    ax: Axes, rows: pd.DataFrame, space: str, style: Style, flat: bool, axes: tuple[int, int]
) -> None:
    weights = [f"lambda_{objective}" for objective in objectives_of(rows)]
    line: dict[str, Any] = {"color": style.colour, "solid_capstyle": "round"}
    if rows["seed"].nunique() > 1:
        for _, seed_rows in rows.groupby("seed", sort=True):
            values = values_of(seed_rows.sort_values(weights), space)[:, axes].T
            if flat:
                ax.plot(*values, **line, linewidth=0.8, alpha=0.35, zorder=3)
            faint: dict[str, Any] = {"marker": ".", "markersize": 3, "linestyle": "", "alpha": 0.4}
            ax.plot(*values, **faint, color=style.colour, zorder=3)
    means = values_of(rows.groupby(weights, as_index=False).mean(numeric_only=True), space)[:, axes].T
    ax.plot(*means, **line, **_marks(style, 6.0), linewidth=1.8, linestyle="-" if flat else "", zorder=5)


def _marks(style: Style, size: float) -> dict[str, Any]:
    # A white rim keeps markers apart where methods overlap; + and x are nothing but edge.
    edge = style.colour if style.marker in "+x" else "white"
    size = size * 1.6 if style.marker == "*" else size
    return {
        "marker": style.marker,
        "markersize": size,
        "markerfacecolor": style.colour,
        "markeredgecolor": edge,
        "markeredgewidth": 0.7 if edge == "white" else 1.6,
    }


def _legend(shown: Sequence[Style], exact: bool, seeds: int, joined: bool) -> list[Line2D]:
    """Legend entries as the panels draw them: lines where points are joined, bare markers where not."""
    line: dict[str, Any] = {"linestyle": "-" if joined else ""}
    dot: dict[str, Any] = {} if joined else {"marker": "."}
    handles = []
    if exact:
        handles.append(Line2D([], [], **line, **dot, color="black", linewidth=2.2, label="exact front"))
    for style in shown:
        look = {"color": style.colour, "linewidth": 1.8, "label": style.label, **line}
        handles.append(Line2D([], [], **look, **_marks(style, 6.0)))
    if seeds > 1:
        label = f"one of {seeds} seeds"
        handles.append(Line2D([], [], **line, **dot, color="#888888", linewidth=0.8, alpha=0.6, label=label))
    return handles
