"""What becomes of policies when one objective's reward is multiplied in training: who follows it, and how far. What is
measured is never multiplied. Light: no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from rich.table import Table

from lightning_moa.config import StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.margins import spans
from lightning_moa.reporting.claims import OURS, Row, judge, judge_several
from lightning_moa.reporting.fronts import by_seed
from lightning_moa.reporting.margins import SHARE
from lightning_moa.reporting.panels import draw_bars
from lightning_moa.reporting.statistics import PerSeed, paired
from lightning_moa.reporting.styles import Style, styles_of
from lightning_moa.study.collect import Exact
from lightning_moa.study.planning import REFERENCE, objectives_of

GREY = "#777777"
NAMED = ["paper", "artefact", "scale"]
GAINS, LOSES = ("gains", ">"), ("loses", "<")
Drift = tuple[str, str, tuple[str, str], tuple[str, str]]
"""A method, its name for readers, and what it does in the multiplied objective and in the others."""


@dataclass(frozen=True)
class Part:
    """The study of one number of objectives, at all factors."""

    objectives: tuple[str, ...]
    scaled: str
    space: str
    rows: pd.DataFrame
    """scale.csv: each policy's rewards, gains over the SFT model of its seed (`gain_*`) and KL, by `factor`; where
    methods hear preferences, also `lambda_*`, a row for each that was asked for."""
    start: np.ndarray
    """(m,) rewards of the SFT model, mean over seeds."""
    exact: Exact | None

    @property
    def others(self) -> list[str]:
        """The objectives that are not multiplied."""
        return [name for name in self.objectives if name != self.scaled]

    @property
    def factors(self) -> list[float]:
        """From the smallest to the largest."""
        return sorted(float(factor) for factor in self.rows["factor"].unique())

    @property
    def methods(self) -> list[str]:
        """In the order of the rows."""
        return [str(name) for name in self.rows["method"].unique()]

    def margin(self, objectives: Sequence[str]) -> float:
        """Of the mean gain in some objectives, and of how far gains in them move: SHARE of their mean range."""
        return SHARE * float(spans(self.exact, self.rows, self.space, objectives).mean())

    @property
    def over_preferences(self) -> Part:
        """The same with a row for each method, seed and factor: the mean over its preferences."""
        keys = [*NAMED, "factor", "method", "seed"]
        values = [name for name in self.rows if name not in keys and not str(name).startswith("lambda_")]
        return replace(self, rows=self.rows.groupby(keys, sort=False)[values].mean().reset_index())


def check_factors(config: StudyConfig, key: str, factors: Sequence[float], scaled: str | None) -> None:
    """UserError for factors, under their key, or an objective that nothing can be made of."""
    fine = len(set(factors)) == len(factors) > 1 and 1.0 in factors
    if not fine or not all(np.isfinite(factor) and factor > 0 for factor in factors):
        raise UserError(
            f"{key}={list(factors)}: two or more different numbers above 0, 1 among them, are needed"
        )
    objectives = objectives_of(config)
    if scaled is not None and scaled not in objectives:
        raise UserError(f"scaled={scaled}: allowed are {', '.join(objectives)}")


def over_start(
    points: pd.DataFrame,
    space: str,
    objectives: Sequence[str],
    factor: float,
    preferences: Sequence[str] = (),
) -> pd.DataFrame:
    """The trained policies' rewards, gains over the SFT model of the same seed, and KL; `preferences`: columns of what
    they were asked for, where that tells them apart."""
    values = [f"{space}_{name}" for name in objectives]
    start = points[points["method"] == REFERENCE].set_index("seed")[values]
    mine = points[points["method"] != REFERENCE].assign(factor=factor)
    gains = mine[values].to_numpy() - start.loc[mine["seed"]].to_numpy()
    named = {f"gain_{name}": gains[:, i] for i, name in enumerate(objectives)}
    return mine[[*NAMED, "factor", "method", "seed", *preferences, *values, "kl"]].assign(**named)


def movement_of(part: Part) -> pd.DataFrame:
    """How far each policy's gains lie apart as the factor changes.

    Returns:
        For each method and seed `movement`, the largest distance between two factors, and `mean_distance`, the mean
        distance of the other factors' gains from those at factor 1; of several preferences their means. Euclidean, in
        the rewards' own units; lower is steadier.
    """
    keys, found = [*NAMED, "method", "seed"], []
    asked = [str(name) for name in part.rows if str(name).startswith("lambda_")]
    for key, rows in part.rows.groupby([*keys, *asked], sort=False, dropna=False):
        gains = rows.filter(like="gain_").to_numpy()
        apart = [float(np.linalg.norm(one - other)) for one, other in combinations(gains, 2)]
        plain = (rows["factor"] == 1).to_numpy()
        away = np.linalg.norm(gains[~plain] - gains[plain], axis=1)
        measured = {"movement": max(apart), "mean_distance": float(away.mean())}
        found.append({**dict(zip(keys, key, strict=False)), **measured})
    return pd.DataFrame(found).groupby(keys, sort=False).mean().reset_index()


def movements(part: Part) -> dict[str, PerSeed]:
    """method -> seed -> movement."""
    table = movement_of(part)
    each = {name: table[table["method"] == name] for name in part.methods}
    return {name: dict(zip(rows["seed"], rows["movement"], strict=True)) for name, rows in each.items()}


def steady_rows(
    part: Part, steady: str, title: str, where: str, groups: Mapping[str, Iterable[str]]
) -> list[Row]:
    """Ours: the method moves less than each of a group, and than each other method.

    Args:
        part: its rows.
        steady: the method.
        title: its name for readers.
        where: the place in the paper.
        groups: words of the claim -> the methods of the group.
    """
    moved = movements(part)
    looks = styles_of([name for name in moved if name != steady])
    gaps = {name: paired(moved[steady], moved[name]) for name in looks}
    head = f"{len(part.objectives)} objectives: {title} moves"
    what = f"its movement ({part.space}) -"
    margin = part.margin(part.objectives)
    rows = []
    for words, names in groups.items():
        theirs = {f"{looks[name].label}'s": gaps[name] for name in names}
        rows.append(judge_several(f"{head} {words}", where, what, theirs, "<", 0, margin=margin, whose=OURS))
    for name, style in looks.items():
        claim, statistic = f"{head} less than {style.label}", f"{what} {style.label}'s"
        rows.append(judge(claim, where, statistic, gaps[name], "<", 0, margin=margin, whose=OURS))
    return rows


def drift_rows(part: Part, where: str, drifts: Sequence[Drift]) -> list[Row]:
    """Ours: where methods that look at the scale of a gradient go as one reward grows."""
    rows, ends = [], f"factor {part.factors[-1]:g} - factor {part.factors[0]:g}"
    for method, title, own, other in drifts:
        for (verb, relation), names, whose in (
            (own, [part.scaled], part.scaled),
            (other, part.others, "the others"),
        ):
            claim = f"{title} {verb} in {whose} as the reward of {part.scaled} grows"
            what = f"mean gain in {', '.join(names)} ({part.space}), {ends}"
            change = change_of(part, method, names)
            full = f"{len(part.objectives)} objectives: {claim}"
            margin = part.margin(names)
            rows.append(judge(full, where, what, change, relation, 0.0, margin=margin, whose=OURS))
    return rows


def change_of(part: Part, method: str, objectives: list[str]) -> PerSeed:
    """Mean gain of the objectives, and over preferences, at the largest factor minus that at the smallest."""
    mine = part.rows[part.rows["method"] == method]
    mine = mine.assign(mean=mean_gain(mine, objectives))
    each = {seed: rows.groupby("factor")["mean"].mean().sort_index() for seed, rows in by_seed(mine)}
    return {seed: float(means.iloc[-1] - means.iloc[0]) for seed, means in each.items()}


def mean_gain(rows: pd.DataFrame, objectives: list[str]) -> pd.Series:
    """(n,) the mean of the objectives' gains."""
    return rows[[f"gain_{name}" for name in objectives]].mean(axis=1)


def draw_part(axes: Sequence[Axes], part: Part, styles: Mapping[str, Style]) -> None:
    """Three panels: where the policies go, means over preferences; how far, as `movement_of` has it; and how the
    multiplied objective fares, again in means."""
    means = part.over_preferences
    draw_plane(axes[0], means, styles)
    # Moved first and averaged then: policies of several preferences may move in different directions.
    draw_bars(axes[1], movements(part), styles, title="Movement (lower is steadier)")
    draw_following(axes[2], means, styles)


def draw_plane(ax: Axes, part: Part, styles: Mapping[str, Style]) -> None:
    """Two objectives: their rewards, with the exact front. More: gains in the multiplied one and in the others."""
    flat, marked = len(part.objectives) == 2, f"{part.scaled}, multiplied"
    if flat:
        columns = [f"{part.space}_{name}" for name in part.objectives]
        labels = [marked if name == part.scaled else name for name in part.objectives]
    else:
        part = replace(part, rows=part.rows.assign(others=mean_gain(part.rows, part.others)))
        columns = [f"gain_{part.scaled}", "others"]
        labels = [f"gain in {marked}", f"mean gain in {', '.join(part.others)}"]
    if flat and part.exact is not None:
        ax.plot(*part.exact.front[columns].to_numpy().T, color="black", linewidth=2.2, zorder=2)
    ax.plot(*(part.start if flat else (0, 0)), "*", color=GREY, markersize=11, zorder=2)
    draw_paths(ax, part, styles, *columns)
    ax.set_xlabel(f"{labels[0]}  (higher is better →)")
    ax.set_ylabel(f"{labels[1]}  (higher is better →)")
    ax.set_title(f"Where policies go, {len(part.objectives)} objectives")


def draw_following(ax: Axes, part: Part, styles: Mapping[str, Style]) -> None:
    """The multiplied objective's gain over the factor."""
    draw_paths(ax, part, styles, "factor", f"gain_{part.scaled}")
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    ax.set_xscale("log", base=2)
    ax.set_xticks(part.factors, [f"{factor:g}" for factor in part.factors])
    ax.minorticks_off()
    ax.set_xlabel(f"factor on {part.scaled} in training")
    ax.set_title(f"Gain in {part.scaled} over SFT")


def draw_paths(ax: Axes, part: Part, styles: Mapping[str, Style], across: str, up: str) -> None:
    """A line a method through its policies from the smallest factor to the largest; single seeds are faint."""
    for method, rows in part.rows.sort_values("factor").groupby("method", sort=False):
        style = styles[str(method)]
        if rows["seed"].nunique() > 1:
            for _, each in by_seed(rows):
                ax.plot(each[across], each[up], color=style.colour, linewidth=0.8, alpha=0.35, zorder=3)
        means = rows.groupby("factor", as_index=False).mean(numeric_only=True)
        ax.plot(means[across], means[up], color=style.colour, linewidth=1.6, zorder=4)
        marks: Any = {"color": style.colour, "marker": style.marker, "edgecolor": "white", "linewidth": 0.6}
        ax.scatter(means[across], means[up], s=sizes(len(means)) ** 2, **marks, zorder=5)


def sizes(n: int) -> np.ndarray:
    """(n,) markers' widths in points, larger for a larger factor."""
    return np.linspace(3.5, 9.5, n)


def legend(part: Part, styles: Mapping[str, Style]) -> list[Line2D]:
    """Methods, what else is drawn, and what the size of a marker means."""
    grey: Any = {"color": GREY, "linestyle": ""}
    handles = [
        Line2D([], [], color=each.colour, marker=each.marker, label=each.label) for each in styles.values()
    ]
    handles.append(Line2D([], [], **grey, marker="*", markersize=11, label="SFT"))
    if part.exact is not None:
        handles.append(Line2D([], [], color="black", linewidth=2.2, label="exact front, factor 1"))
    for factor, size in zip(part.factors, sizes(len(part.factors)), strict=True):
        handles.append(Line2D([], [], **grey, marker="o", markersize=size, label=f"x {factor:g}"))
    return handles


def summary(part: Part, title: str) -> Table:
    """Each method's movement, and its gain in the multiplied objective at each factor, means over seeds."""
    table = Table(title=f"{title}: means over seeds; gains in {part.scaled}", title_justify="left")
    for column in ("method", "movement", "mean distance", *(f"x {factor:g}" for factor in part.factors)):
        table.add_column(column, justify="left" if column == "method" else "right")
    moved = movement_of(part).groupby("method")[["movement", "mean_distance"]].mean()
    gains = part.rows.groupby(["method", "factor"])[f"gain_{part.scaled}"].mean().unstack()
    for name in part.methods:
        table.add_row(name, *(f"{cell:.3f}" for cell in (*moved.loc[name], *gains.loc[name])))
    return table
