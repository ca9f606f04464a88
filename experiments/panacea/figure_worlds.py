"""Panacea, Rewarded Soups and DPS in several synthetic worlds: does Figure 4 say something of one world alone?

    python experiments/panacea/figure_worlds.py [scale=smoke|tiny] [key=value ...]

In each world (`worlds`: words, qualities and rewards of its own) trains the policies of Figure 4 for equally many
updates and measures them on held-out prompts. A world is the unit here: its value is the mean over the training seeds
in it, and intervals are over worlds. Writes the CSVs of each world to the folder w<world> of
results/panacea/figure_worlds/<scale>/, and worlds.csv (each method's hypervolume as a share of the exact front's, and
its regret as a share of the reference policy's), the claims and the picture above.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa import pareto
from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import WorldConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.methods.products import DPS_PPO, PANACEA_PPO, REWARDED_SOUPS_PPO, Product
from lightning_moa.reporting.claims import OF_RULE, OURS, Row, judge
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.margins import SHARE
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.statistics import PerSeed
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import REFERENCE
from lightning_moa.study.results import REFERENCES, Artefact, Tables, judged, print_claims, print_methods
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

METHODS = {"panacea": PANACEA_PPO, "rewarded_soups": REWARDED_SOUPS_PPO, "dps": DPS_PPO}
MEASURES = {
    "share": "Hypervolume, as a share of the exact front's",
    "regret": "Mean regret, as a share of the reference policy's",
}


@dataclass
class FigureWorldsConfig(StudyConfig):
    """A study in several worlds."""

    worlds: list[int] = option(
        [1, 2, 3, 4, 5], "seeds of the worlds; none of them is 0, which the settings were chosen in"
    )


def main(config: FigureWorldsConfig, console: Console) -> None:
    whole = Artefact.begin("panacea", "figure_worlds", config)
    parts = {f"w{own.data.world_seed}": (own, methods) for _, own, methods in studies(config)}
    whole.begin_parts({part: own for part, (own, _) in parts.items()})
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in REFERENCES}
    for part, (own, methods) in parts.items():
        artefact = Artefact.begin("panacea", "figure_worlds", own, part=part)
        collected = conduct(own, methods, console)
        tables = artefact.tables(collected)
        artefact.write(collected, tables, None)
        print_methods(console, artefact, collected, tables)
        for name, into in found.items():
            into.append(shares(collected, tables.at(name)).assign(world=own.data.world_seed))
    at = {name: pd.concat(frames, ignore_index=True) for name, frames in found.items()}
    worlds = at[OF_RULE][["world", "method", "seed", "share", "regret"]]
    folder = whole.folder
    write_atomically(folder / "worlds.csv", worlds.to_csv(index=False, lineterminator="\n"))
    claims = judged(lambda name: judge_claims(at[name]))
    claims.write(folder)

    pictures = [folder / f"figure_worlds.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(worlds), *pictures)
    whole.end_parts(parts)
    print_claims(console, claims, pictures)


def studies(config: FigureWorldsConfig) -> list[tuple[str, FigureWorldsConfig, Mapping[str, Product]]]:
    """One for each world: label, configuration, methods."""
    if not isinstance(config.data, WorldConfig):
        raise UserError(
            f"data={config.data.name}: is no world; allowed are synthetic and synthetic_summaries"
        )
    if not config.worlds or len(set(config.worlds)) < len(config.worlds):
        raise UserError(f"worlds={config.worlds}: allowed is a list of different whole numbers")
    found: list[tuple[str, FigureWorldsConfig, Mapping[str, Product]]] = []
    for world in config.worlds:
        own = deepcopy(config)
        own.data.world_seed = world  # type: ignore[attr-defined]
        for each in own.methods.values():
            each.snapshots = []
        found.append((f"world {world}", own, METHODS))
    return found


def shares(collected: Collected, tables: Tables) -> pd.DataFrame:
    """Each method's and seed's hypervolume over the exact front's, above the metrics' reference point, and its mean
    regret over the reference policy's: `method`, `seed`, `share`, `regret`."""
    assert collected.exact is not None
    points, metrics = tables.points, tables.metrics[tables.metrics["space"] == "gold"]
    gold = [f"gold_{name}" for name in collected.objectives]
    exact = collected.exact.front[gold].to_numpy()
    corner = metrics[[f"reference_{name}" for name in collected.objectives]].to_numpy()[0]
    whole = pareto.hypervolume(exact, corner)
    weights = collected.exact.grid[[f"lambda_{name}" for name in collected.objectives]].to_numpy()
    rows = []
    for (method, seed), mine in points.assign(regret=tables.regret).groupby(["method", "seed"]):
        if method == REFERENCE:
            continue
        start = points[(points["method"] == REFERENCE) & (points["seed"] == seed)][gold].to_numpy()[0]
        least = (collected.exact.grid["value"].to_numpy() - weights @ start).mean()
        rows.append(
            {
                "method": method,
                "seed": seed,
                "share": pareto.hypervolume(mine[gold].to_numpy(), corner) / whole,
                "regret": mine["regret"].mean(skipna=False) / least,
            }
        )
    return pd.DataFrame(rows)


def judge_claims(worlds: pd.DataFrame) -> list[Row]:
    """What the paper says of its Figure 4, asked of worlds, which is our question; at equal updates a policy."""
    rows = []
    for other, title in (("rewarded_soups", "Rewarded Soups"), ("dps", "DPS")):
        more, less = (difference(worlds, measure, other) for measure in ("share", "regret"))
        what = "over worlds, difference of the hypervolume's share of the exact front's"
        claim = f"Panacea's front is larger than {title}'s"
        rows.append(judge(claim, "Fig. 4", what, more, ">", 0, margin=SHARE, whose=OURS))
        what = "over worlds, difference of mean regret / the reference policy's"
        claim = f"Panacea has less regret than {title}"
        rows.append(judge(claim, "Fig. 4", what, less, "<", 0, margin=SHARE, whose=OURS))
    return rows


def difference(worlds: pd.DataFrame, measure: str, other: str) -> PerSeed:
    """world -> Panacea's minus the other method's, both averaged over the training seeds in the world."""
    means = worlds.groupby(["world", "method"])[measure].mean(skipna=False).unstack("method")
    return {int(str(world)): float(gap) for world, gap in (means["panacea"] - means[other]).items()}


def draw(worlds: pd.DataFrame) -> Figure:
    """A panel a measure: a column a world, a dot a method."""
    with canvas(9.6, 3.9, "Panacea, Figure 4 in several worlds") as figure:
        styles = styles_of(METHODS)
        order = sorted(worlds["world"].unique())
        for ax, (measure, title) in zip(figure.subplots(1, len(MEASURES)), MEASURES.items(), strict=True):
            for method, style in styles.items():
                mine = worlds[worlds["method"] == method].groupby("world")[measure].mean(skipna=False)
                ax.plot(range(len(order)), mine[order], style.marker, color=style.colour, label=style.label)
            ax.set_xticks(range(len(order)), [str(world) for world in order])
            ax.set_xlabel("world")
            ax.set_title(title)
            ax.margins(x=0.15)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5)
    return figure


STUDY = Study(__file__, "rlhf", METHODS, FigureWorldsConfig, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
