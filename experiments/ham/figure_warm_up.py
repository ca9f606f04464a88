"""Ours: how many of HaM's heads live, and what they span, as less of their training is linear scalarisation.

    python experiments/ham/figure_warm_up.py [scale=smoke|tiny|gpu] [panels=[...]] [warm_ups=[...]] [key=value ...]

A head that others dominate has no gradient in HaM's objective. One way to keep heads is a warm-up in which head k
maximises a preference of its own; but that is SCA, and the learning rate falls, so that half of the updates are three
quarters of the way. Another scalarises nothing (`heads.fronts=all`): each front of non-dominated sorting maximises its
own hypervolume. Both are shown, beside SCA as heads on one backbone, which is scalarised throughout, and SCA's models.

Panels: (a) harmless and helpful, a small model offline, (b) a larger one, (c) the small one online, (d) the small one
with three objectives. Writes the CSVs of each panel to the folder a, b, c or d of
results/ham/figure_warm_up/<scale>/ (warm_up.csv: a row for each method and seed), and the claims and the picture above.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from lightning_moa.answers import use
from lightning_moa.deployments import EachHead, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.cluster_figures import last_looks, margins_of_heads
from lightning_moa.figures.panels import PANELS, ShownConfig, settings_of, shown_of
from lightning_moa.figures.scalarised import scalarised_share
from lightning_moa.methods.products import Product, ham, sca, sca_heads, scalarisations
from lightning_moa.reporting.claims import OURS, Row, judge
from lightning_moa.reporting.margins import LOG, of_larger
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed, metric, paired
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import Artefact, Tables, judged, print_claims
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

TWO, THREE = ("harmless", "helpful"), ("harmless", "helpful", "humorous")
SHOWN = {
    **{letter: (words, TWO, settings) for letter, (words, settings) in PANELS.items()},
    "d": ("small model, three objectives", THREE, {}),
}
"""Letter -> words, objectives, and which study `settings_of` makes of them."""
FRONTS = "ham_all_fronts"
WHERE = "section 3.3"
MOST = 0.5
"""Of heads."""


@dataclass
class WarmUpConfig(ShownConfig):
    """A study, and the warm-ups that are compared."""

    panels: list[str] = option([*SHOWN], "which panels")
    warm_ups: list[float] = option(
        [0.0, 0.05, 0.1, 0.25, 0.5], "shares of the offline updates that HaM's warm-up takes, 0 to 1"
    )


@dataclass(frozen=True)
class Panel:
    """A study, and what became of its methods."""

    letter: str
    artefact: Artefact
    collected: Collected
    tables: Tables
    rows: pd.DataFrame
    """Of `rows_of`."""

    def at(self, reference: str) -> "Panel":
        """The same, with hypervolumes above another reference point; see `Tables.at`."""
        metrics = self.tables.at(reference).metrics
        volumes = [
            metric(metrics, "hypervolume", name, self.collected.space)[seed]
            for name, seed in zip(self.rows["method"], self.rows["seed"], strict=True)
        ]
        return replace(self, rows=self.rows.assign(hypervolume=volumes))

    @property
    def words(self) -> str:
        return SHOWN[self.letter][0]


def warmed(updates: int) -> Product:
    """The paper's HaM after a warm-up of so many updates. How far apart heads begin is the study's."""
    heads = use("heads", warm_up=updates, fronts="first")
    return Product("ham", heads, "likelihood", "hypervolume", TrainedOn.sampled(), EachHead())


def fronts() -> Product:
    """HaM with a hypervolume for each front, and no warm-up."""
    heads = use("heads", warm_up=0, fronts="all")
    return Product("ham", heads, "likelihood", "hypervolume", TrainedOn.sampled(), EachHead())


def methods_of(m: int, warm_ups: Sequence[float], steps: int) -> dict[str, Product]:
    """HaM with each warm-up by its name, such as ham_25 for a quarter of `steps`; with all fronts; and SCA. Of shares
    that are as many updates 0 counts, and else the first."""
    none = [share for share in warm_ups if share == 0]
    updates = {round(share * steps): share for share in (*reversed(warm_ups), *none)}
    found = {name_of(share): warmed(each) for each, share in sorted(updates.items())}
    preferences = scalarisations(m)
    return {**found, FRONTS: fronts(), "sca_heads": sca_heads(preferences), "sca": sca(preferences)}


def name_of(share: float) -> str:
    return f"ham_{100 * share:g}"


METHODS = {"ham": ham(), **methods_of(2, [], 1)}


def main(config: WarmUpConfig, console: Console) -> None:
    letters, _ = shown_of(config, SHOWN)
    panels = [
        conduct_panel(letter, own, methods, console)
        for letter, (_, own, methods) in zip(letters, studies(config), strict=True)
    ]
    claims = judged(lambda name: [row for panel in panels for row in judge_panel(panel.at(name))])
    folder = panels[0].artefact.folder.parent
    claims.write(folder)
    pictures = [folder / f"figure_warm_up.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(panels), *pictures)
    for panel in panels:
        console.print(summary(panel))
    print_claims(console, claims, pictures)


def studies(config: WarmUpConfig) -> list[tuple[str, WarmUpConfig, Mapping[str, Product]]]:
    """Words, configuration and methods of each panel.

    Raises:
        UserError: panels or warm-ups that nothing can be made of, or `objectives`, which each panel has of its own.
    """
    check_options(config)
    found = []
    for letter in shown_of(config, SHOWN)[0]:
        words, objectives, which = SHOWN[letter]
        own = settings_of(config, objectives, **which)
        methods = methods_of(len(objectives), config.warm_ups, config.likelihood.steps)
        own.methods = {name: each for name, each in config.methods.items() if name in methods}
        found.append((words, own, methods))
    return found


def check_options(config: WarmUpConfig) -> None:
    shares = config.warm_ups
    if (
        0 not in shares
        or len(set(shares)) < max(2, len(shares))
        or not all(0 <= each <= 1 for each in shares)
    ):
        raise UserError(
            f"warm_ups={shares}: allowed are different shares from 0 to 1, 0 and another among them"
        )
    if config.objectives:
        raise UserError(f"objectives={config.objectives}: each panel has its own")
    if config.likelihood.steps is None:
        raise UserError("likelihood.steps is empty: needed is how many updates the warm-ups are shares of")
    if not round(max(shares) * config.likelihood.steps):
        raise UserError(
            f"warm_ups={shares}: none is an update of {config.likelihood.steps}; allowed are larger shares"
        )


def conduct_panel(letter: str, own: WarmUpConfig, methods: Mapping[str, Product], console: Console) -> Panel:
    """Train, measure and write a panel's study."""
    artefact = Artefact.begin("ham", "figure_warm_up", own, part=letter, chosen=shown_of(own, SHOWN)[1])
    collected = conduct(own, methods, console)
    tables = artefact.tables(collected)
    rows = rows_of(own, methods, collected, tables.metrics)
    artefact.write(collected, tables, None, {"warm_up.csv": rows})
    return Panel(letter, artefact, collected, tables, rows)


def rows_of(
    config: WarmUpConfig, methods: Mapping[str, Product], collected: Collected, metrics: pd.DataFrame
) -> pd.DataFrame:
    """A row for each method and seed: `method`, `seed`, `scalarised_share` of the summed learning rate, `alive`, the
    share of heads in which the hypervolume has a gradient at the end, `margin`, that of most heads (see
    `margins_of_heads`; both empty where nobody looked), and `hypervolume` of the policies' means."""
    found = []
    for name, product in methods.items():
        share = scalarised_share(config, name, product) if name.startswith("ham") else 1.0
        looks = last_looks(collected, name)
        alive = {} if looks.empty else looks.groupby("seed")["alive"].mean().to_dict()
        margins = {} if looks.empty else margins_of_heads(looks, MOST)
        for seed, volume in metric(metrics, "hypervolume", name, collected.space).items():
            row = {"method": name, "seed": seed, "scalarised_share": share, "alive": alive.get(seed)}
            found.append({**row, "margin": margins.get(seed), "hypervolume": volume})
    return pd.DataFrame(found).astype({"alive": float, "margin": float})


def judge_panel(panel: Panel) -> list[Row]:
    """Whether heads live without scalarising, and what it costs or gains."""
    margins, volumes = (values_of(panel.rows, column) for column in ("margin", "hypervolume"))
    most = max((name for name in volumes if name != FRONTS and name.startswith("ham")), key=warm_up_of)
    rows = []
    for name, words in ((name_of(0.0), "without a warm-up"), (FRONTS, "with a hypervolume for each front")):
        if name in margins:
            what = "median over heads of the margin by which likelihoods are not dominated, in nats"
            claim = f"{panel.words}: most of HaM's heads live {words}"
            rows.append(judge(claim, WHERE, what, margins[name], ">", 0, margin=LOG, whose=OURS))
    for one, other, words in (
        (FRONTS, name_of(0.0), "a hypervolume for each front spans more than the paper's objective alone"),
        (FRONTS, most, f"it spans more than a warm-up of {warm_up_of(most):g}% of the updates"),
        (FRONTS, "sca", "it spans more than SCA's models"),
        (most, "sca_heads", f"a warm-up of {warm_up_of(most):g}% spans more than SCA's heads"),
    ):
        what = f"hypervolume of the policies' means ({panel.collected.space}), {one} - {other}"
        gap = paired(volumes[one], volumes[other])
        margin = of_larger(volumes[one], volumes[other])
        rows.append(judge(f"{panel.words}: {words}", WHERE, what, gap, ">", 0, margin=margin, whose=OURS))
    return rows


def values_of(rows: pd.DataFrame, column: str) -> dict[str, PerSeed]:
    """Method -> seed -> value, without empty ones."""
    known = rows[rows[column].notna()]
    return {
        str(name): dict(zip(mine["seed"].tolist(), mine[column].tolist(), strict=True))
        for name, mine in known.groupby("method", sort=False)
    }


def warm_up_of(name: str) -> float:
    """Per cent of the updates, from the name."""
    return float(name.removeprefix("ham_"))


def draw(panels: Sequence[Panel]) -> Figure:
    """A column a panel: heads alive above, hypervolumes below."""
    with canvas(3.6 * len(panels) + 0.6, 6.6, "HaM: what linear scalarisation adds to its heads") as figure:
        axes = figure.subplots(2, len(panels), squeeze=False)
        for column, panel in zip(axes.T, panels, strict=True):
            draw_over_share(column[0], panel.rows, "alive")
            column[0].set_ylim(-0.04, 1.04)
            column[0].set_title(f"({panel.letter}) {panel.words}")
            draw_over_share(column[1], panel.rows, "hypervolume")
            column[1].set_xlabel("share of the learning rate that is scalarised")
        axes[0][0].set_ylabel("heads alive  (higher is better →)")
        axes[1][0].set_ylabel("hypervolume  (higher is better →)")
        handles, labels = axes[1][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5)
    return figure


LOOKS: Mapping[str, Mapping[str, Any]] = {
    "HaM after a warm-up": {"color": "#882255", "marker": "P"},
    "HaM, a hypervolume for each front": {"color": "#0072B2", "marker": "o"},
    "SCA, heads": {"color": "#56B4E9", "marker": "<"},
    "SCA": {"color": "#E69F00", "marker": "v"},
}


def label_of(method: str) -> str:
    """Key of LOOKS."""
    labels = {FRONTS: "HaM, a hypervolume for each front", "sca_heads": "SCA, heads", "sca": "SCA"}
    return labels.get(method, "HaM after a warm-up")


def draw_over_share(ax: Axes, rows: pd.DataFrame, column: str) -> None:
    """The mean over seeds as a line, single seeds as dots."""
    known = rows[rows[column].notna()]
    for label, mine in known.groupby(known["method"].map(label_of), sort=False):
        look = LOOKS[str(label)]
        ax.plot(mine["scalarised_share"], mine[column], ".", color=look["color"], alpha=0.5, zorder=2)
        mean = mine.groupby("scalarised_share")[column].mean()
        ax.plot(mean.index, mean, markeredgecolor="white", label=str(label), zorder=3, **look)
    ax.set_xlim(-0.04, 1.04)


def summary(panel: Panel) -> Table:
    """What became of each method, means over seeds."""
    title = f"ham figure_warm_up {panel.letter}: {panel.words}, mean over seeds"
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for name in ("scalarised", "alive", "hypervolume"):
        table.add_column(name, justify="right")
    for name, mine in panel.rows.groupby("method", sort=False):
        share, alive, volume = mine[["scalarised_share", "alive", "hypervolume"]].mean()
        table.add_row(str(name), f"{share:.0%}", "" if pd.isna(alive) else f"{alive:.2f}", f"{volume:.3f}")
    return table


STUDY = Study(__file__, "assistant", METHODS, WarmUpConfig, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
