"""GAPO's convergence: does the length of the min-norm direction fall as the methods train?

    python experiments/gapo/figure_convergence.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

The abstract promises convergence guarantees, to a Pareto stationary policy: one at which some mixture of the
objectives' gradients, as they are, is 0. How far a policy is from that is the length of their shortest mixture
(MGDA's direction), here at every look while the methods train, in all parameters where those were looked at.
Gradients are of a batch, so that noise leaves a length that no training takes away: the rows ask whether it falls,
not whether it comes to 0. Writes CSVs (convergence.csv) and the picture to results/gapo/figure_convergence/; trains
nothing that figure_progress.py doesn't.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.gradients import Look, read_looks, watched
from lightning_moa.methods.products import GAPO_P1_PPO, GAPO_P2_PPO, LINEAR_PPO, MGDA_PPO
from lightning_moa.pareto import min_norm_weights
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.margins import LOG
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import Artefact, Judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Part, Study

METHODS = {"mgda": MGDA_PPO, "gapo_p1": GAPO_P1_PPO, "gapo_p2": GAPO_P2_PPO, "linear": LINEAR_PPO}
COLUMNS = {
    "shortest": "Length of the shortest mixture of gradients",
    "share": "The same over the gradients' mean length",
}


def studies(config: StudyConfig) -> list[Part]:
    """The one study, whose gradients are looked at."""
    return [("", watched(config, METHODS), METHODS)]


def main(config: StudyConfig, console: Console) -> None:
    ((_, config, _),) = studies(config)
    artefact = Artefact.begin("gapo", "figure_convergence", config)
    collected = conduct(config, METHODS, console)
    tables = artefact.tables(collected)
    seen = measured(read_looks(collected, METHODS))
    claims = Judged(claims_frame(judge_claims(seen)))
    artefact.write(collected, tables, claims, {"convergence.csv": seen})
    pictures = [artefact.folder / f"figure_convergence.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(seen), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def measured(looks: list[Look]) -> pd.DataFrame:
    """How far from Pareto stationary each look's policy is.

    Returns:
        `method`, `seed`, `step`, `probe`, `shortest`, the length of the shortest mixture of the gradients, and
        `share`, that over the gradients' mean length: 1 where all are alike, 0 where a mixture is 0.

    Raises:
        UserError: looks at fewer than two updates, which nothing can fall between.
    """
    rows = []
    for look in looks:
        weights = min_norm_weights(look.gramian)
        shortest = float(np.sqrt(max(weights @ look.gramian @ weights, 0.0)))
        mean = float(look.norms.mean())
        head = {"method": look.method, "seed": look.seed, "step": look.step, "probe": look.probe}
        rows.append(head | {"shortest": shortest, "share": shortest / mean if mean else 0.0})
    frame = pd.DataFrame(rows)
    # In all parameters, where they were looked at; else in what the methods probe.
    frame = frame[frame["probe"] == ("all" if (frame["probe"] == "all").any() else frame["probe"].iloc[0])]
    if frame.groupby(["method", "seed"])["step"].nunique().min() < 2:
        raise UserError("methods.<name>.watch: fewer than two looks; allowed are smaller values")
    return frame


def judge_claims(seen: pd.DataFrame) -> list[Row]:
    """Whether the length is less in the last third of the looks than in the first."""
    rows = []
    for method in METHODS:
        label = styles_of([method])[method].label
        for column, words in (("shortest", "its length"), ("share", "its share of the gradients' length")):
            claim = f"{label}: {words} falls: the policy comes nearer to Pareto stationary"
            what = f"log of the mean {column}, last third of the looks over the first"
            rows.append(
                judge(claim, "abstract", what, fall(seen, method, column), "<", 0, margin=LOG, whose=OURS)
            )
    return rows


def fall(seen: pd.DataFrame, method: str, column: str) -> PerSeed:
    """Seed -> log of the last third's mean over the first third's."""
    found = {}
    for seed, rows in seen[seen["method"] == method].groupby("seed"):
        values = rows.sort_values("step")[column].to_numpy()
        third = max(1, len(values) // 3)
        ends = [max(float(part.mean()), 1e-12) for part in (values[:third], values[-third:])]
        found[int(str(seed))] = float(np.log(ends[1] / ends[0]))
    return found


def draw(seen: pd.DataFrame) -> Figure:
    """Both measures over updates: the mean over seeds, single seeds faintly."""
    looks = styles_of(list(METHODS))
    with canvas(10.5, 4.2, "GAPO: how far policies are from Pareto stationary as they train") as figure:
        for ax, (column, title) in zip(figure.subplots(1, 2), COLUMNS.items(), strict=True):
            for method, rows in seen.groupby("method", sort=False):
                style = looks[str(method)]
                for _, one in rows.groupby("seed"):
                    ax.plot(one["step"], one[column], color=style.colour, alpha=0.2, linewidth=0.8)
                mean = rows.groupby("step")[column].mean()
                ax.plot(mean.index, mean, color=style.colour, marker=style.marker, label=style.label)
            ax.set_xlabel("updates")
            ax.set_title(title)
            ax.set_ylim(bottom=0)
        ax.legend(fontsize=8.5)
    return figure


STUDY = Study(__file__, "ppo", METHODS, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
