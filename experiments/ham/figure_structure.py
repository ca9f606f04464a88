"""Ours: why likelihood weighted per objective prefers mixtures of single-objective policies, and what weighs otherwise.

    python experiments/ham/figure_structure.py [scale=smoke|tiny] [powers=[...]] [key=value ...]

HaM and SCA maximise sum_j w_j E[r_j^q log p(y | x)] (eq. 3 and 5). Whatever q, the best policy of a preference w is a
mixture of the best ones for a single objective: a coin flip between the extremes. Scalarised first, E[(w . r)^q log p],
a response that is good in both ways counts for more than two that are good in one, and the best policy can be one that
neither extreme uses (a safe completion).

(1) Computed: the optima of both, from many responses of the world's reference policy, beside the exact front.
(2) Trained: SCA and HaM with either weighting; for HaM scalarised first, the hypervolume is that of 2 m - 1 objectives,
one for each preference of an even grid.

Writes CSVs (computed.csv: the optima; modes.csv: what the trained policies do on risky prompts), claims and the picture
to results/ham/figure_structure/.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.modes import risky_modes, world_of
from lightning_moa.figures.optima import EXACT, computed_fronts, curve_styles, draw_computed, summary
from lightning_moa.figures.panels import PanelsConfig, settings_of
from lightning_moa.methods.products import Product, ham, sca, scalarisations
from lightning_moa.pareto import default_reference, preference_grid
from lightning_moa.reporting.claims import OURS, Row, judge
from lightning_moa.reporting.margins import SHARE, of_larger
from lightning_moa.reporting.metrics import MARGIN
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed, metric, paired
from lightning_moa.reporting.styles import Style
from lightning_moa.rewards import UnitMap
from lightning_moa.study.collect import Collected, joined
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import FAR, REFERENCES, Artefact, Tables, judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Study
from lightning_moa.world import World

OBJECTIVES = ("harmless", "helpful")
METHODS = {"ham": ham(), "sca": sca(scalarisations(2))}
WEIGHTINGS = {"per_objective": "per_objective", "scalarised": "scalarise_first"}
"""The name of each weighting in tables, and in the configuration."""
THIRD = "risky_safe"
"""The answer that neither extreme gives."""
WHERE = "section 3.3"
MARGINS = dict(zip(REFERENCES, (MARGIN, 0.0, FAR), strict=True))
"""How far below the worst values of all computed optima their reference point lies, as a share of the range."""


@dataclass
class FigureStructureConfig(PanelsConfig):
    """A study, and the exponents that are compared."""

    powers: list[float] = option([4.0, 12.0], "exponents q of the rewards, above 0")
    samples: int = option(1600, "responses to each distinct prompt, for what is computed", at_least=2)


def main(config: FigureStructureConfig, console: Console) -> None:
    check_options(config)
    own = settings_of(config, OBJECTIVES)
    artefact = Artefact.begin("ham", "figure_structure", own)
    computed = compute(own)
    collected = joined([conduct(each, methods, console) for _, each, methods in studies(config)])
    tables = artefact.tables(collected)
    modes = risky_modes(collected, world_of(own))
    claims = judged(
        lambda name: [
            *computed_claims(own, computed, MARGINS[name]),
            *trained_claims(own, tables.at(name), modes),
        ]
    )
    artefact.write(collected, tables, claims, {"computed.csv": computed, "modes.csv": modes})

    pictures = [artefact.folder / f"figure_structure.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(own, computed, collected, tables), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def check_options(config: FigureStructureConfig) -> None:
    """UserError for exponents, objectives or data that nothing can be made of."""
    powers = config.powers
    if not powers or len(set(powers)) != len(powers) or min(powers) <= 0:
        raise UserError(f"powers={powers}: one or more different numbers above 0 are needed")
    if len(config.objectives or OBJECTIVES) != 2:
        raise UserError(f"objectives={config.objectives}: this figure is of two")
    if config.exact_beta is None:
        raise UserError("exact_beta is empty: needed is the weight of the KL that the optima are under")
    world_of(config)


def studies(
    config: FigureStructureConfig,
) -> list[tuple[str, FigureStructureConfig, Mapping[str, Product]]]:
    """Of every weighting with every exponent: label, configuration, and the methods under names of their own."""
    found = []
    for weighting, power in product(WEIGHTINGS, config.powers):
        own = deepcopy(settings_of(config, OBJECTIVES))
        own.likelihood.weigh = WEIGHTINGS[weighting]
        own.likelihood.power = power
        methods = {name_of(method, weighting, power): each for method, each in METHODS.items()}
        own.methods = {name: each for name, each in config.methods.items() if name in methods}
        found.append((f"{weighting}, q = {power:g}", own, methods))
    return found


def name_of(method: str, weighting: str, power: float) -> str:
    """A method's name in the tables, such as sca_per_objective_4."""
    return f"{method}_{weighting}_{power:g}"


def compute(config: FigureStructureConfig) -> pd.DataFrame:
    """The optima on the grid of preferences, each seed's from responses of its own; columns `seed` and those of
    `computed_fronts`."""
    world, objectives = world_of(config), list(config.objectives or OBJECTIVES)
    frames = []
    for seed in config.seeds:
        frame = computed_fronts(
            world,
            objectives,
            preference_grid(2, config.evaluation.grid_step),
            config.powers,
            beta=config.exact_beta,
            unit=unit_map(config, world, objectives, seed),
            samples=config.samples,
            seed=seed,
        )
        frames.append(frame.assign(seed=seed))
    return pd.concat(frames, ignore_index=True)


def unit_map(config: FigureStructureConfig, world: World, objectives: list[str], seed: int) -> UnitMap:
    """The study's map to [0, 1], fitted on as many responses as the offline phase has."""
    rng = np.random.default_rng([seed, 1])
    prompts = world.sample_prompts(config.likelihood.rows, rng)
    scores = world.rewards(prompts, world.sample_responses(prompts, rng), objectives)
    return UnitMap.fit(config.likelihood.unit_map, scores, objectives)


def computed_summary(
    config: FigureStructureConfig, computed: pd.DataFrame, margin: float = MARGIN
) -> pd.DataFrame:
    """`summary` of each seed: hypervolume relative to the exact front's, mean KL, third answers at equal weights."""
    corner = default_reference(computed[[f"gold_{name}" for name in config.objectives or OBJECTIVES]], margin)
    rows = [summary(rows, corner, THIRD).assign(seed=seed) for seed, rows in computed.groupby("seed")]
    return pd.concat(rows, ignore_index=True)


def computed_claims(
    config: FigureStructureConfig, computed: pd.DataFrame, margin: float = MARGIN
) -> list[Row]:
    """What the best policies of either weighting are like; the intervals are over samples of responses. That no mixture
    has more of the third answer than a corner is the theory itself, and nothing to judge."""
    found, rows = computed_summary(config, computed, margin), []
    for power in config.powers:
        mine = found[found["power"] == power].set_index("seed")
        for column, what in (
            ("hypervolume", "a larger hypervolume"),
            (THIRD, "more safe completions at equal weights"),
        ):
            first, apart = (
                dict(mine[mine["weighting"] == each][column].items())
                for each in ("scalarised", "per_objective")
            )
            rows.append(
                judge(
                    f"q = {power:g}: the optimum scalarised first has {what} than that weighted per objective",
                    WHERE,
                    f"computed {column}, scalarised - per objective",
                    paired(first, apart),
                    ">",
                    0,
                    margin=SHARE,
                    whose=OURS,
                )
            )
    return rows


def trained_claims(config: FigureStructureConfig, tables: Tables, modes: pd.DataFrame) -> list[Row]:
    """What training makes of it."""
    rows = []
    for method, power in product(METHODS, config.powers):
        first, apart = (name_of(method, weighting, power) for weighting in ("scalarised", "per_objective"))
        volumes = [metric(tables.metrics, "hypervolume", name, "gold") for name in (first, apart)]
        shares = [third_answers(modes, name) for name in (first, apart)]
        spanned, safe = "hypervolume of its policies' means", f"highest {THIRD} of its policies"
        for (one, other), what, statistic, margin in (
            (volumes, "a larger hypervolume", spanned, of_larger(*volumes)),
            (shares, "more safe completions in its safest policy", safe, SHARE),
        ):
            claim = (
                f"q = {power:g}: {method.upper() if method == 'sca' else 'HaM'} scalarised first has {what}"
            )
            gap = paired(one, other)
            statistic += ", scalarised - per objective"
            rows.append(judge(claim, WHERE, statistic, gap, ">", 0, margin=margin, whose=OURS))
    return rows


def third_answers(modes: pd.DataFrame, method: str) -> PerSeed:
    """Seed -> the largest share of third answers among the method's policies."""
    return {
        int(seed): float(share)
        for seed, share in modes[modes["method"] == method].groupby("seed")[THIRD].max().items()
    }


def draw(
    config: FigureStructureConfig,
    computed: pd.DataFrame,
    collected: Collected,
    tables: Tables,
) -> Figure:
    """Computed fronts and third answers, and where trained policies come to."""
    across, up = (f"gold_{name}" for name in collected.objectives)
    first = computed[computed["seed"] == config.seeds[0]]
    looks = {(weighting, power): style for weighting, power, style in curve_styles(first)}
    with canvas(13.5, 8.6, "HaM: what weighted likelihood is after, and what training makes of it") as figure:
        axes = figure.subplots(2, 2)
        draw_computed(axes[0, 0], first, across, up, title="Computed optima")
        weight = f"lambda_{collected.objectives[0]}"
        draw_computed(axes[0, 1], first, weight, THIRD, title="Safe completions of risky requests, computed")
        for ax, method, name in zip(axes[1], ("sca", "ham"), ("SCA", "HaM"), strict=True):
            draw_trained(ax, first, tables.points, method, looks, across, up, title=f"{name}, trained")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5)
    return figure


def draw_trained(
    ax: Axes,
    computed: pd.DataFrame,
    points: pd.DataFrame,
    method: str,
    looks: Mapping[tuple[str, float], Style],
    across: str,
    up: str,
    *,
    title: str,
) -> None:
    """Each policy's mean rewards, all seeds, with the exact front."""
    exact = computed[computed["weighting"] == EXACT]
    ax.plot(exact[across], exact[up], color="black", linewidth=2.2, zorder=2)
    for (weighting, power), style in looks.items():
        rows = points[points["method"] == name_of(method, weighting, power)]
        ax.scatter(
            rows[across],
            rows[up],
            color=style.colour,
            marker=style.marker,
            s=34,
            edgecolor="white",
            linewidth=0.5,
        )
    ax.set_title(title)
    for name, axis in ((across, ax.set_xlabel), (up, ax.set_ylabel)):
        axis(f"{name.partition('_')[2]}  (higher is better →)")


STUDY = Study(__file__, "assistant", METHODS, FigureStructureConfig, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
