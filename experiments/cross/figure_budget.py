"""What a budget buys: all methods with a part of the table's updates, with all of them, and with more.

    python experiments/cross/figure_budget.py [scale=smoke|tiny] [key=value ...]

Each method is trained anew for every one of `budgets`, shares of the table's updates, at the learning rate that the
rule of table_methods.py takes, whose schedule ends with the budget; nothing is tuned again for a budget, which favours
those that the rate suits there, too. Writes budget.csv (for each method, seed and budget the responses that its
policies were trained on, sampled or given, and the expected utility and mean regret), the study's own CSVs of the whole
budget, figure_budget.png and .pdf to results/cross/figure_budget/.
"""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from rich.console import Console

from lightning_moa.config import MethodConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.all_methods import METHODS, conduct_front, responses_of
from lightning_moa.figures.all_methods import studies as whole_studies
from lightning_moa.figures.front_measures import asked_for_all
from lightning_moa.figures.tuning import TunedConfig, utilities
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.chosen import chosen_methods
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import print_methods
from lightning_moa.study.script import script
from lightning_moa.study.study import Methods, Study

DASHES = ["-", "--", ":"]
"""Of the first third of the methods, and so on: there are more of them than colours."""
MEASURES = {"expected_utility": "expected utility", "mean_regret": "mean regret"}


@dataclass
class BudgetConfig(TunedConfig):
    """A study whose methods are trained for several budgets."""

    budgets: list[float] = option([0.25, 0.5, 1.0, 2.0], "shares of the table's updates; 1 is among them")


def with_budget(config: TunedConfig, methods: Methods, share: float) -> TunedConfig:
    """The same with this share of each method's updates, one at least.

    Raises:
        UserError: updates that hang on epochs.
    """
    own = deepcopy(config)
    for name, chosen in chosen_methods(config, methods).items():
        if chosen.settings.steps is None:
            section = next(iter(chosen.answers["objective"].sections))
            raise UserError(f"{section}.steps is empty: budgets are shares of a number of updates")
        steps = max(1, round(share * chosen.settings.steps))
        own.methods[name] = replace(own.methods.get(name, MethodConfig()), steps=steps)
    return own


def studies(config: BudgetConfig) -> list[tuple[str, TunedConfig, Methods]]:
    """The tuning, and one study for each budget: label, configuration, methods.

    Raises:
        UserError: budgets that are not above 0, that stand there twice, or of which 1 is missing.
    """
    budgets = config.budgets
    if 1.0 not in budgets or min(budgets) <= 0 or len(set(budgets)) != len(budgets):
        raise UserError(f"budgets={budgets}: distinct numbers above 0 are needed, 1 among them")
    *tuning, (_, whole, methods) = whole_studies(config)
    return [
        *tuning,
        *((f"budget {share:g}", with_budget(whole, methods, share), methods) for share in sorted(budgets)),
    ]


def spent(collected: Collected, regret: pd.Series, seen: dict[str, int], share: float) -> pd.DataFrame:
    """A row for each method and seed: method, seed, budget, responses that its policies were trained on, and MEASURES;
    `mean_regret` is empty of a method that was not asked for all preferences of the grid."""
    points, rows = collected.points.assign(regret=regret), []
    for _, cost in collected.costs.iterrows():
        method, seed = str(cost["method"]), int(cost["seed"])
        mine = points[(points["method"] == method) & (points["seed"] == seed)]
        rows.append(
            {
                "method": method,
                "seed": seed,
                "budget": share,
                "responses": int(cost["training_steps"]) * seen[method],
                "expected_utility": utilities(collected, method, seed)[0],
                "mean_regret": mine["regret"].mean(skipna=False)
                if asked_for_all(collected, mine)
                else np.nan,
            }
        )
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame) -> Figure:
    """A panel for each measure: a line for each method over the responses that it was trained on, a mean over seeds."""
    looks = styles_of(rows["method"])
    with canvas(5.4 * len(MEASURES), 6.6, "What a budget buys") as figure:
        for ax, (measure, label) in zip(figure.subplots(1, len(MEASURES)), MEASURES.items(), strict=True):
            for place, (method, mine) in enumerate(rows.groupby("method", sort=False)):
                mean, look = mine.groupby("responses")[measure].mean(), looks[str(method)]
                dash = DASHES[place * len(DASHES) // len(looks)]
                ax.plot(mean, dash, color=look.colour, marker=look.marker, markersize=5, label=look.label)
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xlabel("responses trained on, of all its policies")
            ax.set_title(label)
        handles = ax.get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=7.5, handlelength=4)
    return figure


def main(config: BudgetConfig, console: Console, asked: Methods = METHODS) -> None:
    studies(config)
    front = conduct_front("figure_budget", config, asked, console)
    seen, rows = responses_of(front.config, front.methods), []
    for share in sorted(config.budgets):
        own = with_budget(front.config, front.methods, share)
        collected = front.collected if share == 1 else conduct(own, front.methods, console)
        regret = pd.Series(front.artefact.tables(collected).regret, index=collected.points.index)
        rows.append(spent(collected, regret, seen, share))
    budget, tables = pd.concat(rows, ignore_index=True), front.artefact.tables(front.collected)
    front.artefact.write(front.collected, tables, None, {"budget.csv": budget, "rates.csv": front.rates})
    save_figure(draw(budget), *(front.artefact.folder / f"figure_budget.{kind}" for kind in ("png", "pdf")))
    print_methods(console, front.artefact, front.collected, tables)


STUDY = Study(__file__, "world", METHODS, BudgetConfig, parts=studies, any_methods=True)

if __name__ == "__main__":
    script(STUDY, main)
