"""GAPO: how much does it matter whose gradients are looked at? A question of ours; the paper looks at the last layer.

    python experiments/gapo/figure_probe.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

Trains MGDA and GAPO (p = 1 and 2) with weights from the last layer's gradients, from all parameters', and from those
of the last hidden states, whatever `probe` says. Each run of the first kind also records what the other two would have
seen: how far their gradients' angles, their weights and their update directions differ at the same policy stands in
probe.csv, where the policies end in ends.csv. Judges how far the last layer stands for all parameters; writes CSVs and
the picture to results/gapo/figure_probe/. What a step costs is drawn as benchmarks/gapo_step.py measured it, as ratios
within one process: the seconds of whole trainings, side by side on one machine, tell little.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.figures.alike import alike
from lightning_moa.figures.final_gains import column, distance, gains
from lightning_moa.figures.gradients import Look, pairs, read_looks, shares, watched
from lightning_moa.methods.products import GAPO_P1_PPO, GAPO_P2_PPO, MGDA_PPO
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.panels import draw_over_steps
from lightning_moa.reporting.plots import canvas, divide, draw_fronts, save_figure
from lightning_moa.reporting.statistics import PerSeed, paired
from lightning_moa.reporting.styles import Style, styles_of
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import Artefact, Judged, Tables, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Part, Study

WHERE = "the last layer's gradients"
BASE = {"mgda": MGDA_PPO, "gapo_p1": GAPO_P1_PPO, "gapo_p2": GAPO_P2_PPO}
OWN, WHOLE = "last_layer", "all"
PROBES = {
    OWN: Style("last layer", "#332288", "o"),
    WHOLE: Style("all parameters", "#E69F00", "s"),
    "activations": Style("activations", "#44AA99", "^"),
}
COSTS = Path(__file__).resolve().parents[2] / "results" / "benchmarks" / "gapo_step.csv"
LINES: dict[str, Any] = {"mgda": "-", "gapo_p1": "--", "gapo_p2": ":"}


def named(method: str, probe: str) -> str:
    """The method's name in this study; with the paper's probe it is every other script's."""
    return method if probe == OWN else f"{method}_{probe}"


METHODS = {
    named(name, probe): replace(product, probe=probe) for probe in PROBES for name, product in BASE.items()
}
AGREE = 0.05
"""Weights, of a sum of 1, that differ by no more than this agree."""
ALIGNED = 0.95
"""Directions with a cosine above this are as good as one."""
SAME_ANGLE = 0.1
"""Cosines that differ by no more than this tell the same of a conflict."""
LEVEL = 0.05
"""Policies are level whose gains, in `ends.units`, differ by no more than this."""


def studies(config: StudyConfig) -> list[Part]:
    """The one study, whose gradients are looked at."""
    return [("", train_alike(watched(config, BASE)), METHODS)]


def main(config: StudyConfig, console: Console) -> None:
    ((_, config, _),) = studies(config)
    artefact = Artefact.begin("gapo", "figure_probe", config)
    collected = conduct(config, METHODS, console)
    tables = artefact.tables(collected)
    seen, ends = compared(collected), ends_of(collected)
    claims = Judged(claims_frame(judge_claims(seen, ends)))
    artefact.write(collected, tables, claims, {"probe.csv": seen, "ends.csv": ends})

    pictures = [artefact.folder / f"figure_probe.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables, seen), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def train_alike(config: StudyConfig) -> StudyConfig:
    """Each method's settings hold for all probes, but for those that one has of its own."""
    for method in BASE:
        config = alike(config, method, [named(method, probe) for probe in PROBES if probe != OWN])
    return config


def compared(collected: Collected) -> pd.DataFrame:
    """What each probe sees of the same policies, those that are trained with the paper's probe.

    Returns:
        `method`, `seed`, `step`, `probe`; `cosine_<pair>` of objectives' gradients and `cosine`, their mean; `weight_*`
        that the method gives by this probe, and `used_*` that the run was trained with, both with a sum of 1;
        `direction`, the cosine of the update with these weights and the one with all parameters' weights, where both
        are taken in all parameters. Empty where a gradient or an update is 0.
    """
    from lightning_moa.aggregation import GAPO

    aggregations = {
        name: GAPO(float(product.aggregation.options.get("p", 0))) for name, product in BASE.items()
    }
    rows, pair_names = [], pairs(collected.objectives)
    for looks in together(read_looks(collected, BASE)):
        whole = looks[WHOLE]
        equal = np.full(len(whole.weights), 1 / len(whole.weights))
        weights = {
            probe: aggregations[look.method].solve(look.gramian, equal) for probe, look in looks.items()
        }
        for probe, look in looks.items():
            row: dict[str, object] = {"method": look.method, "seed": look.seed, "step": look.step}
            row |= {"probe": probe, "cosine": look.cosines.mean()}
            row |= {f"cosine_{name}": value for name, value in zip(pair_names, look.cosines, strict=True)}
            given, used = shares(weights[probe]), shares(look.weights)
            row |= {f"weight_{name}": given[i] for i, name in enumerate(collected.objectives)}
            row |= {f"used_{name}": used[i] for i, name in enumerate(collected.objectives)}
            rows.append(row | {"direction": alignment(weights[probe], weights[WHOLE], whole.gramian)})
    return pd.DataFrame(rows)


def together(looks: list[Look]) -> list[dict[str, Look]]:
    """The probes' looks at the same update."""
    found: dict[tuple[str, int, int], dict[str, Look]] = {}
    for look in looks:
        found.setdefault((look.method, look.seed, look.step), {})[look.probe] = look
    return [{probe: each[probe] for probe in PROBES} for each in found.values()]


def alignment(weights: np.ndarray, others: np.ndarray, gramian: np.ndarray) -> float:
    """Cosine of sum_i weights_i g_i and sum_i others_i g_i, from the gradients' Gramian; NaN where one is 0."""
    lengths = (weights @ gramian @ weights) * (others @ gramian @ others)
    return float(weights @ gramian @ others / np.sqrt(lengths)) if lengths > 0 else np.nan


def ends_of(collected: Collected) -> pd.DataFrame:
    """Where every policy ends: `gains` with the method and the probe apart, and the `distance` of these gains from
    those with the paper's probe."""
    ends = gains(collected)
    apart = {
        (named(method, probe), seed): value
        for method in BASE
        for probe in PROBES
        for seed, value in distance(ends, named(method, probe), method).items()
    }
    keys = list(zip(ends["method"], ends["seed"], strict=True))
    places = {named(method, probe): (method, probe) for method in BASE for probe in PROBES}
    return ends.assign(
        method=[places[name][0] for name in ends["method"]],
        probe=[places[name][1] for name in ends["method"]],
        distance=[apart[key] for key in keys],
    )


def judge_claims(seen: pd.DataFrame, ends: pd.DataFrame) -> list[Row]:
    """How far another probe gives what the last layer gives, for each method."""
    asked: list[tuple[str, str, PerSeed, str, float]] = []
    for method, style in styles_of(BASE).items():
        for probe in (WHOLE, "activations"):
            pair = f"{style.label}: the last layer and {PROBES[probe].label}"
            cosines = difference(seen, method, probe, ["cosine"]).groupby("seed").mean()
            statistic = "mean |difference| of the gradients' cosine"
            asked.append((f"{pair} see the same conflict", statistic, of(cosines), "<=", SAME_ANGLE))
            names = [name for name in seen.columns if name.startswith("weight_")]
            weights = difference(seen, method, probe, names).groupby("seed").max()
            statistic = "largest |difference| of a weight"
            asked.append((f"{pair} agree in their weights", statistic, of(weights), "<=", AGREE))
            for name in [name for name in ends.columns if name.startswith("gain_")]:
                gap = paired(end_of(ends, method, probe, name), end_of(ends, method, OWN, name))
                words = f"{pair} end level in {name.removeprefix('gain_')}"
                asked.append((words, "difference of the gain over SFT", gap, "within", LEVEL))
        for probe in (OWN, "activations"):
            mine = seen[(seen["method"] == method) & (seen["probe"] == probe)]
            words = f"{style.label}: weights from the {PROBES[probe].label} point where all parameters' do"
            least = of(mine.groupby("seed")["direction"].min())
            asked.append((words, "smallest cosine of the updates", least, ">", ALIGNED))
    return [judge(claim, WHERE, *statistic, whose=OURS) for claim, *statistic in asked]


def end_of(ends: pd.DataFrame, method: str, probe: str, name: str) -> PerSeed:
    """One column of an end, by seed."""
    return column(ends[ends["probe"] == probe], method, name)


def difference(seen: pd.DataFrame, method: str, probe: str, columns: list[str]) -> pd.Series:
    """By seed and step, the largest |difference| in the columns between a probe and the last layer."""
    mine, theirs = (
        seen[(seen["method"] == method) & (seen["probe"] == name)].set_index(["seed", "step"])[columns]
        for name in (probe, OWN)
    )
    return (mine - theirs).abs().max(axis=1)


def of(series: pd.Series) -> PerSeed:
    """A series over seeds as claims are judged by."""
    return {int(str(seed)): float(value) for seed, value in series.items()}


def draw(collected: Collected, tables: Tables, seen: pd.DataFrame) -> Figure:
    """Ends beside angles, weights and directions by probe, and what a step costs with each."""
    gold = [f"gold_{name}" for name in collected.objectives]
    exact = None if collected.exact is None else collected.exact.front[gold].to_numpy()
    many = len(gold) > 2  # a matrix of projections needs more room than one front
    with canvas(17 if many else 12.5, 6.4, "GAPO: whose gradients are looked at") as figure:
        left, right = divide(figure, 1, 2, width=(1.15, 1) if many else (1, 1.45))
        draw_fronts(
            left, tables.points, collected.space, front=exact, styles=looks_of(), title="Where policies end"
        )
        panels = right.subplots(2, 2)
        title = "Cosine of objectives' gradients" + (",\nmean of pairs" if many else "")
        draw_lines(panels[0, 0], seen, "cosine", list(PROBES), title)
        draw_lines(
            panels[0, 1],
            seen,
            "direction",
            [probe for probe in PROBES if probe != WHOLE],
            "Cosine of the update with\nthat of all parameters' weights",
        )
        draw_weights(panels[1, 0], seen)
        draw_cost(panels[1, 1])
        looks = [Line2D([], [], color=style.colour, lw=3, label=style.label) for style in PROBES.values()]
        lines = [
            Line2D([], [], color="#444444", linestyle=LINES[name], label=style.label)
            for name, style in styles_of(BASE).items()
        ]
        right.legend(handles=[*looks, *lines], loc="outside lower center", ncols=6, fontsize=8.5)
    return figure


def looks_of() -> dict[str, Style]:
    """Ends: the method's colour, the probe's marker."""
    return {
        named(method, probe): Style(
            style.label if probe == OWN else f"{style.label}, {look.label}", style.colour, look.marker
        )
        for method, style in styles_of(BASE).items()
        for probe, look in PROBES.items()
    }


def draw_lines(ax: Axes, seen: pd.DataFrame, column: str, probes: list[str], title: str) -> None:
    """The probe's colour, the method's kind of line."""
    for probe in probes:
        for method, line in LINES.items():
            rows = seen[(seen["probe"] == probe) & (seen["method"] == method)]
            draw_over_steps(ax, rows, column, PROBES[probe], line=line, faint=False)
    ax.set_title(title)


def draw_weights(ax: Axes, seen: pd.DataFrame) -> None:
    """Each objective's weight by a probe against that by all parameters, at every look; equal ones on the diagonal."""
    names = [name for name in seen.columns if name.startswith("weight_")]
    ax.plot([0, 1], [0, 1], color="black", linewidth=1, zorder=2)
    keys = ["method", "seed", "step"]
    whole = seen[seen["probe"] == WHOLE].set_index(keys)[names]
    for probe, look in PROBES.items():
        if probe != WHOLE:
            mine = seen[seen["probe"] == probe].set_index(keys)[names].loc[whole.index]
            ax.plot(
                whole.to_numpy().ravel(),
                mine.to_numpy().ravel(),
                look.marker,
                color=look.colour,
                markersize=3.5,
                alpha=0.5,
            )
    ax.set_title("Weights at the same policy")
    ax.set_xlabel("by all parameters")
    ax.set_ylabel("by the probe")


def draw_cost(ax: Axes) -> None:
    """What a whole training step costs, over PPO on one objective, for the benchmark's largest model."""
    costs = pd.read_csv(COSTS)
    costs = costs[(costs["way"] == "GAPO") & (costs["hidden"] == costs["hidden"].max())]
    for probe, look in PROBES.items():
        mine = costs[costs["probe"] == probe]
        ax.plot(mine["objectives"], mine["times_single"], color=look.colour, marker=look.marker)
    ax.axhline(1, color="black", linewidth=1, zorder=1)
    ax.set_xticks(sorted(set(costs["objectives"])))
    ax.set_xlabel("objectives")
    ax.set_title("Cost of a step,\nof that of PPO on one objective")


STUDY = Study(__file__, "ppo", METHODS, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
