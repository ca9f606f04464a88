"""All methods on one world, each at the best of the same learning rates: how far from the best policy that exists.

    python experiments/cross/table_methods.py [scale=smoke|tiny] [key=value ...]

Every method starts from one reference policy, has the same rewards and the same responses an update, and is measured on
the same held-out prompts. It is tuned by one rule (`factors`, `widen`, `tuning_seeds`): its learning rate times each
factor, and some beyond the best while that is the outermost, on seeds that are not reported; the least mean regret
decides, and where no preference is heard the largest expected utility. Writes table.csv (a row for each method and
seed), ranks.csv and ranks.png (mean ranks, and how far two must lie apart), claims.csv (QUESTIONS, of pairs of
methods), rates.csv (what was tried and taken), table.md and the study's own CSVs to results/cross/table_methods/.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.figures.all_methods import METHODS, Front, conduct_front, responses_of, studies
from lightning_moa.figures.final_gains import units
from lightning_moa.figures.front_measures import front_measures
from lightning_moa.figures.margins import regret_margin
from lightning_moa.figures.tuning import TunedConfig
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.margins import SHARE
from lightning_moa.reporting.markdown import markdown_table
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.ranks import draw_ranks, mean_ranks
from lightning_moa.reporting.statistics import PerSeed, paired
from lightning_moa.study.collect import Collected
from lightning_moa.study.planning import REFERENCE
from lightning_moa.study.results import Judged, Tables, print_claims, print_methods, print_place
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
RELATIONS = {"mean_regret": "<", "expected_utility": ">", "angle": "<"}


@dataclass(frozen=True)
class Question:
    """Whether the first of two methods is the better one by a measure of RELATIONS."""

    claim: str
    mine: str
    other: str
    measure: str = "mean_regret"


QUESTIONS = [
    Question("DPO: singular values carry a preference better than the prompt", "panacea_dpo", "prompted_dpo"),
    Question(
        "RLOO: singular values carry a preference better than the prompt", "panacea_rloo", "prompted_rloo"
    ),
    Question("DPO: Panacea beats soups", "panacea_dpo", "soups_dpo"),
    Question("RLOO: Panacea beats soups", "panacea_rloo", "soups_rloo"),
    Question("RLOO: one Panacea beats a policy for each preference", "panacea_rloo", "morlhf_rloo"),
    Question("DPO: corners' logits mix better than their weights", "mod_dpo", "soups_dpo"),
    Question("RLOO: corners' logits mix better than their weights", "mod_rloo", "soups_rloo"),
    Question("Rewards are better normalised before they are summed", "morlhf_gdpo", "morlhf_grpo"),
    Question("Panacea needs no critic", "panacea_rloo", "panacea_ppo"),
    Question("Panacea learns more from pairs than from samples", "panacea_dpo", "panacea_rloo"),
    Question("MODPO beats Panacea's DPO", "modpo", "panacea_dpo"),
    Question("Linear scalarisation beats Tchebycheff", "panacea_dpo", "panacea_tche"),
    Question("Tchebycheff is better smooth", "panacea_smooth", "panacea_tche"),
    Question("Rescaled gradients (GAPO) serve more users than MGDA's", "gapo", "mgda", "expected_utility"),
    Question("UPGrad's serve more users than GAPO's", "upgrad", "gapo", "expected_utility"),
    Question("HaM's heads serve more users than SCA's models", "ham", "sca", "expected_utility"),
    Question("HaM's heads serve more users than RiC's prompts", "ham", "ric", "expected_utility"),
    Question("EPO keeps closer to the preference than P-GAPO", "epo", "pgapo", "angle"),
]
"""Written down before the first of the reported seeds was trained."""


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
    """Degrees between a preference and what its policy has gained over the reference policy, mean over the preferences
    of the grid without a zero: gains in units of what lies between the best policies for one objective each. A policy
    that has gained nothing is as far from every preference, at 90. NaN where no preference is heard."""
    names = [f"gold_{name}" for name in collected.objectives]
    preferences = mine[[f"lambda_{name}" for name in collected.objectives]].to_numpy()
    inside = (preferences > 0).all(axis=1)
    if not inside.any():
        return float("nan")
    points = collected.points
    start = points.loc[(points["method"] == REFERENCE) & (points["seed"] == seed), names].to_numpy()[0]
    gained, preferences = (
        (mine[names].to_numpy() - start)[inside] / units(collected)[seed],
        preferences[inside],
    )
    lengths = np.linalg.norm(gained, axis=1) * np.linalg.norm(preferences, axis=1)
    cosines = (gained * preferences).sum(axis=1) / np.where(lengths == 0, 1.0, lengths)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())


def judge_claims(table: pd.DataFrame, regret: float) -> list[Row]:
    """QUESTIONS whose two methods are in the table, in paired differences over seeds. `regret` is its margin, and that
    of expected utility, which is in the same unit; an angle's is SHARE of the 90 degrees of who gains nothing."""
    rows, methods = [], set(table["method"])
    for asked in QUESTIONS:
        if {asked.mine, asked.other} <= methods:
            mine, other = (of_method(table, name, asked.measure) for name in (asked.mine, asked.other))
            what = f"{asked.measure.replace('_', ' ')}, {asked.mine} - {asked.other}"
            margin = SHARE * 90 if asked.measure == "angle" else regret
            relation, gap = RELATIONS[asked.measure], paired(mine, other)
            where = "all methods"
            rows.append(judge(asked.claim, where, what, gap, relation, 0, margin=margin, whose=OURS))
    return rows


def of_method(table: pd.DataFrame, method: str, measure: str) -> PerSeed:
    """Seed -> a method's measure."""
    mine = table[table["method"] == method]
    return dict(zip(mine["seed"].tolist(), mine[measure].tolist(), strict=True))


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


def at_the_edge(rates: pd.DataFrame) -> str:
    """Whose best learning rate is the least or the largest that was tried, so that one further out may be better still;
    nobody where fewer than three were tried."""
    found: dict[str, list[str]] = {"least": [], "largest": []}
    for method, mine in rates.groupby("method", sort=False):
        ends = {"least": mine["lr"].min(), "largest": mine["lr"].max()}
        for end, lr in ends.items():
            if len(mine) > 2 and lr == mine.loc[mine["taken"], "lr"].iloc[0]:
                found[end].append(str(method))
    return " ".join(
        f"The {end} of the rates that were tried is taken by {len(names)} of {rates['method'].nunique()} methods"
        f"{': ' if names else ''}{', '.join(names)}."
        for end, names in found.items()
    )


def page(table: pd.DataFrame, timings: pd.DataFrame, edge: str) -> str:
    """The table for readers: means over seeds, best expected utility first."""
    shown = {**MEASURES, **COSTS, **TIMINGS}
    whole = table.merge(timings[["method", "seed", *TIMINGS]], on=["method", "seed"], how="left")
    means = whole.groupby("method")[list(shown)].mean().sort_values("expected_utility", ascending=False)
    cells = [
        [str(method), *("" if pd.isna(value) else f"{value:,.4g}" for value in row)]
        for method, row in zip(means.index, means.to_numpy().tolist(), strict=True)
    ]
    return f"# All methods on one front\n\n{markdown_table(['method', *shown.values()], cells)}\n{edge}\n"


def main(config: TunedConfig, console: Console, asked: Methods = METHODS) -> None:
    front = conduct_front("table_methods", config, asked, console)
    artefact, collected = front.artefact, front.collected
    tables = artefact.tables(collected)
    table = table_of(front, tables)
    ranks = ranks_of(table)
    margin = regret_margin(collected)
    assert margin is not None
    rows = judge_claims(table, margin)
    claims = Judged(claims_frame(rows)) if rows else None
    others = {"table.csv": table, "ranks.csv": ranks, "rates.csv": front.rates}
    artefact.write(collected, tables, claims, others)
    pictures = [artefact.folder / "ranks.png"] if len(ranks) else []
    if pictures:
        save_figure(draw(ranks), *pictures)
    edge = at_the_edge(front.rates)
    write_atomically(artefact.folder / "table.md", page(table, collected.timings, edge))
    print_methods(console, artefact, collected, tables)
    if claims is not None:
        print_claims(console, claims, pictures)
    console.print(edge, highlight=False, markup=False)
    print_place(console, "table", artefact.folder / "table.md")


STUDY = Study(__file__, "world", METHODS, TunedConfig, parts=studies, any_methods=True)

if __name__ == "__main__":
    script(STUDY, main)
