"""Who follows a multiplied reward, asked of all methods that sample and are scored: GAPO answers it at the level of
gradients (p = 1), GDPO at that of rewards (morlhf_gdpo), and others by thresholds, bargains or volumes.

    python experiments/cross/figure_scale.py [scale=smoke|tiny] [multiplied_by=[...]] [scaled=...] [key=value ...]

One objective's reward is multiplied in training by each of `multiplied_by`, its KL term and Safe RLHF's thresholds are
not, and what comes out is measured in gold rewards. World, start, budget and learning rates are those of
table_methods.py; a rate is tuned at factor 1 alone, and kept. A method's movement is the largest distance between its
gains over the SFT model at any two factors, for methods that hear preferences the mean over those of the grid: see
gapo/figure_scale.py, which has more seeds and numbers of objectives for fewer methods, and the same functions.

Methods that learn from labels alone hear no reward and can't be asked; of those that score given responses no setting
multiplies a reward. asked.csv names them all. Writes scale.csv (rewards, gains and KL of each policy at each factor),
movement.csv, rates.csv, claims.csv, the study's own CSVs at factor 1, figure_scale.png and .pdf to
results/cross/figure_scale/.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.all_methods import Front, conduct_front, methods_of
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
from lightning_moa.figures.tuning import TunedConfig, parts_of_tuning
from lightning_moa.methods.products import Product
from lightning_moa.methods.sections import answers_of
from lightning_moa.objectives.settings import ScoredConfig
from lightning_moa.reporting.claims import Row, claims_frame
from lightning_moa.reporting.fronts import final_rows
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import REFERENCE, from_one_start, objectives_of
from lightning_moa.study.results import Judged, Tables, print_claims
from lightning_moa.study.script import script
from lightning_moa.study.study import Methods, Study

SCALE = "reward_scale"
WHERE = "multiplied rewards"
STEADY = {"gapo": "GAPO p = 1", "morlhf_gdpo": "GDPO"}
"""Whose answer to a multiplied reward is in its paper."""
DRIFTS = [
    ("morlhf_ppo", "MORLHF by PPO", GAINS, LOSES),
    ("morlhf_grpo", "MORLHF by GRPO", GAINS, LOSES),
    ("morlhf_rloo", "MORLHF by RLOO", GAINS, LOSES),
    ("panacea_rloo", "Panacea by RLOO", GAINS, LOSES),
    ("mgda", "MGDA", LOSES, GAINS),
]


@dataclass
class FigureScaleConfig(TunedConfig):
    """A tuned study, and what is multiplied in it by how much."""

    multiplied_by: list[float] = option(
        [0.125, 1.0, 8.0], "what the reward is multiplied by in training, 1 among them"
    )
    scaled: str | None = option(None, "the objective whose reward is multiplied; empty: the study's last")


def answer_of(product: Product) -> str:
    """Empty where a method can be asked; else why it can't."""
    section = next(iter(answers_of(product)["objective"].sections.values()))
    if SCALE in {item.name for item in fields(section)}:
        return ""
    if issubclass(section, ScoredConfig):
        return "scores given responses, and no setting multiplies a reward"
    return "learns from labels alone, and hears no reward"


def asked_of(methods: Methods) -> dict[str, Product]:
    """The methods that can be asked."""
    return {name: product for name, product in methods.items() if not answer_of(product)}


METHODS = asked_of(methods_of(2))


def studies(config: FigureScaleConfig) -> list[tuple[str, TunedConfig, Methods]]:
    """The tuning, and one study for each factor: label, configuration, methods."""
    check_factors(config, "multiplied_by", config.multiplied_by, config.scaled)
    config = from_one_start(config)
    methods, scaled = asked_of(methods_of(len(objectives_of(config)))), scaled_of(config)
    tuning, reported = parts_of_tuning(config, methods)
    measured = [
        (f"x {factor:g}", at_factor(reported, methods, scaled, factor), methods)
        for factor in config.multiplied_by
    ]
    return [*tuning, *measured]


def scaled_of(config: FigureScaleConfig) -> str:
    """The objective that is multiplied."""
    return config.scaled or objectives_of(config)[-1]


def at_factor(config: TunedConfig, methods: Mapping[str, Product], scaled: str, factor: float) -> TunedConfig:
    """The study at a factor; at 1 the very study of the table, so that runs are shared."""
    own = deepcopy(config)
    sections = {next(iter(answers_of(product)["objective"].sections)) for product in methods.values()}
    for section in sections if factor != 1 else ():
        scales = getattr(getattr(own, section), SCALE)
        scales[scaled] = factor * scales.get(scaled, 1.0)
    return own


def part_of(front: Front, tables: Mapping[float, Tables], scaled: str) -> Part:
    """The rows of all factors."""
    names, space = front.collected.objectives, front.collected.space
    lambdas = [f"lambda_{name}" for name in names]
    last = {factor: final_rows(each.points) for factor, each in tables.items()}
    rows = [over_start(points, space, names, factor, lambdas) for factor, points in last.items()]
    start = last[1.0].loc[last[1.0]["method"] == REFERENCE, [f"{space}_{name}" for name in names]]
    return Part(
        names, scaled, space, pd.concat(rows, ignore_index=True), start.mean().to_numpy(), front.exact
    )


def judge_claims(part: Part) -> list[Row]:
    """Those who answer the question in their papers move less than others; who weighs rewards or gradients as they are
    drifts. Methods that were not asked for are passed over."""
    rows: list[Row] = []
    for name, title in STEADY.items():
        others = [each for each in part.methods if each != name]
        if name in part.methods and others:
            groups = {"least": others}
            rows += steady_rows(part, name, title, WHERE, groups)
    return rows + drift_rows(part, WHERE, [drift for drift in DRIFTS if drift[0] in part.methods])


def draw(part: Part) -> Figure:
    """Where the policies go, how far, and how the multiplied objective fares."""
    styles = styles_of(part.methods)
    with canvas(16.0, 6.4, "Who follows a multiplied reward") as figure:
        draw_part(figure.subplots(1, 3), part, styles)
        figure.legend(handles=legend(part, styles), loc="outside lower center", ncols=7, fontsize=7.5)
    return figure


def main(config: FigureScaleConfig, console: Console, asked: Methods = METHODS) -> None:
    studies(config)
    able, scaled = asked_of(asked), scaled_of(config)
    if not able:
        raise UserError(f"methods={', '.join(asked)}: none of them hears a reward that can be multiplied")
    whole = {**methods_of(len(objectives_of(config))), **asked}
    front = conduct_front("figure_scale", config, able, console, METHODS)
    artefact = front.artefact
    found = {
        factor: front.collected
        if factor == 1
        else conduct(at_factor(front.config, able, scaled, factor), front.methods, console)
        for factor in config.multiplied_by
    }
    tables = {factor: artefact.tables(each) for factor, each in found.items()}
    part = part_of(front, tables, scaled)
    answers = [
        {"method": name, "asked": name in able, "why_not": answer_of(each)} for name, each in whole.items()
    ]
    others = {"asked.csv": pd.DataFrame(answers), "rates.csv": front.rates}
    # These have the artefact's columns in front.
    for file, frame in (("scale.csv", part.rows), ("movement.csv", movement_of(part))):
        others[file] = frame.drop(columns=["paper", "artefact", "scale"])
    claims = Judged(claims_frame(judge_claims(part)))
    artefact.write(front.collected, tables[1.0], claims, others)
    pictures = [artefact.folder / f"figure_scale.{kind}" for kind in ("png", "pdf")]
    save_figure(draw(part), *pictures)
    console.print(summary(part, "cross figure_scale"))
    for row in answers:
        if row["why_not"]:
            console.print(f"not asked: {row['method']} {row['why_not']}", highlight=False)
    print_claims(console, claims, pictures)


STUDY = Study(__file__, "world", METHODS, FigureScaleConfig, parts=studies, any_methods=True)

if __name__ == "__main__":
    script(STUDY, main)
