"""Ours: which methods follow an objective whose reward is multiplied. The reason for GAPO, shown directly.

    python experiments/gapo/figure_scale.py [scale=...] [multiplies=reward|objective] [factors=[...]] [key=value ...]

The scale of a learned reward is arbitrary. Here one objective's reward is multiplied in training, by each of
`factors`, and what comes out is measured in rewards that are not multiplied. Trains each method's policy for each
factor, with the study's objectives and, in the synthetic world, with one more; writes the CSVs of each factor to the
folder m<m>/x<factor> of results/gapo/figure_scale/<scale>/, those of all factors to m<m> (scale.csv, movement.csv),
and the claims and the picture above.

A method's movement is the largest Euclidean distance between its gains over the SFT model, one for each objective, at
any two factors. With multiplies=reward the KL term of the objective remains as it is, so a factor above 1 also loosens
the pull to the reference for that objective, and one below 1 leaves little else of it, in all methods alike. With
multiplies=objective score and KL term are multiplied together: the gradient itself, by c, of which p = 1 is free. The
results of the second lie in results/gapo/figure_scale_objective/. Safe RLHF's thresholds are multiplied in neither.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from rich.table import Table

from lightning_moa.config import SYNTHETIC, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.methods.products import (
    GAPO_P1_PPO,
    GAPO_P2_PPO,
    LINEAR_PPO,
    MGDA_PPO,
    SAFE_RLHF_PPO,
    Product,
)
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.fronts import by_seed, final_rows
from lightning_moa.reporting.panels import draw_bars
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed, paired
from lightning_moa.reporting.styles import Style, styles_of
from lightning_moa.study.collect import Exact
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import REFERENCE, objectives_of
from lightning_moa.study.results import Artefact, Judged, print_claims
from lightning_moa.study.script import script
from lightning_moa.study.study import Study
from lightning_moa.world import World

METHODS = {
    "linear": LINEAR_PPO,
    "mgda": MGDA_PPO,
    "gapo_p1": GAPO_P1_PPO,
    "gapo_p2": GAPO_P2_PPO,
    "safe_rlhf": SAFE_RLHF_PPO,
}
STEADY = "gapo_p1"
WHERE = "rescaled gradients"
GREY = "#777777"


@dataclass
class FigureScaleConfig(StudyConfig):
    """A study, and what is multiplied in it by how much."""

    factors: list[float] = option(
        [0.125, 1.0, 8.0], "what the reward is multiplied by in training, 1 among them"
    )
    multiplies: str = option(
        "reward", "what is multiplied: the score, or score and KL term alike", choices=("reward", "objective")
    )
    scaled: str | None = option(None, "the objective whose reward is multiplied; empty: each study's last")


@dataclass(frozen=True)
class Part:
    """The study of one number of objectives, at all factors."""

    objectives: tuple[str, ...]
    scaled: str
    space: str
    rows: pd.DataFrame
    """scale.csv: each policy's rewards, gains over the SFT model of its seed (`gain_*`) and KL, by `factor`."""
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


def main(config: FigureScaleConfig, console: Console) -> None:
    check_options(config)
    artefact = Artefact.begin("gapo", name_of(config), config)
    parts = [conduct_part(config, names, console) for names in sets_of(config)]
    claims = Judged(claims_frame([row for part in parts for row in judge_claims(part, config.multiplies)]))
    claims.write(artefact.folder)

    pictures = [artefact.folder / f"figure_scale.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(parts, config.multiplies), *pictures)
    for part in parts:
        console.print(summary(part))
    print_claims(console, claims, pictures)


def name_of(config: FigureScaleConfig) -> str:
    """Of the artefact."""
    return "figure_scale" if config.multiplies == "reward" else "figure_scale_objective"


def check_options(config: FigureScaleConfig) -> None:
    """UserError for factors or an objective that nothing can be made of."""
    factors = config.factors
    fine = len(set(factors)) == len(factors) > 1 and 1.0 in factors
    if not fine or not all(np.isfinite(factor) and factor > 0 for factor in factors):
        raise UserError(f"factors={factors}: two or more different numbers above 0, 1 among them, are needed")
    objectives = objectives_of(config)
    if config.scaled is not None and config.scaled not in objectives:
        raise UserError(f"scaled={config.scaled}: allowed are {', '.join(objectives)}")


def studies(config: FigureScaleConfig) -> list[tuple[str, FigureScaleConfig, Mapping[str, Product]]]:
    """All of them, with labels, for `moa plan`."""
    return [
        (
            f"m = {len(names)}, x {factor:g}",
            settings_for(config, names, scaled_of(config, names), factor),
            METHODS,
        )
        for names in sets_of(config)
        for factor in config.factors
    ]


def scaled_of(config: FigureScaleConfig, objectives: tuple[str, ...]) -> str:
    """The objective that is multiplied."""
    return config.scaled or objectives[-1]


def sets_of(config: FigureScaleConfig) -> list[tuple[str, ...]]:
    """The objectives of each study: the configuration's, and with one more where the synthetic world has one."""
    own = objectives_of(config)
    more = [name for name in World.objectives if name not in own] if config.data.name == SYNTHETIC else []
    return [own, (*own, more[0])] if more else [own]


def conduct_part(config: FigureScaleConfig, objectives: tuple[str, ...], console: Console) -> Part:
    """Train and measure with these objectives at each factor, and write the files."""
    scaled = scaled_of(config, objectives)
    rows = []
    for factor in config.factors:
        own = settings_for(config, objectives, scaled, factor)
        artefact = Artefact.begin("gapo", name_of(config), own, part=f"m{len(objectives)}/x{factor:g}")
        collected = conduct(own, METHODS, console)
        tables = artefact.tables(collected)
        artefact.write(collected, tables, None)
        measured = final_rows(tables.points)
        rows.append(over_start(measured, collected.space, objectives, factor))
    values = [f"{collected.space}_{name}" for name in objectives]
    # The SFT model is the same at every factor.
    start = measured[measured["method"] == REFERENCE][values].mean().to_numpy()
    part = Part(
        objectives, scaled, collected.space, pd.concat(rows, ignore_index=True), start, collected.exact
    )
    for file, frame in {"scale.csv": part.rows, "movement.csv": movement_of(part)}.items():
        write_atomically(artefact.folder.parent / file, frame.to_csv(index=False, lineterminator="\n"))
    return part


def settings_for(
    config: FigureScaleConfig, objectives: tuple[str, ...], scaled: str, factor: float
) -> FigureScaleConfig:
    """The study of these objectives at a factor; at 1 the very study of other scripts, so that runs are shared."""
    own = deepcopy(config)
    own.objectives = list(objectives)
    if factor != 1:
        scales = own.ppo.reward_scale if config.multiplies == "reward" else own.ppo.objective_scale
        scales[scaled] = factor * scales.get(scaled, 1.0)
        own.methods = {name: replace(each, watch=0) for name, each in own.methods.items()}
    return own


def over_start(points: pd.DataFrame, space: str, objectives: tuple[str, ...], factor: float) -> pd.DataFrame:
    """The trained policies' rewards, gains over the SFT model of the same seed, and KL."""
    values = [f"{space}_{name}" for name in objectives]
    start = points[points["method"] == REFERENCE].set_index("seed")[values]
    mine = points[points["method"] != REFERENCE].assign(factor=factor)
    gains = mine[values].to_numpy() - start.loc[mine["seed"]].to_numpy()
    named = {f"gain_{name}": gains[:, i] for i, name in enumerate(objectives)}
    return mine[["paper", "artefact", "scale", "factor", "method", "seed", *values, "kl"]].assign(**named)


def movement_of(part: Part) -> pd.DataFrame:
    """How far each policy's gains lie apart as the factor changes.

    Returns:
        For each method and seed `movement`, the largest distance between two factors, and `mean_distance`, the mean
        distance of the other factors' gains from those at factor 1. Euclidean, in the rewards' own units; lower is
        steadier.
    """
    keys, found = ["paper", "artefact", "scale", "method", "seed"], []
    for key, rows in part.rows.groupby(keys, sort=False):
        gains = rows.filter(like="gain_").to_numpy()
        apart = [float(np.linalg.norm(one - other)) for one, other in combinations(gains, 2)]
        plain = (rows["factor"] == 1).to_numpy()
        away = np.linalg.norm(gains[~plain] - gains[plain], axis=1)
        measured = {"movement": max(apart), "mean_distance": float(away.mean())}
        found.append({**dict(zip(keys, key, strict=True)), **measured})
    return pd.DataFrame(found)


def movements(part: Part) -> dict[str, PerSeed]:
    """method -> seed -> movement."""
    table = movement_of(part)
    each = {name: table[table["method"] == name] for name in METHODS}
    return {name: dict(zip(rows["seed"], rows["movement"], strict=True)) for name, rows in each.items()}


def judge_claims(part: Part, multiplies: str) -> list[Row]:
    """GAPO with p = 1 moves least; linear scalarisation drifts to the multiplied objective, MGDA from it. Where score
    and KL term are multiplied alike p = 1 does not move at all, by its weights' very form, and is not judged."""
    return [*(steady_claims(part) if multiplies == "reward" else []), *drift_claims(part)]


def steady_claims(part: Part) -> list[Row]:
    """GAPO with p = 1 moves less than any other method, and than each of them."""
    moved = movements(part)
    mine, others = moved[STEADY], {name: each for name, each in moved.items() if name != STEADY}
    # Safe RLHF weighs by thresholds: it lets go of an objective that is above its own, whatever its scale.
    weighing = [each for name, each in others.items() if name != "safe_rlhf"]
    looks = styles_of(others)
    rivals = {
        "least": ("the least of all others'", least(list(others.values()))),
        "least of those without thresholds": ("the least of all others' but Safe RLHF's", least(weighing)),
        **{f"less than {style.label}": (f"{style.label}'s", others[name]) for name, style in looks.items()},
    }
    head, what = f"{len(part.objectives)} objectives: GAPO p = 1 moves", f"its movement ({part.space}) -"
    return [
        judge(f"{head} {words}", WHERE, f"{what} {whom}", paired(mine, theirs), "<", 0, whose=OURS)
        for words, (whom, theirs) in rivals.items()
    ]


def least(methods: list[PerSeed]) -> PerSeed:
    """The least of several methods' values in each seed."""
    return {seed: min(each[seed] for each in methods) for seed in methods[0]}


def drift_claims(part: Part) -> list[Row]:
    """Where the two methods that look at the gradients' lengths go as one reward grows."""
    asked, ends = [], f"factor {part.factors[-1]:g} - factor {part.factors[0]:g}"
    for method, title, own, other in (
        ("linear", "linear scalarisation", ("gains", ">"), ("loses", "<")),
        ("mgda", "MGDA", ("loses", "<"), ("gains", ">")),
    ):
        for (verb, relation), names, whose in (
            (own, [part.scaled], part.scaled),
            (other, part.others, "the others"),
        ):
            claim = f"{title} {verb} in {whose} as the reward of {part.scaled} grows"
            what = f"mean gain in {', '.join(names)} ({part.space}), {ends}"
            change = change_of(part, method, names)
            asked.append((f"{len(part.objectives)} objectives: {claim}", what, change, relation, 0.0))
    return [judge(claim, WHERE, *statistic, whose=OURS) for claim, *statistic in asked]


def change_of(part: Part, method: str, objectives: list[str]) -> PerSeed:
    """Mean gain of the objectives at the largest factor minus that at the smallest."""
    mine = part.rows[part.rows["method"] == method].sort_values("factor")
    mine = mine.assign(mean=mean_gain(mine, objectives))
    return {seed: float(rows["mean"].iloc[-1] - rows["mean"].iloc[0]) for seed, rows in by_seed(mine)}


def mean_gain(rows: pd.DataFrame, objectives: list[str]) -> pd.Series:
    """(n,) the mean of the objectives' gains."""
    return rows[[f"gain_{name}" for name in objectives]].mean(axis=1)


def draw(parts: list[Part], multiplies: str) -> Figure:
    """A row a number of objectives: where the policies go, how far, and how the multiplied objective fares."""
    styles = styles_of(METHODS)
    what = "one objective's reward" if multiplies == "reward" else "one objective, KL term and all,"
    with canvas(12.5, 4.1 * len(parts) + 0.3, f"GAPO: what multiplying {what} does") as figure:
        for row, part in zip(figure.subplots(len(parts), 3, squeeze=False), parts, strict=True):
            draw_plane(row[0], part, styles)
            draw_bars(row[1], movements(part), styles, title="Movement (lower is steadier)")
            draw_following(row[2], part, styles)
        handles = legend(parts[0], styles)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8.5)
    return figure


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


def summary(part: Part) -> Table:
    """Each method's movement, and its gain in the multiplied objective at each factor, means over seeds."""
    title = f"gapo figure_scale m{len(part.objectives)}: means over seeds; gains in {part.scaled}"
    table = Table(title=title, title_justify="left")
    for column in ("method", "movement", "mean distance", *(f"x {factor:g}" for factor in part.factors)):
        table.add_column(column, justify="left" if column == "method" else "right")
    moved = movement_of(part).groupby("method")[["movement", "mean_distance"]].mean()
    gains = part.rows.groupby(["method", "factor"])[f"gain_{part.scaled}"].mean().unstack()
    for name in METHODS:
        table.add_row(name, *(f"{cell:.3f}" for cell in (*moved.loc[name], *gains.loc[name])))
    return table


STUDY = Study(__file__, "ppo", METHODS, FigureScaleConfig, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
