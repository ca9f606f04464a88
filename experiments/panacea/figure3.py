"""Panacea, Figure 3: how the rewards of responses are distributed before and after alignment.

    python experiments/panacea/figure3.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

Uses Figure 4's Panacea, or trains it. Shows the rewards of each response of the SFT model and of Panacea at several
preferences; judges the paper's claims; writes CSVs (each response's rewards in responses.csv) and the picture to
results/panacea/figure3/.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.figures.margins import reward_margin
from lightning_moa.methods.products import PANACEA_PPO
from lightning_moa.reporting.claims import Row, claims_frame, judge
from lightning_moa.reporting.fronts import final_rows, preferences_of
from lightning_moa.reporting.panels import shades
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import over_prompts
from lightning_moa.study.planning import REFERENCE
from lightning_moa.study.results import Artefact, Judged, Tables, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import DRAWS, Study
from lightning_moa.task_files import SCORES

METHODS = {"panacea": PANACEA_PPO}
WEIGHTS = (0.0, 0.3, 0.5, 0.7, 1.0)
"""Of the first of two objectives, where the grid has them."""


def main(config: StudyConfig, console: Console) -> None:
    artefact = Artefact.begin("panacea", "figure3", config)
    collected = conduct(config, METHODS, console)
    tables = artefact.tables(collected)
    responses = shown_responses(collected)
    over = over_prompts(
        artefact, collected, lambda rows, each: judge_claims(rows, each, shown_responses(rows))
    )
    claims = Judged(claims_frame(judge_claims(collected, tables, responses)), over_prompts=over)
    artefact.write(collected, tables, claims, {"responses.csv": responses})

    pictures = [artefact.folder / f"figure3.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, responses), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def shown_responses(collected: Collected) -> pd.DataFrame:
    """Rewards of each response of the SFT model, and of the trained Panacea at the preferences that are shown."""
    names = [f"lambda_{name}" for name in collected.objectives]
    rows = final_rows(collected.responses)
    asked = preferences_of(rows[names])
    near = (np.abs(asked[:, None] - preferences_shown(collected)[None]) < 1e-6).all(axis=2).any(axis=1)
    rewards = [name for name in rows.columns if name.startswith(SCORES)]
    keys = ["method", "seed", "step", "policy", *names, "prompt_index"]
    return rows[near | (rows["method"] == REFERENCE)][[*keys, *rewards, "tokens", "log_ratio"]]


def preferences_shown(collected: Collected) -> np.ndarray:
    """(n, m) rows of the grid: ours for two objectives, as the paper names none; for more, the corners and the centre's
    nearest.

    In the order of the first objective's weight.
    """
    mine = collected.points[collected.points["method"] == "panacea"]
    grid = np.unique(preferences_of(mine[[f"lambda_{name}" for name in collected.objectives]]), axis=0)
    if grid.shape[1] == 2:
        return grid[np.isclose(grid[:, :1], np.array(WEIGHTS)).any(axis=1)]
    centre = np.abs(grid - 1 / grid.shape[1]).max(axis=1).argmin()
    return np.concatenate([grid[(grid == 1).any(axis=1)], grid[[centre]]])


def judge_claims(collected: Collected, tables: Tables, responses: pd.DataFrame) -> list[Row]:
    """The paper's claims about this figure; that rewards follow their weights is asked once, with Figure 4."""
    rows = []
    for objective in collected.objectives:
        column = f"{collected.space}_{objective}"
        rows.append(
            judge(
                f"{objective} shifts right of SFT at every preference",
                "Fig. 3",
                f"worst shift of the mean of {column}",
                worst_shift(collected, responses, column),
                ">",
                0,
                margin=reward_margin(collected, objective),
            )
        )
    return rows


def worst_shift(collected: Collected, responses: pd.DataFrame, column: str) -> PerSeed:
    """The smallest difference, over the shown preferences, of Panacea's mean reward and the SFT model's."""
    found = {}
    for seed, rows in responses.groupby("seed"):
        before = rows[rows["method"] == REFERENCE][column].mean()
        keys = [f"lambda_{name}" for name in collected.objectives]
        after = rows[rows["method"] != REFERENCE].groupby(keys)[column].mean()
        found[int(str(seed))] = float((after - before).min())
    return found


def draw(collected: Collected, responses: pd.DataFrame) -> Figure:
    """One panel per objective: the SFT model's distribution filled, Panacea's as lines, one colour a preference."""
    shown = preferences_shown(collected)
    labels = [", ".join(f"{value:.2g}" for value in row) for row in shown]
    width = 4.9 * len(collected.objectives)
    title = f"Panacea, Figure 3: rewards of responses, {collected.space} reward"
    with canvas(width, 4.4, title) as figure:
        panels = figure.subplots(1, len(collected.objectives), squeeze=False)[0]
        for ax, objective in zip(panels, collected.objectives, strict=True):
            draw_panel(ax, collected, responses, f"{collected.space}_{objective}", shown, labels)
            ax.set_title(objective)
            ax.set_xlabel("reward of a response  (higher is better →)")
            ax.set_ylabel("density")
        handles, names = panels[0].get_legend_handles_labels()
        named = f"SFT, and Panacea at ({', '.join(collected.objectives)}) ="
        legend = figure.legend(
            handles, names, loc="outside lower center", ncols=len(handles), fontsize=8.5, title=named
        )
        legend.get_title().set_fontsize(8.5)
    return figure


def draw_panel(
    ax: Axes, collected: Collected, responses: pd.DataFrame, column: str, shown: np.ndarray, labels: list[str]
) -> None:
    """Densities of one column, all seeds together, and the means as ticks on the axis."""
    import seaborn

    before = responses[responses["method"] == REFERENCE][column]
    common = {"ax": ax, "warn_singular": False}
    seaborn.kdeplot(x=before, fill=True, color="#999999", linewidth=0, alpha=0.45, label="SFT", **common)
    ax.axvline(before.mean(), ymax=0.05, color="#777777", linewidth=3)
    asked = preferences_of(responses[[f"lambda_{name}" for name in collected.objectives]])
    for label, preference, style in zip(labels, shown, shades(labels).values(), strict=True):
        values = responses[np.isclose(asked, preference).all(axis=1)][column]
        seaborn.kdeplot(x=values, color=style.colour, linewidth=1.8, label=label, **common)
        ax.axvline(values.mean(), ymax=0.05, color=style.colour, linewidth=3)


STUDY = Study(__file__, "rlhf", METHODS, reads=[DRAWS])

if __name__ == "__main__":
    script(STUDY, main)
