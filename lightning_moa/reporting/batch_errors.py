"""HaM's Theorem 1 on log-probabilities and rewards that somebody has: errors of mini-batches beside their bounds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.pareto.estimation import (
    batch_estimates,
    hypervolume_bound,
    smallest_z,
    summed_errors,
    volume_errors,
)
from lightning_moa.reporting.panels import shades
from lightning_moa.reporting.styles import Style

LINES: dict[str, tuple[str, Any, str]] = {
    "quantile": (r"error, quantile $1-\delta$", "-", "o"),
    "chained": (r"sum of deviations, quantile $1-\delta$", "--", ""),
    "bound": ("Theorem 1", ":", ""),
}
"""Column -> label, line and marker."""


def errors_table(
    logps: ArrayLike, rewards: ArrayLike, batches: Sequence[int], draws: int, delta: float, seed: int
) -> pd.DataFrame:
    """The error of a mini-batch's hypervolume for each batch size, number of policies and number of objectives.

    The first policies and the first objectives count: K = 1, 2, 4, ... and all, J = 2, ... and all. One z, the
    smallest that the theorem allows for all the policies, holds for every row. What differs between rows of one batch
    size are K and J alone, not the mini-batches.

    Args:
        logps: (K, n) log-probabilities of whole responses, in nats.
        rewards: (n, J), J >= 2, in [0, 1].
        batches: sizes B, each at least 1.
        draws: mini-batches of each size.
        delta: in (0, 1), the share of draws in which the bound may fail.
        seed: of the draws.

    Returns:
        `batch`, `policies`, `objectives`, of |vol(V) - vol(Vhat)| its `mean`, `quantile` (1 - delta) and `maximum`,
        `chained`, the same quantile of the proof's sum of deviations, `bound`, the theorem's, and `within`, the share
        of draws whose error is no larger than the bound.

    Raises:
        UserError: no batch sizes, fewer than two objectives, or what `batch_estimates` refuses.
    """
    if not len(batches):
        raise UserError("batches: none; allowed are one or more sizes")
    z = smallest_z(logps)
    rows = []
    for batch in batches:
        rng = np.random.default_rng([seed, batch])
        values, estimates = batch_estimates(logps, rewards, z, batch, draws, rng)
        k_all, j_all = values.shape
        if j_all < 2:
            raise UserError(f"rewards: {j_all} objective; allowed are two or more")
        for k in _doubling(k_all):
            for j in range(2, j_all + 1):
                errors = volume_errors(values[:k, :j], estimates[:, :k, :j])
                sums = summed_errors(values[:k, :j], estimates[:, :k, :j])
                bound = hypervolume_bound(k, j, batch, delta)
                rows.append(
                    {
                        "batch": batch,
                        "policies": k,
                        "objectives": j,
                        "mean": errors.mean(),
                        "quantile": np.quantile(errors, 1 - delta),
                        "maximum": errors.max(),
                        "chained": np.quantile(sums, 1 - delta),
                        "bound": bound,
                        "within": (errors <= bound).mean(),
                    }
                )
    return pd.DataFrame(rows)


def draw_bound(figure: Figure | SubFigure, frame: pd.DataFrame) -> None:
    """Errors and bounds over the batch size, both axes logarithmic: by K at the most objectives, by J at the most K.

    Solid lines with markers are the (1 - delta) quantile of the error, dashed ones that of the proof's sum, dotted
    ones the theorem's bound. Batch sizes whose error is 0 have no place on a logarithmic axis and are left out.

    Args:
        figure: drawn into; two panels side by side, a legend below.
        frame: of `errors_table`.
    """
    most = {name: frame[name].max() for name in ("policies", "objectives")}
    sizes = sorted(frame["batch"].unique())
    panels = figure.subplots(1, 2, sharey=True)
    for ax, varied, fixed, letter, other in (
        (panels[0], "policies", "objectives", "K", "J"),
        (panels[1], "objectives", "policies", "J", "K"),
    ):
        mine = frame[frame[fixed] == most[fixed]]
        labels = {value: f"${letter} = {value}$" for value in sorted(mine[varied].unique())}
        looks = shades(list(labels.values()))
        for value, label in labels.items():
            _draw_lines(ax, mine[mine[varied] == value].sort_values("batch"), looks[label])
        _draw_slope(ax, frame)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.set_title(f"{varied.capitalize()} {letter}, at ${other} = {most[fixed]}$")
        ax.set_xlabel("batch size B")
        ax.legend(handles=_look_handles(looks), fontsize=8, loc="upper right")
    panels[0].set_ylabel("error of the hypervolume")
    figure.legend(handles=_line_handles(), loc="outside lower center", ncols=4, fontsize=8.5)


def _doubling(most: int) -> list[int]:
    """1, 2, 4, ... below `most`, and `most`."""
    sizes = [2**i for i in range(most.bit_length()) if 2**i < most]
    return [*sizes, most]


def _draw_lines(ax: Axes, rows: pd.DataFrame, style: Style) -> None:
    for column, (_, line, marker) in LINES.items():
        shown = rows[rows[column] > 0]
        ax.plot(
            shown["batch"],
            shown[column],
            line,
            color=style.colour,
            marker=marker,
            markersize=5,
            markeredgecolor="white",
            markeredgewidth=0.5,
            linewidth=1.5,
        )


def _draw_slope(ax: Axes, frame: pd.DataFrame) -> None:
    """A guide that falls with the root of the batch, below all errors; none where all errors are 0."""
    lowest = frame.loc[frame["quantile"] > 0]
    if lowest.empty:
        return
    ends = np.array([frame["batch"].min(), frame["batch"].max()], dtype=np.float64)
    start = 0.6 * (lowest["quantile"] * np.sqrt(lowest["batch"] / ends[0])).min()
    ax.plot(ends, start * np.sqrt(ends[0] / ends), color="#999999", linewidth=1.0, zorder=1)


def _look_handles(looks: Mapping[str, Style]) -> list[Line2D]:
    return [Line2D([], [], color=style.colour, linewidth=2.5, label=label) for label, style in looks.items()]


def _line_handles() -> list[Line2D]:
    black = [
        Line2D([], [], color="black", linestyle=line, marker=marker, markersize=5, label=label)
        for label, line, marker in LINES.values()
    ]
    return [*black, Line2D([], [], color="#999999", linewidth=1.0, label="slope $-1/2$")]
