"""What HaM's Figures 3 to 7 share: three panels of one set of objectives, each a study of its own, with fronts over
(policy, cluster of prompts) points. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console

from lightning_moa.config import SYNTHETIC
from lightning_moa.figures.margins import common_margin, reward_margin
from lightning_moa.figures.panels import (
    PANELS,
    ShownConfig,
    as_asked,
    clusters_of,
    methods_of,
    settings_of,
    shown_of,
)
from lightning_moa.figures.scalarised import scalarised_share
from lightning_moa.methods.products import ham
from lightning_moa.reporting.claims import OURS, Row, judge, judge_several
from lightning_moa.reporting.cluster_fronts import (
    cluster_points,
    crossing_row,
    domination_rows,
    dominations,
    policy_means,
)
from lightning_moa.reporting.front_panels import draw_cluster_fronts, draw_cluster_fronts_3d, legend_entries
from lightning_moa.reporting.margins import LOG, of_metric
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed, metric_difference
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import JudgeClaims, over_prompts, together
from lightning_moa.study.results import Artefact, Judged, Tables, judged, print_claims, print_methods
from lightning_moa.task_files import HEADS

BASELINES = ("ric", "sca")
METHODS = ("ham", *BASELINES)


@dataclass(frozen=True)
class Panel:
    """A study of one model in one phase, and the fronts of its methods."""

    letter: str
    artefact: Artefact
    collected: Collected
    tables: Tables
    points: pd.DataFrame
    """Of `cluster_points`, the trained methods' alone."""
    means: pd.DataFrame
    """Of `policy_means`."""
    dominations: pd.DataFrame
    heads: pd.DataFrame
    """The last look at HaM's heads: `seed`, then the columns of heads.csv; empty where nobody looked."""
    clusters: Mapping[str, int]
    """Of `clusters_of`."""

    @property
    def words(self) -> str:
        return PANELS[self.letter][0]

    @property
    def title(self) -> str:
        return f"({self.letter}) {self.words}"

    @property
    def where(self) -> str:
        """The place in the paper."""
        return f"Figure {self.artefact.name.removeprefix('figure')}{self.letter}"

    @property
    def scalarised(self) -> float:
        """See `scalarised_share`."""
        return scalarised_share(self.artefact.config, "ham", ham())

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.collected.objectives

    @property
    def space(self) -> str:
        return self.collected.space

    def at(self, reference: str) -> Panel:
        """The same, with hypervolumes above another reference point; see `Tables.at`."""
        return replace(self, tables=self.tables.at(reference))

    def drawn(self, collected: Collected, tables: Tables) -> Panel:
        """The same of prompts that were drawn anew, in the clusters that they have here; without heads, whose
        likelihoods are of rows that nobody drew."""
        again = _panel(self.artefact, self.letter, collected, tables, self.clusters)
        return replace(again, heads=self.heads[:0])

    def write(self, others: Mapping[str, pd.DataFrame] | None = None) -> None:
        """The part's tables but for its claims; `others` as in `Artefact.write`."""
        shown = {"clusters.csv": self.points, "dominations.csv": self.dominations}
        heads = {} if self.heads.empty else {HEADS: self.heads}
        self.artefact.write(self.collected, self.tables, None, {**shown, **heads, **(others or {})})


def conduct_panels(
    config: ShownConfig,
    name: str,
    objectives: Sequence[str],
    console: Console,
    home: str = SYNTHETIC,
) -> list[Panel]:
    """Train and measure HaM and its baselines for the panels that are asked for. Nothing is written yet.

    Args:
        config: the script's; `objectives` in it go before those given here.
        name: the artefact's.
        objectives: the paper's, in order.
        console: for progress.
        home: as in `Artefact`.

    Raises:
        UserError: settings that no run can be made of, or panels that there are not.
    """
    names = list(config.objectives or objectives)
    letters, chosen = shown_of(config, PANELS)

    def begin(letter: str) -> Artefact:
        own = settings_of(config, names, **PANELS[letter][1])
        return Artefact.begin("ham", name, own, part=letter, home=home, chosen=chosen)

    return [_conduct(begin(letter), letter, console) for letter in letters]


def _conduct(artefact: Artefact, letter: str, console: Console) -> Panel:
    config: Any = artefact.config
    collected = conduct(config, methods_of(len(config.objectives)), console)
    return _panel(
        artefact, letter, collected, artefact.tables(collected), clusters_of(collected, config.clusters)
    )


def _panel(
    artefact: Artefact, letter: str, collected: Collected, tables: Tables, clusters: Mapping[str, int]
) -> Panel:
    methods = methods_of(len(collected.objectives))
    responses = collected.responses[collected.responses["method"].isin(list(methods))]
    responses = responses.assign(cluster=as_asked(responses, collected).map(clusters))
    space_of = (collected.objectives, collected.space)
    points = cluster_points(responses, *space_of)
    return Panel(
        letter,
        artefact,
        collected,
        tables,
        points,
        policy_means(responses, *space_of),
        dominations(points, *space_of),
        last_looks(collected),
        clusters,
    )


def judged_panels(panels: Sequence[Panel], judge_claims: Callable[[list[Panel]], Sequence[Row]]) -> Judged:
    """A script's claims: of all panels together, and panel by panel what `over_prompts` says."""

    def claims(panel: Panel) -> JudgeClaims:
        return lambda collected, tables: judge_claims([panel.drawn(collected, tables)])

    over = together(over_prompts(panel.artefact, panel.collected, claims(panel)) for panel in panels)
    return judged(lambda name: judge_claims([panel.at(name) for panel in panels]), over)


def last_looks(collected: Collected, name: str = "ham") -> pd.DataFrame:
    """A method's heads as `HeadWatch` last saw them: `seed`, then its file's columns; empty where it didn't look."""
    found = []
    for (method, seed), folders in collected.policies.items():
        path = folders[0].parent / HEADS
        if method == name and path.is_file():
            looks = pd.read_csv(path)
            last = looks[looks["step"] == looks["step"].max()]
            found.append(last.assign(seed=seed)[["seed", *looks.columns]])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def judge_panel(
    panel: Panel,
    says: Mapping[str, Sequence[tuple[str, Sequence[str], bool]]],
    highest: Mapping[str, Sequence[str]] | None = None,
    crossing: Mapping[str, Sequence[str]] | None = None,
) -> list[Row]:
    """What the paper says of a panel's fronts, and beside it what it does not ask.

    Args:
        panel: from `conduct_panels`.
        says: letter -> (winner, losers, whether the winner dominates them).
        highest: letter -> objectives in which HaM is said to reach the highest level; those that the study does not
            have are passed over.
        crossing: letter -> methods of whose fronts none is said to dominate another.
    """
    margin = common_margin(panel.collected)
    rows = domination_rows(panel.dominations, says.get(panel.letter, ()), panel.where, panel.words, margin)
    if methods := (crossing or {}).get(panel.letter):
        rows.append(crossing_row(panel.dominations, methods, panel.where, panel.words, margin))
    levels = (highest or {}).get(panel.letter, ())
    rows += [level_row(panel, each) for each in levels if each in panel.objectives]
    return [*rows, *own_rows(panel)]


def level_row(panel: Panel, objective: str) -> Row:
    """The highest value that HaM's points reach in an objective, against each baseline's."""
    best = panel.points.groupby(["method", "seed"])[f"{panel.space}_{objective}"].max().unstack("method")
    gaps = {
        f"{style.label}'s": per_seed(best["ham"] - best[name]) for name, style in styles_of(BASELINES).items()
    }
    claim = f"{panel.words}: HaM reaches the highest reward for {objective}"
    what = f"highest {objective} of a policy on a cluster ({panel.space}), HaM's -"
    margin = reward_margin(panel.collected, objective)
    return judge_several(claim, panel.where, what, gaps, ">", 0, margin=margin)


def best_row(panels: Sequence[Panel], where: str) -> list[Row]:
    """That HaM is the best "judging by the number of domination wins": by how far from them each method's fronts are,
    for where hardly any front dominates a count says nothing. None where panels are missing."""
    if len(panels) < len(PANELS):
        return []
    each = [panel.dominations.groupby(["winner", "seed"])["epsilon"].mean() for panel in panels]
    least = pd.concat(each, axis=1).mean(axis=1).unstack("winner")
    gaps = {
        f"{style.label}'s": per_seed(least["ham"] - least[name])
        for name, style in styles_of(BASELINES).items()
    }
    what = "mean additive epsilon of a front over the other two, over panels, HaM's -"
    margin = min(common_margin(panel.collected) for panel in panels)
    return [judge_several("HaM's fronts are nearest to dominating", where, what, gaps, "<", 0, margin=margin)]


def own_rows(panel: Panel) -> list[Row]:
    """Ours: fronts without clusters, and whether all heads are used."""
    rows, metrics = [], panel.tables.metrics
    mixed = f" ({panel.scalarised:.0%} of its learning rate scalarised)"
    for other, style in styles_of(BASELINES).items():
        gap = metric_difference(metrics, "hypervolume", "ham", other, panel.space)
        claim = f"{panel.words}: without clusters HaM spans more than {style.label}"
        what = f"hypervolume of the policies' means ({panel.space}), HaM's{mixed} - {style.label}'s"
        margin = of_metric(metrics, "hypervolume", "ham", other, panel.space)
        rows.append(judge(claim, panel.where, what, gap, ">", 0, margin=margin, whose=OURS))
    if len(panel.heads):
        claim = f"{panel.words}: none of HaM's heads is dominated by another at the end"
        what = "least margin by which a head's likelihoods are not dominated, in nats"
        least = margins_of_heads(panel.heads)
        rows.append(judge(claim, panel.where, what, least, ">", 0, margin=LOG, whose=OURS))
    return rows


def margins_of_heads(heads: pd.DataFrame, quantile: float = 0.0) -> PerSeed:
    """By how much a head's likelihoods could fall, in every objective at once, before another head dominated it; below
    0 where one does, and the hypervolume has no use for it. A quantile over heads: 0 the least, 0.5 that of most.

    Unlike the share of heads that are alive it does not stop at 1, where seeds agree and noise can't be seen.

    Args:
        heads: of `last_looks`.
        quantile: in [0, 1].

    Returns:
        seed -> nats per response, weighted as the likelihoods are.
    """
    found = {}
    for seed, rows in heads.groupby("seed"):
        values = rows.filter(regex="^loglik_").to_numpy()
        ahead = (values[:, None] - values[None]).max(axis=2)
        np.fill_diagonal(ahead, np.inf)
        found[int(str(seed))] = float(np.quantile(ahead.min(axis=1), quantile))
    return found


def draw_fronts(
    panels: Sequence[Panel], over: str = "clusters of prompts", called: Mapping[str, str] | None = None
) -> Figure:
    """A column a panel: surfaces of three objectives, else a row for each pair of objectives.

    Args:
        panels: of one set of objectives.
        over: what a point is the mean of.
        called: objective -> what the title calls it, where that is not its name.
    """
    objectives = panels[0].objectives
    *others, last = [(called or {}).get(name, name) for name in objectives]
    title = f"HaM: fronts over {over}, {', '.join(others)} and {last}"
    styles = styles_of(panels[0].points["method"])
    pairs = [objectives] if len(objectives) == 3 else list(combinations(objectives, 2))
    look: dict[str, Any] = {"subplot_kw": {"projection": "3d"}} if len(objectives) == 3 else {}
    # One panel alone is wide enough for the words above and below it.
    with canvas(max(4.2 * len(panels), 7.2), 4.2 * len(pairs) + 0.7, title) as figure:
        grid = figure.subplots(len(pairs), len(panels), squeeze=False, **look)
        for row, pair in zip(grid, pairs, strict=True):
            for ax, panel in zip(row, panels, strict=True):
                words: dict[str, Any] = {"title": panel.title}
                if look:
                    draw_cluster_fronts_3d(ax, panel.points, pair, panel.space, styles, **words)
                else:
                    _draw_exact(ax, panel.collected, pair)
                    draw_cluster_fronts(
                        ax, panel.points, pair, panel.space, styles, means=panel.means, **words
                    )
        if look:
            handles = legend_entries(styles, "surface")
        else:
            seeds = panels[0].points["seed"].nunique()
            handles = [*legend_entries(styles, "plane", seeds=seeds, means=True), *_exact_handle(panels[0])]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(len(handles), 4 if len(panels) > 1 else 3),
            fontsize=8.5,
        )
    return figure


def _draw_exact(ax: Axes, collected: Collected, pair: Sequence[str]) -> None:
    """The best policies' means over all prompts, where they are known."""
    if collected.exact is not None:
        values = collected.exact.front[[f"gold_{name}" for name in pair]].to_numpy().T
        joined = len(collected.objectives) == 2
        ax.plot(*values, "-" if joined else ".", color="black", linewidth=1.3, markersize=2, zorder=1)


def _exact_handle(panel: Panel) -> list[Line2D]:
    exact = panel.collected.exact
    if exact is None:
        return []
    joined = len(panel.objectives) == 2
    look: dict[str, Any] = {"linestyle": "-" if joined else "", "marker": "" if joined else "."}
    label = rf"exact front on all prompts, $\beta$ = {exact.beta:g}"
    return [Line2D([], [], color="black", linewidth=1.3, label=label, **look)]


def publish(panels: Sequence[Panel], claims: Judged, picture: Figure, console: Console) -> None:
    """Write the claims and the picture above the parts, and print the summary."""
    folder = panels[0].artefact.folder.parent
    claims.write(folder)
    files = [folder / f"{panels[0].artefact.name}.{suffix}" for suffix in ("png", "pdf")]
    save_figure(picture, *files)
    for panel in panels:
        print_methods(console, panel.artefact, panel.collected, panel.tables)
        took = seconds_ratio(panel.collected)
        mean = sum(took.values()) / len(took)
        console.print(
            f"{panel.title}: HaM trains in {mean:.2f} of the seconds of SCA's models; "
            f"{panel.scalarised:.0%} of its learning rate is scalarised",
            markup=False,
        )
    print_claims(console, claims, files)


def seconds_ratio(collected: Collected) -> PerSeed:
    """Seconds of HaM's training over those of all of SCA's models. A clock's readings, so no claim is judged on it."""
    seconds = collected.timings.pivot(index="seed", columns="method", values="seconds")
    return per_seed(seconds["ham"] / seconds["sca"])


def per_seed(values: pd.Series) -> PerSeed:
    """What claims are judged by, of a series whose index is the seed."""
    return {int(str(seed)): float(value) for seed, value in values.items()}
