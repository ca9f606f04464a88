"""HaM's heads one by one, and what becomes of them as their number K grows: measured, and drawn over K."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lightning_moa import pareto
from lightning_moa.figures.cluster_figures import last_looks, margins_of_heads
from lightning_moa.reporting.cluster_fronts import cluster_points, policy_means
from lightning_moa.reporting.metrics import MARGIN
from lightning_moa.reporting.statistics import PerSeed
from lightning_moa.study.collect import Collected
from lightning_moa.study.results import Artefact

MOST = 0.5
"""Of heads."""
FOUR = 4
HEADS_OF = "ham_k"
"""Before the number of heads, in the name of a method."""
DRAWS = 70
"""Of four heads: as many as eight have."""


@dataclass(frozen=True)
class Panel:
    """A study, and the points of its policies on clusters of prompts."""

    letter: str
    title: str
    artefact: Artefact
    collected: Collected
    responses: pd.DataFrame
    """HaM's, with their `cluster`."""
    points: pd.DataFrame
    """Of `cluster_points`; as `method` one head each, or one K each."""
    clusters: Mapping[str, int]
    """Prompt -> cluster."""
    by_head: bool = False
    """Whether each head stands by itself."""
    margin: float = MARGIN
    """How far below the panel's worst values the reference point lies, as a share of their range."""

    @property
    def axes(self) -> tuple[tuple[str, ...], str]:
        """Objectives and space."""
        return self.collected.objectives, self.collected.space

    @property
    def columns(self) -> list[str]:
        objectives, space = self.axes
        return [f"{space}_{name}" for name in objectives]

    def drawn(self, collected: Collected) -> Panel:
        """The same of prompts that were drawn anew, in the clusters that they have here; without a look at the heads,
        whose likelihoods are of rows that nobody drew."""
        again = panel_of(
            self.letter, self.title, self.artefact, replace(collected, policies={}), self.clusters
        )
        return head_panel(again) if self.by_head else again

    def volume(self, points: pd.DataFrame) -> float:
        """Hypervolume above one point for all of the panel."""
        corner = pareto.default_reference(self.points[self.columns], self.margin)
        return pareto.hypervolume(points[self.columns], corner)


def panel_of(
    letter: str, title: str, artefact: Artefact, collected: Collected, clusters: Mapping[str, int]
) -> Panel:
    """A panel of measured rows, K by K."""
    heads = collected.responses["method"].str.startswith(HEADS_OF)
    responses = collected.responses[heads]
    responses = responses.assign(
        method=[label_of(int(name.removeprefix(HEADS_OF))) for name in responses["method"]],
        cluster=responses["prompt"].map(clusters),
    )
    points = cluster_points(responses, collected.objectives, collected.space)
    return Panel(letter, title, artefact, collected, responses, points, clusters)


def head_panel(panel: Panel) -> Panel:
    """The same, each head by itself."""
    means = policy_means(panel.responses, *panel.axes)
    ranks = means.groupby("seed")[panel.columns[0]].rank(method="first").astype(int)
    places = {
        (seed, policy): f"head {rank}"
        for seed, policy, rank in zip(means["seed"], means["policy"], ranks, strict=True)
    }
    mine = [places[key] for key in zip(panel.responses["seed"], panel.responses["policy"], strict=True)]
    responses = panel.responses.assign(method=mine)
    return replace(panel, points=cluster_points(responses, *panel.axes), by_head=True)


def growth_of(panel: Panel, numbers: Sequence[int]) -> pd.DataFrame:
    """A row for each K and seed: `k`, `seed`, `hypervolume` and `front`, the number of points on the front, `any_four`,
    the mean hypervolume of four of the heads (empty for fewer), `alive`, the share of heads in which the hypervolume
    has a gradient at the end, `margin`, that of most heads (see `margins_of_heads`; both empty where nobody looked),
    and `trained_parameters`."""
    costs = panel.collected.costs.set_index(["method", "seed"])["trained_parameters"]
    rows = []
    for k in numbers:
        alive, margins = looks_at(panel.collected, k)
        for seed, points in panel.points[panel.points["method"] == label_of(k)].groupby("seed"):
            row = {"k": k, "seed": seed, "hypervolume": panel.volume(points), "front": points["front"].sum()}
            shares = {"any_four": any_four(panel, points), "alive": alive.get(int(str(seed)), np.nan)}
            shares["margin"] = margins.get(int(str(seed)), np.nan)
            rows.append({**row, **shares, "trained_parameters": costs[f"{HEADS_OF}{k}", seed]})
    return pd.DataFrame(rows)


def any_four(panel: Panel, points: pd.DataFrame) -> float:
    """Mean hypervolume of four of the heads: of all choices, or of DRAWS drawn ones; NaN for fewer heads."""
    heads = [rows for _, rows in points.groupby("policy", sort=False)]
    if len(heads) < FOUR:
        return np.nan
    choices = list(islice(combinations(range(len(heads)), FOUR), DRAWS + 1))
    if len(choices) > DRAWS:
        rng = np.random.default_rng(0)
        choices = [tuple(rng.choice(len(heads), FOUR, replace=False).tolist()) for _ in range(DRAWS)]
    return fmean(panel.volume(pd.concat([heads[i] for i in each])) for each in choices)


def looks_at(collected: Collected, k: int) -> tuple[PerSeed, PerSeed]:
    """seed -> share of K heads that are alive at the end, and the margin of most of them. A single head is alive, and
    has no other to be dominated by."""
    if k == 1:
        return {seed: 1.0 for method, seed in collected.policies if method == f"{HEADS_OF}1"}, {}
    looks = last_looks(collected, f"{HEADS_OF}{k}")
    if looks.empty:
        return {}, {}
    return per_seed(looks.groupby("seed")["alive"].mean()), margins_of_heads(looks, MOST)


def per_seed(values: pd.Series) -> PerSeed:
    """A series whose index are seeds."""
    return {int(str(seed)): float(value) for seed, value in values.items()}


def label_of(k: int) -> str:
    return f"K = {k}"


def draw_growth(ax: Axes, growth: pd.DataFrame) -> None:
    """Hypervolumes over K."""
    draw_over_k(ax, growth, "hypervolume", color="#882255", marker="P", label="all heads")
    draw_over_k(ax, growth, "any_four", color="#777777", marker="o", label="any four of them, on average")
    ax.set_title("Hypervolume of (c) (higher is better)")
    ax.legend(fontsize=8.5)


def draw_alive(ax: Axes, growth: pd.DataFrame) -> None:
    """Shares of heads that are alive over K."""
    draw_over_k(ax, growth, "alive", color="#882255", marker="P", label="alive")
    ax.set_ylim(-0.04, 1.04)
    ax.set_title("Share of heads alive at the end of (c)")


def draw_over_k(ax: Axes, growth: pd.DataFrame, column: str, **look: Any) -> None:
    """The mean over seeds as a line, single seeds as dots."""
    known = growth[growth[column].notna()]
    ax.plot(known["k"], known[column], ".", color=look["color"], alpha=0.5, zorder=2)
    mean = known.groupby("k")[column].mean()
    ax.plot(mean.index, mean, markeredgecolor="white", zorder=3, **look)
    ax.set_xscale("log", base=2)
    ticks = sorted(growth["k"].unique())
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.minorticks_off()
    ax.set_xlabel("number of heads K")
