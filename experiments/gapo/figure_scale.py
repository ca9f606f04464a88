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

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.config import SYNTHETIC, StudyConfig
from lightning_moa.fields import option
from lightning_moa.figures.multiplied import (
    GAINS,
    LOSES,
    Part,
    check_factors,
    draw_part,
    drift_rows,
    legend,
    movement_of,
    over_start,
    steady_rows,
    summary,
)
from lightning_moa.methods.products import (
    GAPO_P1_PPO,
    GAPO_P2_PPO,
    LINEAR_PPO,
    MGDA_PPO,
    SAFE_RLHF_PPO,
    Product,
)
from lightning_moa.reporting.claims import Row, claims_frame
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.fronts import final_rows
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import over_prompts_of_all, together
from lightning_moa.study.planning import REFERENCE, objectives_of
from lightning_moa.study.results import Artefact, Judged, Tables, print_claims
from lightning_moa.study.script import script
from lightning_moa.study.study import DRAWS, Study
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
DRIFTS = [("linear", "linear scalarisation", GAINS, LOSES), ("mgda", "MGDA", LOSES, GAINS)]


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


def main(config: FigureScaleConfig, console: Console) -> None:
    check_options(config)
    artefact = Artefact.begin("gapo", name_of(config), config)
    folders = {folder_of(names, factor): own for names, factor, own in each_of(config)}
    artefact.begin_parts(folders)
    parts, over = [], []
    for names in sets_of(config):
        part, studied = conduct_part(config, names, console)
        parts.append(part)
        over.append(over_prompts_of_all(studied, drawn_claims(config, part)))
    rows = [row for part in parts for row in judge_claims(part, config.multiplies)]
    claims = Judged(claims_frame(rows), over_prompts=together(over))
    claims.write(artefact.folder)

    pictures = [artefact.folder / f"figure_scale.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(parts, config.multiplies), *pictures)
    artefact.end_parts(folders)
    for part in parts:
        console.print(summary(part, f"gapo figure_scale m{len(part.objectives)}"))
    print_claims(console, claims, pictures)


def name_of(config: FigureScaleConfig) -> str:
    """Of the artefact."""
    return "figure_scale" if config.multiplies == "reward" else "figure_scale_objective"


def check_options(config: FigureScaleConfig) -> None:
    """UserError for factors or an objective that nothing can be made of."""
    check_factors(config, "factors", config.factors, config.scaled)


def studies(config: FigureScaleConfig) -> list[tuple[str, FigureScaleConfig, Mapping[str, Product]]]:
    """All of them, with labels, for `moa plan`."""
    return [(f"m = {len(names)}, x {factor:g}", own, METHODS) for names, factor, own in each_of(config)]


def each_of(config: FigureScaleConfig) -> list[tuple[tuple[str, ...], float, FigureScaleConfig]]:
    """Objectives, factor and configuration of each study."""
    return [
        (names, factor, settings_for(config, names, scaled_of(config, names), factor))
        for names in sets_of(config)
        for factor in config.factors
    ]


def folder_of(objectives: tuple[str, ...], factor: float) -> str:
    """Of a study, below the artefact's."""
    return f"m{len(objectives)}/x{factor:g}"


def scaled_of(config: FigureScaleConfig, objectives: tuple[str, ...]) -> str:
    """The objective that is multiplied."""
    return config.scaled or objectives[-1]


def sets_of(config: FigureScaleConfig) -> list[tuple[str, ...]]:
    """The objectives of each study: the configuration's, and with one more where the synthetic world has one."""
    own = objectives_of(config)
    more = [name for name in World.objectives if name not in own] if config.data.name == SYNTHETIC else []
    return [own, (*own, more[0])] if more else [own]


def conduct_part(
    config: FigureScaleConfig, objectives: tuple[str, ...], console: Console
) -> tuple[Part, list[tuple[Artefact, Collected]]]:
    """Train and measure with these objectives, and write the files; also what was measured, a study a factor."""
    scaled = scaled_of(config, objectives)
    studied, measured = [], []
    for factor in config.factors:
        own = settings_for(config, objectives, scaled, factor)
        artefact = Artefact.begin("gapo", name_of(config), own, part=folder_of(objectives, factor))
        collected = conduct(own, METHODS, console)
        tables = artefact.tables(collected)
        artefact.write(collected, tables, None)
        studied.append((artefact, collected))
        measured.append((collected, tables))
    part = part_of(objectives, scaled, config.factors, measured)
    for file, frame in {"scale.csv": part.rows, "movement.csv": movement_of(part)}.items():
        write_atomically(artefact.folder.parent / file, frame.to_csv(index=False, lineterminator="\n"))
    return part, studied


def part_of(
    objectives: tuple[str, ...],
    scaled: str,
    factors: Sequence[float],
    measured: Sequence[tuple[Collected, Tables]],
) -> Part:
    """What each factor's study measured, over the SFT model, which is the same at every factor."""
    collected, _ = measured[0]
    ends = [final_rows(tables.points) for _, tables in measured]
    rows = [
        over_start(points, collected.space, objectives, factor)
        for points, factor in zip(ends, factors, strict=True)
    ]
    values = [f"{collected.space}_{name}" for name in objectives]
    start = ends[0][ends[0]["method"] == REFERENCE][values].mean().to_numpy()
    every = pd.concat(rows, ignore_index=True)
    return Part(objectives, scaled, collected.space, every, start, collected.exact)


def drawn_claims(
    config: FigureScaleConfig, part: Part
) -> Callable[[list[tuple[Collected, Tables]]], list[Row]]:
    """The claims of prompts that were drawn anew, the same ones at every factor."""
    return lambda drawn: judge_claims(
        part_of(part.objectives, part.scaled, config.factors, drawn), config.multiplies
    )


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


def judge_claims(part: Part, multiplies: str) -> list[Row]:
    """GAPO with p = 1 moves least; linear scalarisation drifts to the multiplied objective, MGDA from it. Where score
    and KL term are multiplied alike p = 1 does not move at all, by its weights' very form, and is not judged."""
    others = [name for name in part.methods if name != STEADY]
    # Safe RLHF weighs by thresholds: it lets go of an objective that is above its own, whatever its scale.
    weighing = [name for name in others if name != "safe_rlhf"]
    groups = {"least": others, "least of those without thresholds": weighing}
    steady = steady_rows(part, STEADY, "GAPO p = 1", WHERE, groups) if multiplies == "reward" else []
    return [*steady, *drift_rows(part, WHERE, DRIFTS)]


def draw(parts: list[Part], multiplies: str) -> Figure:
    """A row a number of objectives: where the policies go, how far, and how the multiplied objective fares."""
    styles = styles_of(METHODS)
    what = "one objective's reward" if multiplies == "reward" else "one objective, KL term and all,"
    with canvas(12.5, 4.1 * len(parts) + 0.3, f"GAPO: what multiplying {what} does") as figure:
        for row, part in zip(figure.subplots(len(parts), 3, squeeze=False), parts, strict=True):
            draw_part(row, part, styles)
        handles = legend(parts[0], styles)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8.5)
    return figure


STUDY = Study(__file__, "ppo", METHODS, FigureScaleConfig, parts=studies, reads=[DRAWS])

if __name__ == "__main__":
    script(STUDY, main)
