"""Panels of fronts over clusters of prompts, as HaM draws them: planes, surfaces and radar charts. From tables alone.

A front is drawn as what it attains: below and left of its staircase lies all that some point of it dominates. Over
several seeds the bold front is the median one (the 50% level of the empirical attainment function): what the fronts
of at least half of the seeds attain. No panel draws a legend; `legend_entries` are for the whole figure's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import moocore
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes
from matplotlib.tri import Triangulation
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from mpl_toolkits.mplot3d.axes3d import Axes3D
from numpy.typing import ArrayLike

from lightning_moa import pareto
from lightning_moa.errors import UserError
from lightning_moa.reporting.fronts import by_seed
from lightning_moa.reporting.styles import Style

_FINENESS = 40
"""Steps along an edge of the grid of directions that a surface is drawn on."""
_LIGHT = np.array([0.55, 0.1, 0.83])
_LINE = 11.0
"""Height of a line of a spoke's label, in points."""


def draw_cluster_fronts(
    ax: Axes,
    points: pd.DataFrame,
    objectives: Sequence[str],
    space: str,
    styles: Mapping[str, Style],
    *,
    title: str,
    means: pd.DataFrame | None = None,
) -> None:
    """Points of all seeds faint, each seed's front a thin staircase, the median front bold.

    Args:
        ax: drawn into.
        points: from `cluster_fronts.cluster_points`.
        objectives: the two that are the axes, horizontal first.
        space: of the points.
        styles: method -> style; those that are drawn.
        title: of the panel.
        means: from `cluster_fronts.policy_means`, drawn as hollow markers.

    Raises:
        UserError: another number of objectives, or a method without points.
    """
    columns = _columns(objectives, space, 2)
    for method, style in styles.items():
        mine = _rows_of(points, method)
        ax.plot(*mine[columns].to_numpy().T, ".", color=style.colour, markersize=3.5, alpha=0.3, zorder=2)
        fronts = _fronts(mine, columns)
        if len(fronts) > 1:
            for front in fronts:
                _stairs(ax, front, color=style.colour, linewidth=0.8, alpha=0.45, zorder=3)
        line: dict[str, Any] = {"color": style.colour, "linewidth": 1.9, "zorder": 5}
        _stairs(ax, median_front(fronts), **line, **_mark(style, 6.5))
        if means is not None:
            _hollow(ax, _rows_of(means, method)[columns].to_numpy(), style)
    ax.set_xlabel(f"{objectives[0]}  (higher is better →)")
    ax.set_ylabel(f"{objectives[1]}  (higher is better →)")
    ax.set_title(title)


def draw_cluster_fronts_3d(
    ax: Axes3D,
    points: pd.DataFrame,
    objectives: Sequence[str],
    space: str,
    styles: Mapping[str, Style],
    *,
    title: str,
) -> None:
    """The edge of what each method's median front attains, seen from the side of the best values.

    Surfaces are opaque: of several methods the one that is seen in a direction is ahead there, and a method that is
    dominated is hidden. Directions start from the corner of the axes' lowest values, just below all fronts.

    Args:
        ax: with projection "3d".
        points: from `cluster_fronts.cluster_points`.
        objectives: the three that are the axes.
        space: of the points.
        styles: method -> style; those that are drawn.
        title: of the panel.

    Raises:
        UserError: another number of objectives, or a method without points.
    """
    columns = _columns(objectives, space, 3)
    fronts = [median_front(_fronts(_rows_of(points, method), columns)) for method in styles]
    low, high = _range(np.vstack(fronts))
    directions, triangles = _directions()
    # Unit cubes, so that directions and light don't depend on the rewards' units.
    faces = np.concatenate([_reach((front - low) / (high - low), directions)[triangles] for front in fronts])
    colours = _lit(
        faces, np.repeat([to_rgb(style.colour) for style in styles.values()], len(triangles), axis=0)
    )
    # One collection, so that matplotlib sorts the faces of all methods by depth together; edges close the seams.
    ax.add_collection3d(
        Poly3DCollection(low + (high - low) * faces, facecolors=colours, edgecolors=colours, lw=0.3)
    )
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    for axis, name in zip((ax.xaxis, ax.yaxis, ax.zaxis), objectives, strict=True):
        axis.set_label_text(f"{name} →")
        axis.set_pane_color("#F7F7F7")
    ax.view_init(elev=32, azim=45)
    # Smaller than its frame, which the labels of a tilted axis would leave.
    ax.set_box_aspect((1, 1, 1), zoom=0.85)
    ax.set_title(title)


def draw_radar(
    ax: PolarAxes,
    values: Mapping[str, ArrayLike],
    objectives: Sequence[str],
    styles: Mapping[str, Style],
    *,
    title: str,
    digits: int = 2,
) -> None:
    """A spoke an objective, a polygon a method: each spoke runs from the worst to the best of the methods drawn.

    The numbers themselves stand at the spokes' ends, since a spoke's length says only who is ahead.

    Args:
        ax: with projection "polar".
        values: method -> (J,) means, such as `cluster_fronts.front_means` averaged over seeds; J >= 3.
        objectives: J names.
        styles: method -> style, one for each of the values.
        title: of the panel.
        digits: of the numbers, after the point.

    Raises:
        UserError: fewer than three objectives, no methods, or values of another shape or not finite.
    """
    if len(objectives) < 3:
        raise UserError(f"radar chart: {len(objectives)} objectives; allowed are three or more")
    table = _table(values, len(objectives))
    low, high = table.min(axis=0), table.max(axis=0)
    scaled = np.where(high > low, (table - low) / np.where(high > low, high - low, 1.0), 1.0)
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(objectives)) / len(objectives)
    for method, lengths in zip(values, scaled, strict=True):
        style, closed = styles[method], [*range(len(objectives)), 0]
        ax.plot(
            angles[closed],
            lengths[closed],
            color=style.colour,
            linewidth=1.8,
            **_mark(style, 6.0),
            clip_on=False,
        )
        ax.fill(angles, lengths, color=style.colour, alpha=0.1)
    # The worst method stands off the centre, so that its polygon is seen.
    ax.set_ylim(-0.35, 1.0)
    ax.set_yticks([0.0, 0.5, 1.0], [])
    ax.set_xticks(np.mod(angles, 2 * np.pi), [])
    ax.spines["polar"].set_visible(False)
    for place, (angle, name) in enumerate(zip(angles, objectives, strict=True)):
        numbers = [(styles[method], f"{table[row, place]:.{digits}f}") for row, method in enumerate(values)]
        _label_spoke(ax, angle, name, numbers)
    # Above the label of the first spoke, which stands at the top.
    ax.set_title(title, pad=26.0 + _LINE * len(values))


def legend_entries(
    styles: Mapping[str, Style],
    panel: Literal["plane", "surface", "radar"],
    *,
    seeds: int = 1,
    means: bool = False,
    point: str = "one policy on one cluster",
) -> list[Line2D]:
    """What a figure's legend says of panels of this file.

    Args:
        styles: of the methods drawn.
        panel: which kind.
        seeds: how many stand behind the fronts of a plane; with several the thin lines are explained.
        means: whether a plane has hollow markers.
        point: what a point of a plane is.
    """
    if panel == "surface":
        square: dict[str, Any] = {"marker": "s", "markersize": 9.0, "linestyle": ""}
        return [Line2D([], [], color=style.colour, label=style.label, **square) for style in styles.values()]
    handles = [
        Line2D([], [], color=style.colour, linewidth=1.9, label=style.label, **_mark(style, 6.5))
        for style in styles.values()
    ]
    if panel == "plane":
        handles.append(Line2D([], [], marker=".", linestyle="", color="#888888", alpha=0.6, label=point))
        if seeds > 1:
            label = f"front of one of {seeds} seeds (bold: median)"
            handles.append(Line2D([], [], color="#888888", linewidth=0.8, label=label))
    if means:
        hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": "#888888", "linestyle": ""}
        handles.append(
            Line2D([], [], marker="o", markersize=5.5, **hollow, label="one policy on all prompts")
        )
    return handles


def median_front(fronts: Sequence[np.ndarray]) -> np.ndarray:
    """What at least half of some fronts attain, each (n, 2) or (n, 3), higher is better.

    Returns:
        (k, 2 or 3) points that don't dominate each other, ascending in the first objective: for every point that at
        least half of the fronts equal or dominate, one of these does too.
    """
    points = np.vstack(fronts)
    seeds = np.repeat(np.arange(len(fronts)), [len(front) for front in fronts])
    attained = -moocore.eaf(-points, seeds, percentiles=[50])[:, :-1]
    return attained[np.lexsort((-attained[:, 1], attained[:, 0]))]


def _rows_of(points: pd.DataFrame, method: str) -> pd.DataFrame:
    mine = points[points["method"] == method]
    if mine.empty:
        known = ", ".join(dict.fromkeys(points["method"])) or "none"
        raise UserError(f"figure: no points of method {method!r}; there are {known}")
    return mine


def _fronts(rows: pd.DataFrame, columns: list[str]) -> list[np.ndarray]:
    """Each seed's front in these objectives, which may be some of several; seeds ascending."""
    values = [mine[columns].to_numpy(np.float64) for _, mine in by_seed(rows)]
    return [points[pareto.is_non_dominated(points)] for points in values]


def _columns(objectives: Sequence[str], space: str, m: int) -> list[str]:
    if len(objectives) != m:
        raise UserError(f"figure: {len(objectives)} objectives in a panel with {m} axes; allowed are {m}")
    return [f"{space}_{name}" for name in objectives]


def _stairs(ax: Axes, front: np.ndarray, **look: Any) -> None:
    """The edge of what a front (n, 2) attains; markers, where the look has any, at its points."""
    front = front[np.lexsort((-front[:, 1], front[:, 0]))]
    ax.plot(*front.T, drawstyle="steps-pre", solid_joinstyle="miter", **look)


def _hollow(ax: Axes, values: np.ndarray, style: Style) -> None:
    look: dict[str, Any] = {
        "markerfacecolor": "white",
        "markeredgecolor": style.colour,
        "markeredgewidth": 1.1,
    }
    ax.plot(*values.T, linestyle="", marker=style.marker, markersize=5.5, **look, zorder=6)


def _mark(style: Style, size: float) -> dict[str, Any]:
    look = {"marker": style.marker, "markersize": size * 1.5 if style.marker == "*" else size}
    return {**look, "markerfacecolor": style.colour, "markeredgecolor": "white", "markeredgewidth": 0.5}


def _range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m,) ends of the axes: a little beyond the values (n, m), and apart even where all values are equal."""
    low, high = values.min(axis=0), values.max(axis=0)
    gap = np.where(high > low, 0.06 * (high - low), 0.5)
    return low - gap, high + gap


def _directions() -> tuple[np.ndarray, np.ndarray]:
    """(d, 3) directions into the positive orthant and (t, 3) neighbours among them, three at a time."""
    directions = pareto.preference_grid(3, 1 / _FINENESS)
    return directions, np.asarray(Triangulation(directions[:, 0], directions[:, 1]).triangles)


def _reach(front: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(d, 3) the farthest points on rays from the origin that a front (n, 3) of positive points attains."""
    with np.errstate(divide="ignore"):
        lengths = (front[:, None] / directions).min(axis=2).max(axis=0)
    return lengths[:, None] * directions


def _lit(faces: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(f, 3) colours, lighter the more a face (f, 3, 3) is turned to a light above and to the left."""
    normals = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    cosines = np.abs(normals / np.where(lengths > 0, lengths, 1.0) @ _LIGHT)[:, None]
    return np.asarray(colours + (1 - colours) * 0.45 * cosines)


def _table(values: Mapping[str, ArrayLike], m: int) -> np.ndarray:
    """(methods, m) of a radar chart's values."""
    rows = [np.asarray(value, dtype=np.float64) for value in values.values()]
    for method, row in zip(values, rows, strict=True):
        if row.shape != (m,) or not np.isfinite(row).all():
            raise UserError(
                f"radar chart: {method!r} has values {row.tolist()}; allowed are {m} finite numbers"
            )
    if not rows:
        raise UserError("radar chart: no methods; allowed is at least one")
    return np.stack(rows)


def _label_spoke(ax: PolarAxes, angle: float, name: str, numbers: Sequence[tuple[Style, str]]) -> None:
    """The objective's name beyond the end of its spoke, and under it each method's number in its colour."""
    across, up = np.cos(angle), np.sin(angle)
    side = "center" if abs(across) < 0.1 else ("left" if across > 0 else "right")
    lines = [
        ("#222222", name, "bold"),
        *((_darker(style.colour), f"{style.label} {text}", "normal") for style, text in numbers),
    ]
    # Upper labels stand on the spoke's end, lower ones hang from it.
    top = 14.0 * up + _LINE * (len(lines) - 1) * (1 + up) / 2
    for place, (colour, text, weight) in enumerate(lines):
        offset = (14.0 * across, top - place * _LINE)
        look: dict[str, Any] = {"color": colour, "fontweight": weight, "fontsize": 8.5}
        ax.annotate(
            text, (angle, 1.0), xytext=offset, textcoords="offset points", ha=side, va="center", **look
        )


def _darker(colour: str) -> tuple[float, ...]:
    """A line's colour for text, which is thinner."""
    return tuple(0.75 * part for part in to_rgb(colour))
