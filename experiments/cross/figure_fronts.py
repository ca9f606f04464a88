"""The fronts of all methods beside the exact one: what at least half of the seeds attain.

    python experiments/cross/figure_fronts.py [scale=smoke|tiny] [key=value ...]

The policies are those of table_methods.py, at the learning rates that its rule takes: where the table is made, nothing
is trained again. A panel for each kind of thing that policies learn from: pairs, what they sample themselves (those that
hear a preference, and those that are alike for all users), and rows with rewards. What a seed's front attains lies below and left of it; the bold staircase is what at least half of the
seeds attain, the black line the best that exists; a row of panels for each two of the objectives. Writes attained.csv
(the points of the bold staircases), the study's own CSVs, figure_fronts.png and .pdf to results/cross/figure_fronts/.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.figures.all_methods import METHODS, Front, conduct_front, studies
from lightning_moa.figures.tuning import TunedConfig
from lightning_moa.pareto import is_non_dominated
from lightning_moa.reporting.front_panels import draw_cluster_fronts, legend_entries, median_front
from lightning_moa.reporting.fronts import by_seed
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.chosen import chosen_methods
from lightning_moa.study.results import print_methods
from lightning_moa.study.script import script
from lightning_moa.study.study import Methods, Study

PANELS = {"pairs": "from pairs", "prompts": "from what it samples", "sequences": "from rows with rewards"}
"""View of the data that an objective has -> what its methods learn from."""
FOR_ALL = "from what it samples, alike for all users"


def panels_of(front: Front, heard: Collection[str]) -> dict[str, list[str]]:
    """What is learned from, in words -> the methods that do so; panels without any are left out. `heard`: the methods
    whose policies are asked for a preference."""
    found: dict[str, list[str]] = {words: [] for words in (*PANELS.values(), FOR_ALL)}
    for name, chosen in chosen_methods(front.config, front.methods).items():
        view = chosen.objective.view
        found[FOR_ALL if view == "prompts" and name not in heard else PANELS[view]].append(name)
    return {words: names for words, names in found.items() if names}


def attained(points: pd.DataFrame, methods: Sequence[str], objectives: Sequence[str]) -> pd.DataFrame:
    """For each method and two of the objectives, what at least half of its seeds' fronts attain: method, x, y (the
    objectives' names) and the points, x_value, y_value, ascending in the first."""
    rows = []
    for method in methods:
        mine = points[points["method"] == method]
        for x, y in combinations(objectives, 2):
            columns = [f"gold_{x}", f"gold_{y}"]
            values = [of[columns].to_numpy(np.float64) for _, of in by_seed(mine)]
            front = median_front([each[is_non_dominated(each)] for each in values])
            rows += [{"method": method, "x": x, "y": y, "x_value": at[0], "y_value": at[1]} for at in front]
    return pd.DataFrame(rows)


def draw(front: Front, points: pd.DataFrame, panels: Mapping[str, Sequence[str]]) -> Figure:
    """A column of panels for each thing that is learned from, a row for each two of the objectives."""
    pairs = list(combinations(front.collected.objectives, 2))
    with canvas(4.6 * len(panels), 4.2 * len(pairs) + 1.6, "All methods on one front") as figure:
        parts = figure.subfigures(1, len(panels), squeeze=False)[0]
        for part, (words, methods) in zip(parts, panels.items(), strict=True):
            looks = styles_of(methods)
            axes = part.subplots(len(pairs), 1, squeeze=False)[:, 0]
            for ax, pair in zip(axes, pairs, strict=True):
                draw_cluster_fronts(ax, points, pair, "gold", looks, title=words)
                best = front.exact.front[[f"gold_{name}" for name in pair]].to_numpy(np.float64)
                best = best[is_non_dominated(best)]
                ax.plot(*best[np.argsort(best[:, 0])].T, color="black", linewidth=1.4, zorder=6)
            handles = legend_entries(looks, "plane", seeds=len(front.config.seeds), point="one policy")
            part.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7)
    return figure


def main(config: TunedConfig, console: Console, asked: Methods = METHODS) -> None:
    front = conduct_front("figure_fronts", config, asked, console)
    artefact, collected = front.artefact, front.collected
    tables = artefact.tables(collected)
    bold = attained(tables.points, list(front.methods), collected.objectives)
    artefact.write(collected, tables, None, {"attained.csv": bold, "rates.csv": front.rates})
    known = tables.points[f"lambda_{collected.objectives[0]}"].notna()
    picture = draw(front, tables.points, panels_of(front, set(tables.points["method"][known])))
    save_figure(picture, *(artefact.folder / f"figure_fronts.{kind}" for kind in ("png", "pdf")))
    print_methods(console, artefact, collected, tables)


STUDY = Study(__file__, "world", METHODS, TunedConfig, parts=studies, any_methods=True)

if __name__ == "__main__":
    script(STUDY, main)
