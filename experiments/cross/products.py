"""Every policy with every objective and every aggregation, on one world: a number, or why there is none.

    python experiments/cross/products.py [scale=smoke|tiny] [policies=[...]] [learned_by=[...]] [aggregations=[...]]
        [key=value ...]

The answers are those that the rooms have names for, or those that are asked for (`learned_by`: objectives). Which
method three answers make, what its policies are trained for and how they are used follows from what the answers say of
themselves (lightning_moa/figures/grid_of_answers.py). A cell is a number where a study can be planned of it, and the
planner's own refusal where it can't; one that was planned and whose training failed is named so, the others are kept,
and the exit code is 1.

A number is of a policy after equally many updates on as many responses, at one learning rate for all and one setting of
each answer: nothing is tuned for any cell, the objectives see different data (pairs, or what they sample), and cells
train one policy or several. So this says what can be put together and where it is after such a training. It is no
ranking of methods; table_methods.py tunes each by one rule. Nor does a number say that a combination makes sense: the
values of clipped surrogates, which Tchebycheff's kin look at, have no meaning by themselves.

Writes table.csv (a row for each cell: outcome, reason, and means over seeds of the expected utility, the mean regret
against the exact front, empty where no preference is heard, and the hypervolume as a share of that front's: an upper
bound of it with three or more objectives), table.md, the study's own CSVs, products.png and .pdf to
results/cross/products/.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import WorldConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.front_measures import front_measures
from lightning_moa.figures.grid_of_answers import AXES, Cell, cells, only, planned
from lightning_moa.methods.products import Product
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.markdown import markdown_table
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.execute import RunsFailed
from lightning_moa.study.planning import from_one_start, plan_study
from lightning_moa.study.results import Artefact, print_place
from lightning_moa.study.script import script
from lightning_moa.study.study import Part, Study

NUMBER, REFUSED, FAILED = "number", "refused", "failed"
HATCHES = {REFUSED: "////", FAILED: "xxxx"}
MEASURES = ["expected_utility", "mean_regret", "hypervolume_share"]
METHODS = {cell.name: cell.outline for cell in cells()}
"""By the names of their answers; what they are used for follows from the study."""


@dataclass
class ProductsConfig(StudyConfig):
    """A study of the grid of answers, or of a part of it."""

    policies: list[str] = option([], "policies of the grid, by their short names; empty: all")
    learned_by: list[str] = option([], "objectives of the grid, by their short names; empty: all")
    aggregations: list[str] = option([], "aggregations of the grid, by their short names; empty: all")


def grid_of(config: ProductsConfig) -> list[Cell]:
    """The cells that are asked for.

    Raises:
        UserError: no such answer, or data whose best policies are not known.
    """
    if not isinstance(config.data, WorldConfig):
        raise UserError(f"data={config.data.name}: a world is needed, whose best policies are known")
    return cells(config.policies, config.learned_by, config.aggregations)


def studies(config: ProductsConfig) -> list[Part]:
    """What is trained: label, configuration, and the methods that can be planned."""
    grid, config = grid_of(config), from_one_start(config)
    methods, _ = planned(config, grid)
    return [("", only(config, list(methods)), {cell.name: each for cell, each in methods.items()})]


def trained(
    config: ProductsConfig, methods: Mapping[Cell, Product], console: Console
) -> tuple[Collected | None, dict[Cell, str]]:
    """The rows of all cells whose training comes to an end, and what the others say; None: none does."""
    failed: dict[Cell, str] = {}
    collected = None
    try:
        collected = conducted(config, methods, console) if methods else None
    except (RunsFailed, UserError) as error:
        console.print(f"cell by cell, for not all are well: {error}", highlight=False)
        for cell, product in methods.items():
            try:
                conducted(config, {cell: product}, console)
            except (RunsFailed, UserError) as own:
                failed[cell] = str(own)
    left = {cell: product for cell, product in methods.items() if cell not in failed}
    if left and collected is None:
        collected = conducted(config, left, console)
    if collected is None:
        return None, failed
    lost = [cell for cell in left if not is_measured(collected, cell)]
    failed |= dict.fromkeys(
        lost, "its policies diverged in the last update: what was measured is no finite number"
    )
    left = {cell: product for cell, product in left.items() if cell not in failed}
    if lost:
        collected = conducted(config, left, console) if left else None
    return collected, failed


def is_measured(collected: Collected, cell: Cell) -> bool:
    """Whether all of a cell's rewards and KLs are finite."""
    mine = collected.points[collected.points["method"] == cell.name]
    columns = [*(f"gold_{name}" for name in collected.objectives), "kl"]
    return bool(np.isfinite(mine[columns].to_numpy(np.float64)).all())


def conducted(config: ProductsConfig, methods: Mapping[Cell, Product], console: Console) -> Collected:
    """The rows of a study of these cells."""
    named = {cell.name: product for cell, product in methods.items()}
    return conduct(only(config, list(methods)), named, console)


def table_of(
    grid: Sequence[Cell], refused: Mapping[Cell, str], failed: Mapping[Cell, str], measured: pd.DataFrame
) -> pd.DataFrame:
    """A row for each cell, in the order of the rooms' names: the answers, outcome, reason and MEASURES."""
    means = measured.groupby("method")[MEASURES].mean() if len(measured) else pd.DataFrame(columns=MEASURES)
    rows = []
    for cell in grid:
        known = {**dict.fromkeys(refused, REFUSED), **dict.fromkeys(failed, FAILED)}
        outcome = known.get(cell, NUMBER)
        reason = {**refused, **failed}.get(cell, "")
        numbers = means.loc[cell.name] if outcome == NUMBER else dict.fromkeys(MEASURES, np.nan)
        rows.append({**vars(cell), "outcome": outcome, "reason": reason, **numbers})
    return pd.DataFrame(rows)


def kind_of(reason: str) -> str:
    """A reason without the names of the two answers that it is about: what several cells have in common."""
    return re.sub(rf"\b({'|'.join(AXES)})=\w+", r"the \1", reason).partition("; allowed is")[0]


def kinds_of(table: pd.DataFrame) -> dict[str, int]:
    """Kind of reason -> its number in the picture, from 1, those of most cells first."""
    reasons = table.loc[table["outcome"] != NUMBER, "reason"].map(kind_of)
    return {str(kind): i for i, kind in enumerate(reasons.value_counts(sort=True).index, 1)}


def draw(table: pd.DataFrame) -> Figure:
    """A column for each aggregation, a row for each policy and objective; expected utilities, or reasons' numbers."""
    kinds = kinds_of(table)
    across = list(dict.fromkeys(table["aggregation"]))
    down = list(dict.fromkeys(zip(table["policy"], table["objective"], strict=True)))
    size = (3.4 + 0.62 * len(across), 3.0 + 0.33 * len(down) + 0.2 * len(kinds))
    with canvas(max(size[0], 7.5), size[1], "Policies x objectives x aggregations") as figure:
        ax = figure.subplots()
        values = np.full((len(down), len(across)), np.nan)
        for row in table.itertuples():
            place = down.index((row.policy, row.objective)), across.index(row.aggregation)
            values[place] = row.expected_utility
            if row.outcome != NUMBER:
                draw_reason(ax, place, row.outcome, kinds[kind_of(row.reason)])
        image = ax.imshow(values, aspect="auto", cmap="viridis")
        dark = np.nanmean(values) if np.isfinite(values).any() else 0.0
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = "white" if value < dark else "black"
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=colour)
        ax.set_xticks(range(len(across)), across, rotation=45, ha="right")
        ax.set_yticks(range(len(down)), [f"{policy}, {objective}" for policy, objective in down])
        ax.grid(visible=False)
        if np.isfinite(values).any():
            figure.colorbar(image, ax=ax, label="expected utility (higher is better)", fraction=0.03)
        handles = [
            Patch(facecolor="white", edgecolor="grey", hatch=HATCHES[outcome], label=outcome)
            for outcome in HATCHES
            if (table["outcome"] == outcome).any()
        ]
        handles += [Patch(visible=False, label=f"{number}: {kind}") for kind, number in kinds.items()]
        if handles:
            figure.legend(handles=handles, loc="outside lower left", fontsize=7)
    return figure


def draw_reason(ax: Axes, place: tuple[int, int], outcome: str, number: int) -> None:
    """A hatched cell with the number of its reason."""
    corner = (place[1] - 0.5, place[0] - 0.5)
    ax.add_patch(Rectangle(corner, 1, 1, facecolor="white", edgecolor="lightgrey", hatch=HATCHES[outcome]))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    ax.text(place[1], place[0], str(number), ha="center", va="center", fontsize=6.5, bbox=box)


def page(table: pd.DataFrame) -> str:
    """The same for readers: a table for each policy, cells as in the picture, and the reasons."""
    kinds, parts = kinds_of(table), ["# Policies x objectives x aggregations\n"]
    parts.append(
        "Expected utility after equal updates at one learning rate, not tuned: no ranking of methods.\n"
    )
    for policy, mine in table.groupby("policy", sort=False):
        across = list(dict.fromkeys(mine["objective"]))
        rows = [
            [
                str(aggregation),
                *(shown(kinds, *each) for each in cells_of[["outcome", "reason", MEASURES[0]]].to_numpy()),
            ]
            for aggregation, cells_of in mine.groupby("aggregation", sort=False)
        ]
        parts.append(f"## {policy}\n\n{markdown_table(['aggregation', *across], rows)}")
    listed = markdown_table(["", "why"], [[f"({number})", kind] for kind, number in kinds.items()])
    return "\n".join([*parts, f"## Reasons\n\n{listed}"] if kinds else parts)


def shown(kinds: Mapping[str, int], outcome: str, reason: str, value: float) -> str:
    """A cell's number, or its outcome and the number of its reason."""
    return f"{value:.3f}" if outcome == NUMBER else f"{outcome} ({kinds[kind_of(reason)]})"


def part_of(config: ProductsConfig) -> str:
    """The answers that were asked for, for the folder's name; empty: all."""
    return "+".join([*config.policies, *config.learned_by, *config.aggregations])


def main(config: ProductsConfig, console: Console) -> None:
    grid, config = grid_of(config), from_one_start(config)
    artefact = Artefact.begin("cross", "products", config, chosen=part_of(config))
    methods, refused = planned(config, grid)
    # What all of them together can't be planned with, such as different weights of the KL, no cell alone would say.
    plan_study(only(config, list(methods)), {cell.name: product for cell, product in methods.items()})
    collected, failed = trained(config, methods, console)
    if collected is None:
        table = table_of(grid, refused, failed, pd.DataFrame())
        artefact.write_computed(None, {"table.csv": table}, "none: nothing was trained")
    else:
        # Above the exact front's own corner, so that a cell's share hangs on no other cell.
        tables = artefact.tables(collected)
        table = table_of(grid, refused, failed, front_measures(collected, tables.at("corner")))
        artefact.write(collected, tables, None, {"table.csv": table})
    write_atomically(artefact.folder / "table.md", page(table))
    save_figure(draw(table), *(artefact.folder / f"products.{kind}" for kind in ("png", "pdf")))
    counts = table["outcome"].value_counts()
    said = ", ".join(f"{counts.get(outcome, 0)} {outcome}" for outcome in (NUMBER, REFUSED, FAILED))
    console.print(f"{len(table)} cells: {said}", highlight=False)
    print_place(console, "table", artefact.folder / "table.md")
    if failed:
        raise RunsFailed("; ".join(f"{cell.name}: {reason}" for cell, reason in failed.items()))


STUDY = Study(__file__, "products", METHODS, ProductsConfig, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
