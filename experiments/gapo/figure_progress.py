"""GAPO, Theorems 3.1 and 3.3: is every objective's progress what they say, and is it still so in the step taken?

    python experiments/gapo/figure_progress.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

The theorems speak of the update's direction d = sum_i w_i g_i: <g_i, d> is the same for all objectives under MGDA
(Theorem 3.1) and proportional to ||g_i||^p under GAPO (Theorem 3.3; p = 0 is MGDA), but for objectives of weight 0,
which gain at least that. Measured while the methods train, with linear scalarisation as the contrast that no theorem
speaks of: in the probed tensors, where the weights come from; in all parameters; and along the step that AdamW takes,
which is not along d. Writes CSVs and the picture to results/gapo/figure_progress/; trains nothing that the other
scripts don't.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.gradients import Look, read_looks, watched
from lightning_moa.methods.products import GAPO_P1_PPO, GAPO_P2_PPO, LINEAR_PPO, MGDA_PPO
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.margins import CORRELATION, SHARE
from lightning_moa.reporting.panels import draw_grouped_bars
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed, paired
from lightning_moa.reporting.styles import Style, styles_of
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import Artefact, Judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Part, Study

METHODS = {"mgda": MGDA_PPO, "gapo_p1": GAPO_P1_PPO, "gapo_p2": GAPO_P2_PPO, "linear": LINEAR_PPO}
POWER = {
    name: float(product.aggregation.options.get("p", 0))
    for name, product in METHODS.items()
    if name != "linear"
}
"""p of the methods that a theorem speaks of."""
PLACES = {
    "probed": Style("probed tensors", "#332288", "o"),
    "all": Style("all parameters", "#E69F00", "s"),
    "step": Style("AdamW's step", "#CC6677", "^"),
}
ELSEWHERE = ("all", "step")
"""The places that no theorem speaks of."""
SLOPE = 0.25
"""A slope of log progress on log norm this far from p still tells the powers 0, 1 and 2 apart."""
RARELY = 0.1
"""The share of looks at which an objective may lose."""
LEAST = f"{RARELY:.0%} quantile over looks of the least progress of an objective / (||g|| length)"
WORST = "least progress of an objective at any look / (||g|| length)"
SLIGHT = 1e-6
"""A loss of progress below this share of ||g_i|| ||d|| is rounding."""


def studies(config: StudyConfig) -> list[Part]:
    """The one study, whose gradients are looked at."""
    return [("", watched(config, METHODS), METHODS)]


def main(config: StudyConfig, console: Console) -> None:
    ((_, config, _),) = studies(config)
    artefact = Artefact.begin("gapo", "figure_progress", config)
    collected = conduct(config, METHODS, console)
    tables = artefact.tables(collected)
    progress = measured(read_looks(collected, METHODS), collected.objectives, config.probe)
    claims = Judged(claims_frame(judge_claims(progress)))
    artefact.write(collected, tables, claims, {"progress.csv": progress})

    pictures = [artefact.folder / f"figure_progress.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(progress, collected), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def measured(looks: list[Look], objectives: tuple[str, ...], probe: str) -> pd.DataFrame:
    """Progress of each objective at every look with a step, in each of PLACES.

    Returns:
        `method`, `seed`, `step`, `place`, `objective`, its `weight`, the `norm` of its gradient, its `progress`
        <g_i, d> (of `step`: <g_i, the parameters' step>), the `length` of d or of the step, and `theorem`, the
        progress that is proportional to ||g_i||^p and has the same mean under the weights: in the probed tensors
        this is the theorems' own ||d||^2 ||g_i||^p. Empty for linear scalarisation and for the step.

    Raises:
        UserError: every look was at an update without a learning rate.
    """
    rows = []
    for look in looks:
        if not look.moved:
            continue  # there was no learning rate yet
        places = []
        if look.probe == probe:
            places.append(("probed", look.progress, look.length))
        if look.probe == "all":
            places += [("all", look.progress, look.length), ("step", look.gain, look.moved)]
        for place, progress, length in places:
            expected = predicted(look) if place != "step" else np.full(len(objectives), np.nan)
            for i, name in enumerate(objectives):
                rows.append(
                    {
                        "method": look.method,
                        "seed": look.seed,
                        "step": look.step,
                        "place": place,
                        "objective": name,
                        "weight": look.weights[i],
                        "norm": look.norms[i],
                        "progress": progress[i],
                        "length": length,
                        "theorem": expected[i],
                    }
                )
    if not rows:
        raise UserError(
            "methods.<name>.watch: no look was at an update with a step; allowed are smaller values"
        )
    return pd.DataFrame(rows)


def predicted(look: Look) -> np.ndarray:
    """(m,) c ||g_i||^p with sum_i w_i c ||g_i||^p = sum_i w_i <g_i, d> = ||d||^2; NaN without a theorem or update."""
    if look.method not in POWER or not look.weights.any():
        return np.full(len(look.weights), np.nan)
    powers = look.norms ** POWER[look.method]
    return np.asarray(powers * look.length**2 / (look.weights @ powers))


def judge_claims(progress: pd.DataFrame) -> list[Row]:
    """Ours: what is left of the theorems where weights from the probed tensors meet all parameters and AdamW's step. In
    the probed tensors they are algebra, and no verdict is given."""
    asked: list[tuple[str, str, PerSeed, str, float, float | None]] = []
    gives_up = improving(progress, "linear", "step")
    for method, power in POWER.items():
        label = styles_of([method])[method].label
        law = f"progress grows as ||g||^{power:g}" if power else "all active objectives progress alike"
        for place in ELSEWHERE:
            slopes = {seed: value - power for seed, value in slope(progress, method, place).items()}
            if slopes:
                statistic = f"slope of log progress on log norm, less {power:g}"
                words = f"{label}: {law} in {PLACES[place].label}, nearly"
                asked.append((words, statistic, slopes, "within", SLOPE, None))
            words = f"{label}: at nine looks of ten no objective is given up in {PLACES[place].label}"
            asked.append((words, LEAST, least_progress(progress, method, place, RARELY), ">", 0, CORRELATION))
        more = paired(improving(progress, method, "step"), gives_up)
        words = f"{label} gives up an objective less often than linear scalarisation"
        asked.append((words, "difference of shares of looks, AdamW's step", more, ">", 0, SHARE))
    for place in ELSEWHERE:
        words = f"linear scalarisation gives up an objective at times in {PLACES[place].label}"
        asked.append((words, WORST, least_progress(progress, "linear", place, 0), "<", 0, CORRELATION))
    return [
        judge(claim, "Theorems 3.1, 3.3", *statistic, margin=margin, whose=OURS)
        for claim, *statistic, margin in asked
    ]


def chosen(progress: pd.DataFrame, method: str, place: str) -> list[tuple[int, dict[str, np.ndarray]]]:
    """(seed, each column's (m,) values) of each look of a method."""
    mine = progress[(progress["method"] == method) & (progress["place"] == place)]
    columns = {name: mine[name].to_numpy() for name in ("weight", "norm", "length", "progress")}
    looks = sorted(mine.groupby(["seed", "step"]).indices.items())
    return [
        (int(seed), {name: values[rows] for name, values in columns.items()}) for (seed, _), rows in looks
    ]


def improving(progress: pd.DataFrame, method: str, place: str) -> PerSeed:
    """Share of looks at which no objective loses."""
    found: dict[int, list[bool]] = {}
    for seed, look in chosen(progress, method, place):
        kept = look["progress"] >= -SLIGHT * look["norm"] * look["length"]
        found.setdefault(seed, []).append(bool(kept.all()))
    return {seed: float(np.mean(each)) for seed, each in found.items()}


def least_progress(progress: pd.DataFrame, method: str, place: str, quantile: float) -> PerSeed:
    """A quantile, over looks, of the least progress of any objective, as a share of ||g_i|| ||d||: a cosine, above 0
    where no objective loses. Unlike a share of looks it does not stop at 1."""
    found: dict[int, list[float]] = {}
    for seed, look in chosen(progress, method, place):
        lengths = look["norm"] * look["length"]
        shares = np.divide(look["progress"], lengths, out=np.zeros(len(lengths)), where=lengths > 0)
        found.setdefault(seed, []).append(float(shares.min()))
    return {seed: float(np.quantile(each, quantile)) for seed, each in found.items()}


def ratios(progress: pd.DataFrame, method: str, place: str) -> dict[int, np.ndarray]:
    """seed -> (n, 2) log ||g_i|| / ||g_j|| and log progress_i / progress_j of every pair of objectives with a weight
    that both progress."""
    found: dict[int, list[tuple[float, float]]] = {}
    for seed, look in chosen(progress, method, place):
        known = (look["weight"] > 0) & (look["progress"] > 0)
        logs = np.log(np.stack([look["norm"][known], look["progress"][known]], axis=1))
        found.setdefault(seed, []).extend(tuple(one - other) for one, other in combinations(logs, 2))
    return {seed: np.array(each).reshape(-1, 2) for seed, each in found.items()}


def slope(progress: pd.DataFrame, method: str, place: str) -> PerSeed:
    """p of progress ~ ||g||^p, by least squares; nothing where a seed has no two objectives that progress."""
    found = {}
    for seed, each in ratios(progress, method, place).items():
        spread = float(np.square(each[:, 0]).sum())
        if spread == 0:
            return {}
        found[seed] = float(each.prod(axis=1).sum() / spread)
    return found


def draw(progress: pd.DataFrame, collected: Collected) -> Figure:
    """Progress against norm, a panel a method, and how often every objective gains."""
    with canvas(13, 4.3, "GAPO, Theorems 3.1 and 3.3: progress of the objectives during training") as figure:
        panels = figure.subplots(1, len(POWER) + 1, width_ratios=[1] * len(POWER) + [1.35])
        for ax, (method, power) in zip(panels, POWER.items(), strict=False):
            draw_ratios(ax, progress, method, power, collected.objectives)
        panels[0].legend(fontsize=7.5)
        shown = {
            style.label.replace("GAPO, ", "GAPO\n"): {
                place: improving(progress, name, place) for place in PLACES
            }
            for name, style in styles_of(METHODS).items()
        }
        draw_grouped_bars(panels[-1], shown, PLACES, title="Share of updates at which\nno objective loses")
        panels[-1].set_ylim(0, 1.25)
        panels[-1].legend(fontsize=7.5, ncols=3, loc="upper center", columnspacing=0.8, handlelength=1)
    return figure


def draw_ratios(
    ax: Axes, progress: pd.DataFrame, method: str, power: float, objectives: tuple[str, ...]
) -> None:
    """Two objectives' progress against their gradients' norms, as logarithms of ratios; the theorem's line in black."""
    widest = 0.05
    for place, style in PLACES.items():
        each = np.concatenate([*ratios(progress, method, place).values(), np.empty((0, 2))])
        widest = max(widest, float(np.abs(each[:, 0]).max(initial=0)))
        marks: dict[str, Any] = {"color": style.colour, "markersize": 4.5, "alpha": 0.65, "linestyle": ""}
        ax.plot(*each.T, style.marker, **marks, label=style.label)
    ends = np.array([-widest, widest])
    ax.plot(ends, ends * power, color="black", linewidth=1.2, zorder=1, label="the theorem")
    ax.set_title(f"{styles_of([method])[method].label}: slope {power:g}")
    pair = f"{objectives[0]} / {objectives[1]}" if len(objectives) == 2 else "each pair"
    ax.set_xlabel(f"log ratio of gradient norms\n{pair}")
    ax.set_ylabel(f"log ratio of progress, {pair}")


STUDY = Study(__file__, "ppo", METHODS, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
