"""HaM's Figure 8: the fronts of single heads, and joint fronts as the number of heads K grows.

    python experiments/ham/figure8.py [scale=...] [panels=[...]] [numbers=[...]] [more=[...]] [task=...] [key=value ...]

Panels: (a) each head of a small model, faithful and free of hallucination, in the world of summaries; (b) each head
of a larger one, harmless and helpful (section 4.5 names these two trade-offs of its two panels, in this order); (c)
all heads of the small one together, for each K in `numbers`, and beyond the paper in `more`. The paper does not say
which task (c) shows; here it is `task`. Where data or objectives of one's own are asked for, all panels show those. A
point is the mean reward of one head on one cluster of the held-out prompts; heads are named by their place in the
first objective, so that they correspond between seeds. With the paper's K, (a) uses Figure 5a's runs and (b) Figure
3b's.

Writes the CSVs of each panel to the folder a, b or c of results/ham/figure8/<scale>/ (clusters.csv: the points;
growth.csv in c: what comes of K, `any_four` being the mean hypervolume of four of its heads, for more heads are also
more points), and the claims and the picture above. Hypervolumes are above the worst value of all points of their panel
in each objective, less a tenth of its range.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from rich.table import Table

from lightning_moa.config import SYNTHETIC
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.margins import common_margin
from lightning_moa.figures.over_heads import (
    FOUR,
    HEADS_OF,
    Panel,
    draw_alive,
    draw_growth,
    growth_of,
    head_panel,
    label_of,
    panel_of,
    per_seed,
)
from lightning_moa.figures.panels import PanelsConfig, ShownConfig, clusters_of, settings_of, shown_of
from lightning_moa.methods.products import Product, ham
from lightning_moa.reporting.claims import OURS, Row, judge
from lightning_moa.reporting.claims import PAPER as THEIRS
from lightning_moa.reporting.cluster_fronts import dominations
from lightning_moa.reporting.front_panels import draw_cluster_fronts, legend_entries
from lightning_moa.reporting.margins import CORRELATION, LOG, of_larger
from lightning_moa.reporting.metrics import MARGIN
from lightning_moa.reporting.panels import shades
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import paired
from lightning_moa.reporting.styles import Style
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import over_prompts_of_all
from lightning_moa.study.results import FAR, REFERENCES, Artefact, judged, print_claims
from lightning_moa.study.script import script
from lightning_moa.study.study import DRAWS, Study

SUMMARIES = "faithful-hallucination"
"""The task whose data are another family's: summaries."""
TASKS = {
    "harmless-helpful": ("harmless", "helpful"),
    "harmless-humorous": ("harmless", "humorous"),
    SUMMARIES: ("faithful", "hallucination"),
}
NAMED = {"a": SUMMARIES, "b": "harmless-helpful"}
"""Panel -> the task that the paper names; (c)'s it does not."""
PAPER = (1, 2, 4, 5, 8)
MORE = {"tiny": (16, 32, 64)}
"""Scale -> K beyond the paper's; elsewhere none."""
METHODS = {f"{HEADS_OF}{k}": ham(k) for k in (*PAPER, *MORE["tiny"])}
TITLES = {
    "a": "(a) each head, small model",
    "b": "(b) each head, large model",
    "c": "(c) all heads, small model",
}
EIGHT = 8
"""Heads that the paper compares with FOUR."""
MARGINS = dict(zip(REFERENCES, (MARGIN, 0.0, FAR), strict=True))
"""How far below the panel's worst values the reference point lies, as a share of their range; "corner": on them."""


@dataclass
class Figure8Config(ShownConfig):
    """A study, and the numbers of heads."""

    numbers: list[int] = option(list(PAPER), "K: numbers of heads of panel c")
    more: list[int] | None = option(None, "K beyond those, ours; empty: 16, 32, 64 at scale=tiny, else none")
    task: str = option("harmless-helpful", "objectives of panel c", choices=tuple(TASKS))
    summaries: list[str] = option(
        [], "key=value words for the data of summaries alone, such as [data.pairs=400]; all else is as above"
    )


def main(config: Figure8Config, console: Console) -> None:
    numbers = numbers_of(config)
    panels = [conduct_panel(config, letter, console) for letter in shown_of(config, TITLES)[0]]
    over = over_prompts_of_all(
        [(panel.artefact, panel.collected) for panel in panels],
        lambda drawn: judge_claims(
            [panel.drawn(rows) for panel, (rows, _) in zip(panels, drawn, strict=True)], numbers
        ),
    )
    growth = {panel.letter: growth_of(panel, numbers) for panel in panels if panel.letter == "c"}
    for panel in panels:
        more = {"growth.csv": growth[panel.letter]} if panel.letter in growth else {}
        tables = panel.artefact.tables(panel.collected)
        panel.artefact.write(panel.collected, tables, None, {"clusters.csv": panel.points, **more})
    claims = judged(
        lambda name: judge_claims([replace(each, margin=MARGINS[name]) for each in panels], numbers), over
    )
    folder = panels[0].artefact.folder.parent
    claims.write(folder)
    pictures = [folder / f"figure8.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(panels, growth.get("c")), *pictures)
    for panel in (each for each in panels if each.letter in growth):
        console.print(summary(growth[panel.letter], panel.collected))
    print_claims(console, claims, pictures)


def numbers_of(config: Figure8Config) -> list[int]:
    """K of panel c, ascending.

    Raises:
        UserError: fewer than two, or one below 1; or panels of single heads that have one.
    """
    if config.heads.number < 2 and set(NAMED) & set(config.panels):
        raise UserError(
            f"heads.number={config.heads.number}: panels a and b hold heads against each other; allowed are 2 or more"
        )
    more = MORE.get(config.scale, ()) if config.more is None else config.more
    numbers = sorted({*config.numbers, *more})
    if len(numbers) < 2 or numbers[0] < 1:
        raise UserError(f"numbers={config.numbers}, more={list(more)}: two or more K from 1 are needed")
    return numbers


def studies(config: Figure8Config) -> list[tuple[str, PanelsConfig, Mapping[str, Product]]]:
    """Label, configuration and methods of each panel, for `moa plan`."""
    return [(title_of(config, letter), *study_of(config, letter)) for letter in shown_of(config, TITLES)[0]]


def title_of(config: Figure8Config, letter: str) -> str:
    """A panel's words; the paper's task where the data are of another family than the figure's."""
    return TITLES[letter] + (", summaries" if task_of(config, letter) == SUMMARIES and letter == "a" else "")


def task_of(config: Figure8Config, letter: str) -> str:
    """The paper's for this panel, or the one that is asked for."""
    return config.task if of_ones_own(config) else NAMED.get(letter, config.task)


def study_of(config: Figure8Config, letter: str) -> tuple[PanelsConfig, Mapping[str, Product]]:
    """A panel's: HaM with each of its numbers of heads."""
    numbers = numbers_of(config) if letter == "c" else [config.heads.number]
    task = task_of(config, letter)
    own = settings_of(on_summaries(config) if task == SUMMARIES else config, TASKS[task], large=letter == "b")
    if len(own.objectives or ()) != 2:
        raise UserError(f"objectives={own.objectives}: the figure shows two")
    methods = {f"{HEADS_OF}{k}": ham(k) for k in numbers}
    own.methods = {name: each for name, each in config.methods.items() if name in methods}
    return own, methods


def on_summaries(config: Figure8Config) -> Figure8Config:
    """The same study of summaries: their data, rewards and length of responses, as Figure 5 has them. Data or
    objectives of one's own stay."""
    if of_ones_own(config):
        return config
    theirs, _ = replace(STUDY, family="summary").read([f"scale={config.scale}", *config.summaries])
    own = deepcopy(config)
    own.data, own.likelihood.rewards = theirs.data, theirs.likelihood.rewards
    own.evaluation.max_new_tokens = theirs.evaluation.max_new_tokens
    return own


def of_ones_own(config: Figure8Config) -> bool:
    """Whether data or objectives were asked for that are not the figure's."""
    return bool(config.objectives) or config.data.name != STUDY.read([f"scale={config.scale}"])[0].data.name


def conduct_panel(config: Figure8Config, letter: str, console: Console) -> Panel:
    """Train and measure a panel's study; a `method` of the points is a K."""
    own, methods = study_of(config, letter)
    # Where the figure itself takes other data, their name is not that of a user's choice.
    home = SYNTHETIC if own.data.name == config.data.name else own.data.name
    artefact = Artefact.begin("ham", "figure8", own, letter, home=home, chosen=shown_of(config, TITLES)[1])
    collected = conduct(own, methods, console)
    clusters = clusters_of(collected, config.clusters)
    panel = panel_of(letter, title_of(config, letter), artefact, collected, clusters)
    return panel if letter == "c" else head_panel(panel)


def judge_claims(panels: Sequence[Panel], numbers: Sequence[int]) -> list[Row]:
    """What the paper says of single heads and of K, and ours."""
    rows = []
    for panel in panels:
        rows += judge_growth(panel, growth_of(panel, numbers)) if panel.letter == "c" else judge_heads(panel)
    return rows


def judge_heads(panel: Panel) -> list[Row]:
    """Heads cover different trade-offs: what one has more of one objective it has less of the other."""
    objectives, _ = panel.axes
    means = panel.points.groupby(["seed", "method"])[panel.columns].mean()
    one, other = (means[column].unstack("seed") for column in panel.columns)
    what = f"correlation over heads of mean {objectives[0]} and mean {objectives[1]}"
    claim = f"{panel.title[4:]}: heads cover different trade-offs"
    return [
        judge(
            claim, f"Figure 8{panel.letter}", what, per_seed(one.corrwith(other)), "<", 0, margin=CORRELATION
        )
    ]


def judge_growth(panel: Panel, growth: pd.DataFrame) -> list[Row]:
    """What the paper says of K, and ours beside it."""
    volumes = growth.pivot(index="seed", columns="k", values="hypervolume")
    theirs = [k for k in volumes if k in PAPER]
    rows = [rise_row("more heads give better fronts", volumes[theirs])] if len(theirs) > 1 else []
    if len(theirs) < len(volumes.columns) > 1:
        rows.append(rise_row("more heads still, beyond the paper's, give better fronts", volumes, OURS))
    if {FOUR, EIGHT} <= set(volumes.columns):
        rows += judge_eight(panel, growth)
    most = growth[growth["k"] == volumes.columns.max()]
    margin = dict(zip(most["seed"], most["margin"], strict=True))
    if most["margin"].notna().all():
        claim = f"{label_of(int(most['k'].iloc[0]))}: most heads are not dominated by another at the end"
        what = "median over heads of the margin by which likelihoods are not dominated, in nats"
        rows.append(judge(claim, "section 4.5", what, margin, ">", 0, margin=LOG, whose=OURS))
    return rows


def rise_row(claim: str, volumes: pd.DataFrame, whose: str = THEIRS) -> Row:
    """That hypervolumes (a row for each seed, a column for each K) rise with K."""
    what = f"slope of hypervolume over log2 K, K = {', '.join(map(str, volumes.columns))}"
    return judge(claim, "section 4.5", what, per_seed(volumes.apply(slope, axis=1)), ">", 0, whose=whose)


def slope(volumes: pd.Series) -> float:
    """Of hypervolumes over the binary logarithm of the K that are their index, by least squares."""
    return float(np.polyfit(np.log2(volumes.index.to_numpy(np.float64)), volumes, 1)[0])


def judge_eight(panel: Panel, growth: pd.DataFrame) -> list[Row]:
    """K = 8 against K = 4."""
    pair = panel.points[panel.points["method"].isin([label_of(FOUR), label_of(EIGHT)])]
    found = dominations(pair, *panel.axes)
    mine = found[found["winner"] == label_of(EIGHT)]
    epsilon = dict(zip(mine["seed"], mine["epsilon"], strict=True))
    four, eight = (growth[growth["k"] == k].set_index("seed") for k in (FOUR, EIGHT))
    base = per_seed(four["hypervolume"])
    what, margin = "additive epsilon of K = 8's front over K = 4's", common_margin(panel.collected)
    rows = [judge("K = 8 dominates K = 4", "Figure 8c", what, epsilon, "<=", 0, margin=margin)]
    for claim, what, column in (
        ("K = 8 spans more than K = 4", "hypervolume of K = 8's front - K = 4's", "hypervolume"),
        (
            "four of K = 8's heads span more than K = 4's, on average",
            "mean hypervolume of four of K = 8's heads - that of K = 4's",
            "any_four",
        ),
    ):
        mine = per_seed(eight[column])
        margin = of_larger(mine, base)
        rows.append(judge(claim, "Figure 8c", what, paired(mine, base), ">", 0, margin=margin, whose=OURS))
    return rows


def draw(panels: Sequence[Panel], growth: pd.DataFrame | None) -> Figure:
    """Fronts above; below what comes of K, where it is shown, and what the colours mean."""
    with canvas(13.2, 8.6, "HaM: fronts of single heads, and as the number of heads grows") as figure:
        axes = figure.subplots(2, 3)
        places = {panel.letter: panel for panel in panels}
        for ax, letter in zip(axes[0], TITLES, strict=True):
            draw_plane(ax, places[letter]) if letter in places else ax.set_axis_off()
        alone = [panel for panel in panels if panel.letter != "c"]
        if alone:
            legend = legend_entries(looks_of(alone[0]), "plane", seeds=alone[0].points["seed"].nunique())
            most = ", ".join(f"{panel.collected.objectives[0]} ({panel.letter})" for panel in alone)
            title = f"heads from the least to the most {most}"
            axes[1][0].legend(handles=legend, loc="upper left", ncols=1, fontsize=8.5, title=title)
        for ax in axes[1] if growth is None else axes[1][:1]:
            ax.set_axis_off()
        if growth is not None:
            draw_growth(axes[1][1], growth)
            draw_alive(axes[1][2], growth)
            handles = legend_entries(looks_of(places["c"]), "radar")
            figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), fontsize=8.5)
    return figure


def looks_of(panel: Panel) -> dict[str, Style]:
    """A shade for each head, or each K, in order."""
    names = sorted(panel.points["method"].unique(), key=lambda name: int(name.rpartition(" ")[2]))
    return shades(names)


def draw_plane(ax: Axes, panel: Panel) -> None:
    objectives, space = panel.axes
    exact = panel.collected.exact
    if exact is not None:
        ax.plot(*exact.front[panel.columns].to_numpy().T, color="black", linewidth=1.3, zorder=1)
    draw_cluster_fronts(ax, panel.points, objectives, space, looks_of(panel), title=panel.title)
    if exact is not None:
        label = rf"exact front on all prompts, $\beta$ = {exact.beta:g}"
        ax.legend(handles=[Line2D([], [], color="black", linewidth=1.3, label=label)], fontsize=7.5)


def summary(growth: pd.DataFrame, collected: Collected) -> Table:
    """What comes of K, means over seeds, and how long its training took."""
    table = Table(title="ham figure8: what comes of K, mean over seeds", title_justify="left")
    for name in ("K", "hypervolume", "any four heads", "alive", "parameters", "seconds"):
        table.add_column(name, justify="right")
    seconds = collected.timings.groupby("method")["seconds"].mean()
    for k, row in growth.groupby("k").mean().iterrows():
        shown = ["" if np.isnan(row[name]) else f"{row[name]:.3f}" for name in ("any_four", "alive")]
        spent = [f"{int(row['trained_parameters']):,}", f"{seconds[f'ham_k{k}']:.0f}"]
        table.add_row(str(k), f"{row['hypervolume']:.3f}", *shown, *spent)
    return table


STUDY = Study(__file__, "assistant", METHODS, Figure8Config, parts=studies, reads=[DRAWS])

if __name__ == "__main__":
    script(STUDY, main)
