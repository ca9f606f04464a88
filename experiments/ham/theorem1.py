"""HaM's Theorem 1: how far the hypervolume of a mini-batch is from that of all rows, beside its bound.

    python experiments/ham/theorem1.py [scale=...] [batches=[...]] [draws=...] [delta=...] [key=value ...]

Trains K = 8 heads on harmless, helpful and humorous, as Figure 8c's are trained on two of them, and asks them for the
log-probabilities of all offline rows. Draws mini-batches of each size B from the rows, with replacement, as the proof
has it; their errors and bounds for the first K = 1, 2, 4, 8 heads and the first J = 2, 3 objectives lie in errors.csv
of results/ham/theorem1/<scale>/, beside the claims, the picture and the usual CSVs.

The theorem needs z >= max |log p|; training's z is of the size of mean log-probs, so the table takes the smallest z
that the theorem allows. What weighs a likelihood is r_j^likelihood.power, which is in [0, 1] as rewards are.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.fields import option
from lightning_moa.figures.panels import PanelsConfig, settings_of
from lightning_moa.methods.products import ham
from lightning_moa.pareto.estimation import smallest_z
from lightning_moa.reporting.batch_errors import draw_bound, errors_table
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.margins import of_ratio
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed
from lightning_moa.runs.offline_logps import offline_logps
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import plan_study
from lightning_moa.study.results import Artefact, Judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

OBJECTIVES = ("harmless", "helpful", "humorous")
HEADS = 8
METHODS = {"ham_k8": ham(HEADS)}
WHERE = "Theorem 1"
KEYS = ["batch", "policies", "objectives"]


@dataclass
class Theorem1Config(PanelsConfig):
    """A study, and the mini-batches."""

    batches: list[int] = option([8, 32, 128, 512, 2048], "B: rows of a mini-batch")
    draws: int = option(500, "mini-batches of each size", at_least=2)
    delta: float = option(0.05, "share of mini-batches in which the bound may fail", above=0, below=1)


def main(config: Theorem1Config, console: Console) -> None:
    own = settings_of(config, OBJECTIVES)
    artefact = Artefact.begin("ham", "theorem1", own)
    collected = conduct(own, METHODS, console)
    errors, zs = measured(own)
    claims = Judged(claims_frame(judge_claims(errors, zs, config.delta)))
    tables = artefact.tables(collected)
    artefact.write(collected, tables, claims, {"errors.csv": errors})
    pictures = [artefact.folder / f"theorem1.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(errors, config), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def measured(config: Theorem1Config) -> tuple[pd.DataFrame, PerSeed]:
    """`seed` and the columns of `errors_table`; and of each seed training's z over the least that the theorem asks."""
    plan = plan_study(config, METHODS)
    runs = Path(str(config.runs_dir))
    frames, ratios = [], {}
    for seed, tasks in plan.seeds.items():
        (policy,) = tasks.policies["ham_k8"]
        logps, weights = offline_logps(policy, runs, config.evaluation.batch_size)
        frame = errors_table(logps, weights, config.batches, config.draws, config.delta, seed)
        frames.append(frame.assign(seed=seed)[["seed", *frame.columns]])
        ratios[seed] = training_z(runs / policy.needs["rows"].key) / smallest_z(logps)
    return pd.concat(frames, ignore_index=True), ratios


def training_z(rows: Path) -> float:
    """z of eq. 4 as training has it."""
    from lightning_moa.runs.rows import read_about

    return float(read_about(rows)["z"])


def judge_claims(errors: pd.DataFrame, zs: PerSeed, delta: float) -> list[Row]:
    """Ours: how much of the bound is needed, and whether training is what it speaks of. That the bound holds, and that
    errors fall with the root of B, no draw could deny: the picture and errors.csv show both, no verdict is given."""
    by_seed = {int(str(seed)): rows for seed, rows in errors.groupby("seed")}
    tight = {seed: float((rows["quantile"] / rows["bound"]).max()) for seed, rows in by_seed.items()}
    what = f"largest {1 - delta:g} quantile of the error over its bound"
    claim = "the bound is ten times what is needed, or more"
    return [
        judge(claim, WHERE, what, tight, "<=", 0.1, margin=of_ratio(0.1), whose=OURS),
        judge(
            "training's z is as large as the theorem asks",
            WHERE,
            "z of training / largest |log p|",
            zs,
            ">=",
            1,
            margin=of_ratio(1),
            whose=OURS,
        ),
    ]


def draw(errors: pd.DataFrame, config: Theorem1Config) -> Figure:
    """Errors and bounds, means over seeds."""
    shown = errors.drop(columns="seed").groupby(KEYS, as_index=False).mean()
    with canvas(10.0, 5.2, rf"HaM: Theorem 1 on trained heads, $\delta$ = {config.delta:g}") as figure:
        draw_bound(figure, shown)
    return figure


STUDY = Study(
    __file__,
    "assistant",
    METHODS,
    Theorem1Config,
    parts=lambda config: [("", settings_of(config, OBJECTIVES), METHODS)],
)

if __name__ == "__main__":
    script(STUDY, main)
