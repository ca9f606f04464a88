"""All methods on one world, each at the best of the same learning rates: how far from the best policy that exists.

    python experiments/cross/table_methods.py [scale=smoke|tiny] [key=value ...]

Every method starts from one reference policy, has the same rewards and the same responses an update, and is measured on
the same held-out prompts. It is tuned by one rule (`factors`, `tuning_seeds`): its learning rate times each factor on
seeds that are not reported, the largest expected utility decides. Writes table.csv (a row for each method and seed),
ranks.csv and ranks.png (mean ranks, and how far two must lie apart), rates.csv (what was tried and taken), table.md,
the study's own CSVs and the fronts to results/cross/table_methods/.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.figures.all_methods import METHODS, Front, conduct_front, responses_of, studies
from lightning_moa.figures.final_gains import units
from lightning_moa.figures.front_measures import front_measures
from lightning_moa.figures.tuning import TunedConfig
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.markdown import markdown_table
from lightning_moa.reporting.plots import canvas, front_figure, save_figure
from lightning_moa.reporting.ranks import draw_ranks, mean_ranks
from lightning_moa.study.collect import Collected
from lightning_moa.study.planning import REFERENCE
from lightning_moa.study.results import Tables, print_methods
from lightning_moa.study.script import script
from lightning_moa.study.study import Methods, Study

MEASURES = {
    "hypervolume_share": "HV, share",
    "expected_utility": "EU",
    "maximum_utility_loss": "MUL",
    "mean_regret": "regret",
    "worst_regret": "worst",
    "igd_plus": "IGD+",
    "angle": "angle",
    "kl": "KL",
}
COSTS = {
    "trained_parameters": "parameters",
    "responses": "responses",
}
TIMINGS = {"seconds": "seconds", "peak_memory_mib": "MiB"}
"""In table.md alone: all else repeats to the byte."""
RANKED = {"expected_utility": True, "hypervolume_share": True, "igd_plus": False, "mean_regret": False}
"""Measures that methods are ranked by, and whether the larger is the better."""


def table_of(front: Front, tables: Tables) -> pd.DataFrame:
    """A row for each method and seed: MEASURES and COSTS. The reference policy is a method that was not trained."""
    collected, keys = front.collected, ["method", "seed"]
    table, seen = front_measures(collected, tables), responses_of(front.config, front.methods)
    each = tables.points.groupby(keys, sort=False)
    table["angle"] = [angle(collected, mine, int(seed)) for (_, seed), mine in each]
    spent = table[keys].merge(collected.costs, on=keys, how="left").fillna(0)
    table["trained_parameters"] = spent["trained_parameters"].astype(int)
    table["responses"] = (
        spent["training_steps"] * spent["method"].map(lambda name: seen.get(name, 0))
    ).astype(int)
    return table[[*keys, *MEASURES, *COSTS]]


def angle(collected: Collected, mine: pd.DataFrame, seed: int) -> float:
    """Degrees between a preference and what its policy has gained over the reference policy, mean over the grid: gains
    in units of what lies between the best policies for one objective each. A policy that has gained nothing is as far
    from every preference, at 90. NaN where no preference is heard."""
    names = [f"gold_{name}" for name in collected.objectives]
    preferences = mine[[f"lambda_{name}" for name in collected.objectives]].to_numpy()
    points = collected.points
    start = points.loc[(points["method"] == REFERENCE) & (points["seed"] == seed), names].to_numpy()[0]
    gained = (mine[names].to_numpy() - start) / units(collected)[seed]
    lengths = np.linalg.norm(gained, axis=1) * np.linalg.norm(preferences, axis=1)
    cosines = (gained * preferences).sum(axis=1) / np.where(lengths == 0, 1.0, lengths)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())


def ranks_of(table: pd.DataFrame) -> pd.DataFrame:
    """Mean ranks of the trained methods by each measure of RANKED that at least two of them have for every seed."""
    trained = table[table["method"] != REFERENCE]
    known = {
        measure: trained.groupby("method")[measure].apply(lambda of: of.notna().all()) for measure in RANKED
    }
    each = [
        mean_ranks(trained, measure, larger=RANKED[measure]) for measure in RANKED if known[measure].sum() > 1
    ]
    return pd.concat(each, ignore_index=True) if each else pd.DataFrame()


def draw(ranks: pd.DataFrame) -> Figure:
    """A panel for each measure that methods are ranked by."""
    measures = list(ranks.groupby("measure", sort=False))
    with canvas(3.6 * len(measures), 1.5 + 0.19 * ranks["method"].nunique(), "Ranks over seeds") as figure:
        axes = figure.subplots(1, len(measures), squeeze=False)[0]
        for ax, (measure, rows) in zip(axes, measures, strict=True):
            draw_ranks(ax, rows)
            ax.set_title(str(measure).replace("_", " "))
    return figure


def page(table: pd.DataFrame, timings: pd.DataFrame) -> str:
    """The table for readers: means over seeds, best expected utility first."""
    shown = {**MEASURES, **COSTS, **TIMINGS}
    whole = table.merge(timings[["method", "seed", *TIMINGS]], on=["method", "seed"], how="left")
    means = whole.groupby("method")[list(shown)].mean().sort_values("expected_utility", ascending=False)
    cells = [
        [str(method), *("" if pd.isna(value) else f"{value:,.4g}" for value in row)]
        for method, row in zip(means.index, means.to_numpy().tolist(), strict=True)
    ]
    return f"# All methods on one front\n\n{markdown_table(['method', *shown.values()], cells)}"


def main(config: TunedConfig, console: Console, asked: Methods = METHODS) -> None:
    front = conduct_front("table_methods", config, asked, console)
    artefact, collected = front.artefact, front.collected
    tables = artefact.tables(collected)
    table = table_of(front, tables)
    ranks = ranks_of(table)
    artefact.write(
        collected, tables, None, {"table.csv": table, "ranks.csv": ranks, "rates.csv": front.rates}
    )
    if len(ranks):
        save_figure(draw(ranks), artefact.folder / "ranks.png")
    write_atomically(artefact.folder / "table.md", page(table, collected.timings))
    exact = {"gold": front.exact.front[front.gold].to_numpy()}
    picture = front_figure(tables.points, spaces=["gold"], title="All methods", fronts=exact)
    save_figure(picture, artefact.folder / "fronts.png")
    print_methods(console, artefact, collected, tables)
    console.print(f"table: {artefact.folder / 'table.md'}", highlight=False, soft_wrap=True)


STUDY = Study(__file__, "world", METHODS, TunedConfig, parts=studies, any_methods=True)

if __name__ == "__main__":
    script(STUDY, main)
