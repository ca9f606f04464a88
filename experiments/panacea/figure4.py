"""Panacea, Figure 4: RLHF with linear scalarisation against Rewarded Soups and DPS, and the front as it grows.

    python experiments/panacea/figure4.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

Trains one policy for Panacea, one per objective for Rewarded Soups and one per grid point for DPS by PPO, all for
equally many updates, as the paper does; and two more of Panacea, with as many updates as all of Rewarded Soups' and
as all of DPS's policies together (`equal_totals`). Samples responses of each on the grid of preferences; judges the
paper's claims; writes CSVs and the picture to results/panacea/figure4/. In the synthetic world the best policy of
every preference is known, so the picture also shows how far below it each method stays, what it spends in KL, and
which kinds of response it gives to risky prompts.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure
from rich.console import Console

from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.figures.margins import (
    common_margin,
    reference_regret,
    regret_margin,
    weighted_margin,
)
from lightning_moa.figures.modes import risky_modes, world_of
from lightning_moa.figures.totals import TotalsConfig, total_rows, with_totals
from lightning_moa.methods.products import DPS_PPO, PANACEA_PPO, REWARDED_SOUPS_PPO, Product
from lightning_moa.pareto import hypervolume
from lightning_moa.reporting.claims import OURS, Row, judge, judge_several
from lightning_moa.reporting.fronts import final_rows, preferences_of
from lightning_moa.reporting.margins import SHARE, of_growth, of_metric
from lightning_moa.reporting.orders import rising_rows
from lightning_moa.reporting.panels import draw_along_weight, shades
from lightning_moa.reporting.plots import canvas, divide, draw_fronts, save_figure
from lightning_moa.reporting.statistics import (
    PerSeed,
    front_by_step,
    hull_depth,
    last_minus_first,
    mean_regret,
    metric,
    metric_difference,
    paired,
    scalarised_difference,
)
from lightning_moa.study.collect import Collected, Exact
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import over_prompts
from lightning_moa.study.planning import REFERENCE
from lightning_moa.study.results import Artefact, Tables, judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import DRAWS, Study

METHODS = {"panacea": PANACEA_PPO, "rewarded_soups": REWARDED_SOUPS_PPO, "dps": DPS_PPO}
INTERIOR = 0.6
"""A preference is an interior one where every weight is at least this much of an equal share: 0.3 of two."""
BASELINES = {"rewarded_soups": "Rewarded Soups", "dps": "DPS"}
MODES = {"safe": "Safe completions", "comply": "Compliance", "refuse": "Refusals", "joke": "Jokes"}


def studies(config: TotalsConfig) -> list[tuple[str, TotalsConfig, Mapping[str, Product]]]:
    """The one study: label, configuration, methods."""
    return [("", *with_totals(config, METHODS, "ppo", "panacea", ("rewarded_soups", "dps")))]


def main(config: TotalsConfig, console: Console) -> None:
    ((_, config, methods),) = studies(config)
    artefact = Artefact.begin("panacea", "figure4", config)
    collected = conduct(config, methods, console)
    tables = artefact.tables(collected)
    # What is asked is the same in all draws of prompts.
    asked = partial(judge_claims, dominated=any_dominated(growth_of(collected, tables)))
    over = over_prompts(artefact, collected, asked)
    claims = judged(lambda name: asked(collected, tables.at(name)), over)
    known = isinstance(config.data, SyntheticConfig)
    modes = risky_modes(collected, world_of(config)) if known else None
    artefact.write(collected, tables, claims, {} if modes is None else {"modes.csv": modes})

    pictures = [artefact.folder / f"figure4.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables, modes), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def judge_claims(collected: Collected, tables: Tables, dominated: bool | None = None) -> list[Row]:
    """The paper's claims about this figure, asked of the tables; and ours. `dominated`: as `growth_claims`'."""
    own = regret_claims if collected.exact is not None else reward_claims
    return [
        *front_claims(collected, tables),
        *growth_claims(collected, tables, dominated),
        *own(collected, tables),
        *total_rows(
            tables.metrics,
            "panacea",
            "Panacea",
            BASELINES,
            collected.space,
            "Fig. 4",
            regret_margin(collected),
        ),
    ]


def front_claims(collected: Collected, tables: Tables) -> list[Row]:
    """Panacea's front against the others', and its shape."""
    space, points = collected.space, tables.points
    sag = {name: hull_depth(points, name, space) for name in ("panacea", *BASELINES)}
    rows = []
    for other, title in BASELINES.items():
        volume = metric_difference(tables.metrics, "hypervolume", "panacea", other, space)
        what = f"hypervolume difference ({space})"
        margin = of_metric(tables.metrics, "hypervolume", "panacea", other, space)
        rows.append(judge(f"Panacea beats {title}", "Fig. 4", what, volume, ">", 0, margin=margin))
    depths = {f"that of {title}": paired(sag["panacea"], sag[other]) for other, title in BASELINES.items()}
    what = f"depth below the front's own hull / its range ({space}), its -"
    claim = "its front is closest to convex"
    rows.append(judge_several(claim, "5.1", what, depths, "<", 0, margin=SHARE))
    if collected.exact is not None:
        claim, what = "it covers the front completely", "hypervolume / that of the best policies' front"
        rows.append(
            judge(claim, "Fig. 4", what, covered(collected, collected.exact, tables), ">=", 1 - SHARE)
        )
    for objective in collected.objectives:
        words = f"{objective} rises with its preference weight"
        rows += rising_rows(points, "panacea", objective, space, words, "5.1")
    return rows


def covered(collected: Collected, exact: Exact, tables: Tables) -> PerSeed:
    """Panacea's hypervolume as a share of the best policies', above the metrics' reference point."""
    best = exact.front[[f"gold_{name}" for name in collected.objectives]].to_numpy()
    most = hypervolume(best, corner_of(collected, tables))
    volumes = metric(tables.metrics, "hypervolume", "panacea", collected.space)
    return {seed: volume / most for seed, volume in volumes.items()}


def corner_of(collected: Collected, tables: Tables) -> np.ndarray:
    """(m,) the metrics' reference point."""
    metrics = tables.metrics[tables.metrics["space"] == collected.space]
    corner: np.ndarray = metrics[[f"reference_{name}" for name in collected.objectives]].to_numpy()[0]
    return corner


def regret_claims(collected: Collected, tables: Tables) -> list[Row]:
    """Ours: how far below each preference's best policy the methods stay."""

    def against(other: str, lowest: float = 0.0) -> PerSeed:
        mine, theirs = (
            mean_regret(tables.points, tables.regret, name, lowest) for name in ("panacea", other)
        )
        return paired(mine, theirs, relative=True)

    what = "relative difference of mean regret"
    asked = [("less regret than Rewarded Soups", what, against("rewarded_soups"), "<", 0.0)]
    for inside in interior_of(tables):
        halved, within = against("rewarded_soups", inside), f"{what}, weights >= {inside:g}"
        asked.append(("less than half of its regret inside", within, halved, "<", -0.5))
    closed = regret_closed(collected, tables, "dps")
    asked += [
        ("less regret than DPS", what, against("dps"), "<", 0.0),
        (
            "PPO for one preference (DPS) closes 80% of the SFT model's regret",
            "1 - mean regret of DPS / of SFT",
            closed,
            ">=",
            0.8,
        ),
    ]
    return [judge(claim, "Fig. 4", *statistic, margin=SHARE, whose=OURS) for claim, *statistic in asked]


def regret_closed(collected: Collected, tables: Tables, method: str) -> PerSeed:
    """Share of the reference policy's regret, averaged over the grid, that a method's training takes away."""
    left = mean_regret(tables.points, tables.regret, method)
    return {seed: 1 - left[seed] / start for seed, start in reference_regret(collected).items()}


def reward_claims(collected: Collected, tables: Tables) -> list[Row]:
    """Ours, where the best policies aren't known: the rewards, weighed by the preference that was asked for."""
    rows = []
    for lowest in (0.0, *interior_of(tables)):
        gain = scalarised_difference(tables.points, "panacea", "rewarded_soups", collected.space, lowest)
        what = f"difference of lambda . {collected.space}, weights >= {lowest:g}"
        where = "inside" if lowest else "everywhere"
        claim = f"more weighted reward than Rewarded Soups {where}"
        margin = weighted_margin(collected)
        rows.append(judge(claim, "Fig. 4", what, gain, ">", 0, margin=margin, whose=OURS))
    return rows


def interior_of(tables: Tables) -> list[float]:
    """The least weight of interior preferences; none where the grid has no such preference."""
    grid = preferences_of(tables.points[tables.points["method"] == "panacea"])
    least = INTERIOR / grid.shape[1]
    return [least] if (grid.min(axis=1) >= least - 1e-9).any() else []


def growth_claims(collected: Collected, tables: Tables, dominated: bool | None = None) -> list[Row]:
    """Figure 4, right: the front at its first snapshot and at the end, and what is learned first. `dominated`: whether
    points below the front are asked about; None: where there are any."""
    growth = growth_of(collected, tables)
    volume, depth = (last_minus_first(growth, name) for name in ("hypervolume", "dominated_by"))
    what, margin = "hypervolume, last - first step", of_growth(growth, "hypervolume")
    rows = [judge("the front expands during training", "Fig. 4", what, volume, ">", 0, margin=margin)]
    if any_dominated(growth) if dominated is None else dominated:
        what = f"mean distance of points below the front ({collected.space}), last - first step"
        claim, margin = "dominated points become fewer, or less so", common_margin(collected)
        rows.append(judge(claim, "Fig. 4", what, depth, "<", 0, margin=margin))
    if len(collected.objectives) == 2 and growth["step"].nunique() > 1:
        late, early = collected.objectives
        ahead = paired(*(learned_early(collected, tables, name) for name in (early, late)))
        what = f"share of the gain over SFT at snapshots before the last, {early} - {late}"
        claim = f"{early} is learned before {late}"
        rows.append(judge(claim, "5.1", what, ahead, ">", 0, margin=SHARE))
    return rows


def any_dominated(growth: pd.DataFrame) -> bool:
    """Whether any point of any step lies below its front."""
    return bool((growth["dominated_by"] > 0).any())


def growth_of(collected: Collected, tables: Tables) -> pd.DataFrame:
    """Panacea's hypervolume at each step, above the metrics' reference point, and how far its points are dominated."""
    return front_by_step(tables.points, "panacea", collected.space, corner_of(collected, tables))


def learned_early(collected: Collected, tables: Tables, objective: str) -> PerSeed:
    """Of the most that Panacea gains in an objective over SFT, averaged over preferences, at any snapshot: the share
    that it has, on average, at those before the seed's last. 0 where it never gains."""
    column, points = f"{collected.space}_{objective}", tables.points
    start = points[points["method"] == REFERENCE].set_index("seed")[column]
    mine = points[points["method"] == "panacea"].groupby(["seed", "step"])[column].mean().unstack("step")
    gains = mine.sub(start, axis=0).sort_index(axis=1)
    most = gains.max(axis=1)
    early = gains.where(gains.bfill(axis=1).shift(-1, axis=1).notna())
    found = (early.mean(axis=1) / most).where(most > 0, 0.0)
    return {int(str(seed)): float(share) for seed, share in found.items()}


def draw(collected: Collected, tables: Tables, modes: pd.DataFrame | None) -> Figure:
    """Fronts of all methods beside Panacea's at its steps; below, what is known of the synthetic world's policies."""
    points, space = tables.points, collected.space
    gold = [f"gold_{name}" for name in collected.objectives]
    exact = None if collected.exact is None else collected.exact.front[gold].to_numpy()
    known = modes is not None
    with canvas(10.5, 9.6 if known else 5.2, "Panacea, Figure 4: RLHF with linear scalarisation") as figure:
        upper: Figure | SubFigure = figure
        if modes is not None:
            upper, lower = divide(figure, 2, 1, height=(1.08, 1))
            draw_world(lower, collected, tables, modes)
        left, right = divide(upper, 1, 2)
        draw_fronts(left, points, space, front=exact, title="Fronts after training")
        at_steps, styles = steps_of_panacea(points)
        draw_fronts(
            right, at_steps, space, front=exact, styles=styles, title="Panacea's front during training"
        )
        align(left, right)
    return figure


def steps_of_panacea(points: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Panacea's points averaged over seeds, with each step as a method of its own."""
    mine = points[points["method"] == "panacea"]
    keys = [name for name in points.columns if name.startswith("lambda_")]
    means = mine.groupby(["paper", "artefact", "scale", "step", *keys], as_index=False).mean(
        numeric_only=True
    )
    means["method"], means["policy"], means["seed"] = means["step"].map("step {}".format), "", 0
    return means, shades(list(dict.fromkeys(means["method"])))


def align(left: SubFigure, right: SubFigure) -> None:
    """The same axes in both panels, so that the fronts can be compared."""
    for mine, theirs in zip(left.axes, right.axes, strict=True):
        for get, give in (("get_xlim", "set_xlim"), ("get_ylim", "set_ylim")):
            ends = np.array([getattr(ax, get)() for ax in (mine, theirs)])
            for ax in (mine, theirs):
                getattr(ax, give)(ends[:, 0].min(), ends[:, 1].max())


def draw_world(part: SubFigure, collected: Collected, tables: Tables, modes: pd.DataFrame) -> None:
    """Regret, KL and the shares of each kind of response against the weight of the first objective."""
    assert collected.exact is not None
    panels = part.subplots(2, 3).flat
    first, front = collected.objectives[0], collected.exact.front
    weight = front[f"lambda_{first}"]
    final = final_rows(tables.points.assign(regret=tables.regret))
    shown = final_rows(modes)
    least, kl = np.zeros(len(front)), front["kl"]
    draw_along_weight(
        next(panels), final, "regret", first, title="Regret (0 is best)", exact=np.c_[weight, least]
    )
    draw_along_weight(next(panels), final, "kl", first, title="KL from SFT, nats", exact=np.c_[weight, kl])
    for mode, title in MODES.items():
        ax, column = next(panels), f"risky_{mode}"
        best = np.c_[weight, front[column]]
        draw_along_weight(ax, shown, column, first, title=title, label="share, risky prompts", exact=best)
        ax.set_ylim(-0.04, 1.04)


STUDY = Study(__file__, "rlhf", METHODS, TotalsConfig, parts=studies, reads=[DRAWS])

if __name__ == "__main__":
    script(STUDY, main)
