"""GAPO: is it the most balanced method and the best on average, and what decides where on the front it ends? Ours.

    python experiments/gapo/figure_balance.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

(1) Compares what MGDA, GAPO (p = 1 and 2), linear scalarisation and Safe RLHF gain over the SFT model: the least, the
mean and the spread of the objectives' gains, in the range that the best single-objective policies span where it is
known, else in standard deviations of the SFT model's rewards.

(2) Each update of a gradient-based method is a linear scalarisation with weights of its own. Trains linear
scalarisation at the mean of these weights, for each of MGDA and GAPO and each seed, and asks whether it ends at the
same place. (With two objectives the weights of GAPO with p = 1 are the inverse of the gradients' norms, always.)

Writes CSVs (balance.csv: the ends; weights.csv: norms and weights at every look; fixed.csv: the weights' means and the
distances) and the picture to results/gapo/figure_balance/.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.deployments import TrainedOn
from lightning_moa.figures.final_gains import column, distance, gains
from lightning_moa.figures.gradients import read_looks, shares, watched
from lightning_moa.methods.products import (
    APART,
    GAPO_P1_PPO,
    GAPO_P2_PPO,
    LINEAR_PPO,
    MGDA_PPO,
    SAFE_RLHF_PPO,
    Product,
)
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.margins import SHARE
from lightning_moa.reporting.panels import draw_grouped_bars, draw_over_steps
from lightning_moa.reporting.plots import canvas, divide, draw_fronts, save_figure
from lightning_moa.reporting.statistics import paired
from lightning_moa.reporting.styles import SPARE_COLOURS, Style, styles_of
from lightning_moa.study.collect import Collected, joined
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import objectives_of
from lightning_moa.study.results import Artefact, Judged, Tables, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

ADAPTIVE = {"mgda": MGDA_PPO, "gapo_p1": GAPO_P1_PPO, "gapo_p2": GAPO_P2_PPO}
METHODS = {**ADAPTIVE, "linear": LINEAR_PPO, "safe_rlhf": SAFE_RLHF_PPO}
PRAISED = "gapo_p1"
"""The paper's best-balanced method."""
MEASURES = {
    "least_gain": ("a larger least gain", ">"),
    "mean_gain": ("a larger mean gain", ">"),
    "spread": ("a smaller spread of gains", "<"),
}
LEVEL = 0.05
"""Policies are level whose gains, in `ends.units`, differ by no more than this."""


def fixed(method: str) -> str:
    """The name of linear scalarisation at a method's mean weights."""
    return f"{method}_fixed"


def main(config: StudyConfig, console: Console) -> None:
    config = watched(config, ADAPTIVE)
    artefact = Artefact.begin("gapo", "figure_balance", config)
    trained = conduct(config, METHODS, console)
    weights = weights_of(trained, config.probe)
    means = mean_weights(weights)
    collected = joined([trained, *(conduct_fixed(config, seed, means, console) for seed in config.seeds)])
    tables = artefact.tables(collected)
    ends = gains(collected)
    apart = with_distances(means, ends)
    claims = Judged(claims_frame([*balance_claims(ends), *reason_claims(ends, apart)]))
    others = {"balance.csv": ends, "weights.csv": weights, "fixed.csv": apart}
    artefact.write(collected, tables, claims, others)

    pictures = [artefact.folder / f"figure_balance.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables, ends, weights), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def weights_of(collected: Collected, probe: str) -> pd.DataFrame:
    """What the methods' weights were made of, at every look.

    Returns:
        `method`, `seed`, `step`, and of each objective `norm_*` of its gradient in the probed tensors, `share_*`, its
        weight of a sum of 1, and `inverse_*`, what it were if the weights were the inverse norms.
    """
    rows = []
    for look in read_looks(collected, ADAPTIVE):
        if look.probe == probe:
            norms = look.norms
            inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
            found = {"norm": norms, "share": shares(look.weights), "inverse": shares(inverse)}
            rows.append(
                {"method": look.method, "seed": look.seed, "step": look.step}
                | {
                    f"{what}_{name}": values[i]
                    for what, values in found.items()
                    for i, name in enumerate(collected.objectives)
                }
            )
    return pd.DataFrame(rows)


def mean_weights(weights: pd.DataFrame) -> pd.DataFrame:
    """`method`, `seed` and `share_*`, the mean over the training with a sum of 1."""
    names = [name for name in weights.columns if name.startswith("share_")]
    means = weights.groupby(["method", "seed"], sort=False)[names].mean()
    return means.div(means.sum(axis=1), axis=0).reset_index()


def with_distances(means: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """How far each method ends from linear scalarisation at its mean weights, `to_fixed`, and at equal ones,
    `to_equal_weights`: distances of gains."""
    found: dict[str, list[float]] = {"to_fixed": [], "to_equal_weights": []}
    for row in means.to_dict("records"):
        method, seed = str(row["method"]), int(row["seed"])
        found["to_fixed"].append(distance(ends, fixed(method), method)[seed])
        found["to_equal_weights"].append(distance(ends, "linear", method)[seed])
    return means.assign(**found)


def conduct_fixed(config: StudyConfig, seed: int, means: pd.DataFrame, console: Console) -> Collected:
    """Linear scalarisation at the mean weights that this seed's runs had."""
    rows = means[means["seed"] == seed].set_index("method").drop(columns="seed")
    weights = {name: tuple(float(value) for value in rows.loc[name].to_numpy()) for name in ADAPTIVE}
    return conduct(*fixed_study(config, [seed], weights), console)


def fixed_study(
    config: StudyConfig, seeds: list[int], weights: Mapping[str, tuple[float, ...]]
) -> tuple[StudyConfig, Mapping[str, Product]]:
    """Linear scalarisation at weights for each method, with that method's own settings."""
    own = deepcopy(config)
    own.seeds = seeds
    own.methods = {
        fixed(name): replace(config.methods.get(name, MethodConfig()), watch=0) for name in weights
    }
    linear = replace(LINEAR_PPO, objective=APART)
    return own, {
        fixed(name): replace(linear, trained_on=TrainedOn.given([each])) for name, each in weights.items()
    }


def studies(config: StudyConfig) -> list[tuple[str, StudyConfig, Mapping[str, Product]]]:
    """Label, configuration and methods, for `moa plan`: in the second, weights that stand for those to be found."""
    m = len(objectives_of(config))
    found = {name: (2.0 + i, *[1.0] * (m - 1)) for i, name in enumerate(ADAPTIVE)}
    weights = {name: tuple(value / sum(each) for value in each) for name, each in found.items()}
    config = watched(config, ADAPTIVE)
    return [("", config, METHODS), ("", *fixed_study(config, config.seeds, weights))]


def balance_claims(ends: pd.DataFrame) -> list[Row]:
    """Against each other method that has a gain of every objective in mind. (What the paper says of averages is asked
    by table_main.py.)"""
    rows = []
    looks = styles_of(METHODS)
    for name in METHODS:
        if name != PRAISED:
            for measure, (words, relation) in MEASURES.items():
                gap = paired(column(ends, PRAISED, measure), column(ends, name, measure))
                claim = f"{looks[PRAISED].label} has {words} than {looks[name].label}"
                what = f"difference of {measure.replace('_', ' ')}"
                rows.append(judge(claim, "main table", what, gap, relation, 0, margin=SHARE, whose=OURS))
    return rows


def reason_claims(ends: pd.DataFrame, apart: pd.DataFrame) -> list[Row]:
    """Whether fixed weights end where adaptive ones do."""
    rows = []
    for method, style in styles_of(ADAPTIVE).items():
        for name in [name for name in ends.columns if name.startswith("gain_")]:
            gap = paired(column(ends, method, name), column(ends, fixed(method), name))
            words = f"{style.label} is level in {name.removeprefix('gain_')} with linear at its mean weights"
            what = "difference of the gain over SFT"
            rows.append(judge(words, "main table", what, gap, "within", LEVEL, whose=OURS))
        near, far = column(apart, method, "to_fixed"), column(apart, method, "to_equal_weights")
        words = f"{style.label} ends nearer to linear at its mean weights than to linear at equal ones"
        what = "difference of the distances of gains"
        rows.append(judge(words, "main table", what, paired(near, far), "<", 0, margin=SHARE, whose=OURS))
    return rows


def draw(collected: Collected, tables: Tables, ends: pd.DataFrame, weights: pd.DataFrame) -> Figure:
    """Ends, with those of fixed weights as crosses; gains; norms and weights during the training of GAPO with p = 1."""
    gold = [f"gold_{name}" for name in collected.objectives]
    exact = None if collected.exact is None else collected.exact.front[gold].to_numpy()
    known = styles_of(METHODS)
    looks = known | {
        fixed(name): Style(f"{known[name].label}: its weights, fixed", known[name].colour, "x")
        for name in ADAPTIVE
    }
    colours = {
        name: Style(name, colour, "o")
        for name, colour in zip(collected.objectives, SPARE_COLOURS, strict=False)
    }
    many = len(gold) > 2  # a matrix of projections needs more room than one front
    title = "GAPO: gains, and where its point on the front comes from"
    with canvas(17 if many else 12.5, 6.6, title) as figure:
        left, right = divide(figure, 1, 2, width=(1.1, 1) if many else (1, 1.3))
        draw_fronts(
            left, tables.points, collected.space, front=exact, styles=looks, title="Where policies end"
        )
        panels = right.subplot_mosaic([["gains", "gains"], ["norms", "weights"]])
        draw_gains(panels["gains"], ends, colours, known=collected.exact is not None)
        mine = weights[weights["method"] == PRAISED]
        label = known[PRAISED].label
        for name, style in colours.items():
            draw_over_steps(panels["norms"], mine, f"norm_{name}", style)
        panels["norms"].set_title(f"{label}:\ngradient norms, probed tensors")
        panels["norms"].legend(fontsize=8)
        draw_weights(panels["weights"], weights, collected.objectives[0], known)
    return figure


def draw_gains(ax: Axes, ends: pd.DataFrame, colours: dict[str, Style], *, known: bool) -> None:
    """Each objective's gain and, in grey, the least of them, a group of bars a method."""
    series = {f"gain_{name}": style for name, style in colours.items()}
    series["least_gain"] = Style("least", "#999999", "o")
    values = {
        style.label.replace("GAPO, ", "GAPO\n"): {name: column(ends, method, name) for name in series}
        for method, style in styles_of(METHODS).items()
    }
    unit = "of the best policies' range" if known else "in standard deviations of SFT's"
    draw_grouped_bars(ax, values, series, title=f"Gain over SFT, {unit}")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.legend(fontsize=8, ncols=len(series))


def draw_weights(ax: Axes, weights: pd.DataFrame, first: str, looks: dict[str, Style]) -> None:
    """The first objective's weight under each method; dotted, what the inverse norms would give."""
    for name in ADAPTIVE:
        mine = weights[weights["method"] == name]
        draw_over_steps(ax, mine, f"share_{first}", looks[name], faint=False)
        bare = replace(looks[name], label="inverse norms" if name == PRAISED else "_")
        draw_over_steps(ax, mine, f"inverse_{first}", bare, line=":", faint=False)
    ax.set_ylim(0, 1)
    ax.set_title(f"Weight of {first}, of a sum of 1")
    ax.legend(fontsize=8)


STUDY = Study(__file__, "ppo", METHODS, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
