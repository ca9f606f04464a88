"""Preferences between those that methods were tuned at: does a policy follow a preference smoothly, and how well?

    python experiments/cross/figure_unseen.py [scale=smoke|tiny] [key=value ...]

The policies are those of table_methods.py that can be asked for any preference: steered ones, soups, and decoding by
several policies. They are measured on a grid of `fine` steps, of which the coarse grid of the table is a part; where
the table is made, nothing is trained again. Writes following.csv (for each method and seed the regret at the
preferences of the coarse grid and between them, the largest jump, and whether rewards rise with their weights), the
study's own CSVs, figure_unseen.png and .pdf to results/cross/figure_unseen/.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.deployments import MOD, Soup, Steered
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.all_methods import Front, conduct_front, methods_of
from lightning_moa.figures.final_gains import units
from lightning_moa.figures.tuning import TunedConfig, parts_of_tuning
from lightning_moa.reporting.panels import draw_along_weight
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.planning import REFERENCE, from_one_start, objectives_of
from lightning_moa.study.results import Artefact, Tables, print_methods
from lightning_moa.study.script import script
from lightning_moa.study.study import Methods, Study


@dataclass
class UnseenConfig(TunedConfig):
    """A study whose policies are measured on a finer grid than they are tuned on."""

    fine: float = option(
        0.05, "step between the preferences that policies are measured at", above=0, at_most=1
    )


def asked_anywhere(m: int) -> dict[str, Any]:
    """The methods for m objectives whose policies can be asked for any preference."""
    return {
        name: product
        for name, product in methods_of(m).items()
        if isinstance(product.deployment, Steered | Soup | MOD)
    }


METHODS = asked_anywhere(2)


def studies(config: UnseenConfig) -> list[tuple[str, TunedConfig, Methods]]:
    """The tuning, and what is measured on the finer grid: label, configuration, methods.

    Raises:
        UserError: a finer grid that the coarse one is no part of.
    """
    steps = config.evaluation.grid_step / config.fine
    if steps < 2 or abs(steps - round(steps)) > 1e-9:
        raise UserError(
            f"fine={config.fine:g}: a whole number of steps, two or more, must make one of evaluation.grid_step="
            f"{config.evaluation.grid_step:g}"
        )
    methods = asked_anywhere(len(objectives_of(config)))
    config = from_one_start(config)
    tuning, reported = parts_of_tuning(config, methods)
    measured = deepcopy(reported)
    measured.evaluation.grid_step = config.fine
    return [*tuning, ("", measured, methods)]


def following(front: Front, tables: Tables, coarse: float) -> pd.DataFrame:
    """How each method's policies follow a preference: a row for each method and seed.

    `regret_on`, `regret_between`: means over the preferences of the coarse grid, and over the others. `largest_jump`:
    of the gains between neighbours on the fine grid, in units of what lies between the best policies for one objective
    each, the largest, over what the best policies' is. `rising`: of all pairs of preferences that weigh an objective
    differently, the share in which the one that weighs it more has more of it (ties count half).
    """
    names = front.collected.objectives
    lambdas, unit = [f"lambda_{name}" for name in names], units(front.collected)
    rows = []
    points = tables.points.assign(regret=tables.regret)
    for _, mine in points[points["method"] != REFERENCE].groupby(["method", "seed"], sort=False):
        weights, gold = mine[lambdas].to_numpy(), mine[front.gold].to_numpy()
        regret, seed = mine["regret"].to_numpy(), int(mine["seed"].iloc[0])
        best = front.exact.grid[front.gold].to_numpy() / unit[seed]
        on = (np.abs(weights / coarse - np.round(weights / coarse)) < 1e-6).all(axis=1)
        rows.append(
            {
                "method": mine["method"].iloc[0],
                "seed": seed,
                "regret_on": regret[on].mean(),
                "regret_between": regret[~on].mean(),
                "largest_jump": largest_jump(weights, gold / unit[seed])
                / largest_jump(front.exact.grid[lambdas].to_numpy(), best),
                "rising": rising(weights, gold),
            }
        )
    return pd.DataFrame(rows)


def largest_jump(weights: np.ndarray, values: np.ndarray) -> float:
    """The largest distance between values (n, m) of neighbours: preferences (n, m) that lie nearest to each other."""
    apart = np.linalg.norm(weights[:, None] - weights[None], axis=-1)
    near = np.isclose(apart, apart[apart > 1e-9].min())
    return float(np.linalg.norm(values[:, None] - values[None], axis=-1)[near].max())


def rising(weights: np.ndarray, values: np.ndarray) -> float:
    """The share of pairs, over objectives, in which a larger weight (n, m) comes with a larger value (n, m)."""
    more = weights[:, None] - weights[None] > 1e-9
    difference = values[:, None] - values[None]
    return float(np.where(difference > 0, 1.0, np.where(difference == 0, 0.5, 0.0))[more].mean())


def draw(front: Front, points: pd.DataFrame) -> Figure:
    """For each objective its reward against its weight, a line for each method, the best policies' in black."""
    names = front.collected.objectives
    looks = styles_of(list(front.methods))
    with canvas(5.2 * len(names), 6.4, "Between the preferences that were tuned at") as figure:
        for ax, name in zip(figure.subplots(1, len(names)), names, strict=True):
            best = front.exact.grid[[f"lambda_{name}", f"gold_{name}"]].to_numpy()
            draw_along_weight(ax, points, f"gold_{name}", name, title=name, styles=looks, exact=best)
        ax.set_ylabel("")
        handles = [
            ax.plot([], [], color=look.colour, marker=look.marker, label=look.label)[0]
            for look in looks.values()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def main(config: UnseenConfig, console: Console, asked: Methods = METHODS) -> None:
    studies(config)
    front = conduct_front("figure_unseen", config, asked, console, METHODS, config.fine)
    artefact: Artefact = front.artefact
    tables = artefact.tables(front.collected)
    rows = following(front, tables, config.evaluation.grid_step)
    artefact.write(front.collected, tables, None, {"following.csv": rows, "rates.csv": front.rates})
    picture = draw(front, tables.points)
    save_figure(picture, *(artefact.folder / f"figure_unseen.{kind}" for kind in ("png", "pdf")))
    print_methods(console, artefact, front.collected, tables)


STUDY = Study(__file__, "world", METHODS, UnseenConfig, parts=studies, any_methods=True)

if __name__ == "__main__":
    script(STUDY, main)
