"""Panacea, Theorem A.4: labels of labellers with different preferences train a model that fits none of them.

    python experiments/panacea/misalignment.py [scale=smoke|tiny] [key=value ...]

Labellers, one for each objective, label equal shares of the same pairs: each gives one verdict a pair, by the sum of
the rewards that its own preference weighs (Assumptions A.1 to A.3). A single-objective model is trained on these labels
by the theorem's own route, a Bradley-Terry reward model and PPO on it. Panacea is trained on reward models of the same
pairs with a label for each objective. Both are asked how far they stay below each labeller's best policy, and below
that of lambda^opt = sum_i p^i lambda^i, the preference that the theorem says the single-objective model is trained for
(it adds up the labellers' objectives; one reward model of all labels comes close to that, but isn't the same).

Writes CSVs and the picture to results/panacea/misalignment/. The best policies must be known: the synthetic world only.
`data.labellers.<name>=[...]` puts labellers of your own in place.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.config import SYNTHETIC, MethodConfig, StudyConfig
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.margins import regret_margin
from lightning_moa.methods.products import PANACEA_PPO, SINGLE_OBJECTIVE_PPO, Product
from lightning_moa.pareto import preference_grid
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.margins import of_ratio
from lightning_moa.reporting.plots import canvas, draw_fronts, save_figure
from lightning_moa.reporting.statistics import PerSeed, paired
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.collect import Collected, joined
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import REFERENCE, objectives_of
from lightning_moa.study.results import Artefact, Judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

METHODS = {"panacea": PANACEA_PPO, "single_objective": SINGLE_OBJECTIVE_PPO}
SHARE_OF_OWN = 0.9
"""The weight that each labeller gives to an objective of its own; the others share the rest."""
MIXED = "lambda_opt"
"""The mean of the labellers' preferences, beside their names."""
STEP = 0.1
"""Spacing of the grid that Panacea is measured on, or finer: the labellers' preferences must lie on it."""
SMALL = 0.5
"""A regret is small where it is less than this share of the labellers' mean regret."""


def main(config: StudyConfig, console: Console) -> None:
    asked = preferences_of(config)
    both = studies(config)
    methods = {name: each for _, own, _ in both for name, each in own.methods.items()}
    artefact = Artefact.begin("panacea", "misalignment", replace(both[-1][1], methods=methods))
    panacea, single = (conduct(own, trained, console) for _, own, trained in both)
    collected = joined([panacea, without_rewards(single)])
    tables = artefact.tables(collected)
    regret = regret_table(collected, asked)
    mixed = regret_of_mixture(collected, asked)
    claims = Judged(claims_frame(judge_claims(collected, regret, asked)))
    artefact.write(collected, tables, claims, {"regret.csv": regret})

    pictures = [artefact.folder / f"misalignment.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables.points, regret, mixed, asked), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def studies(config: StudyConfig) -> list[tuple[str, StudyConfig, Mapping[str, Product]]]:
    """Panacea's, then the single objective's: label, configuration, methods.

    Raises:
        UserError: a labeller whose policy would not be measured.
    """
    asked = preferences_of(config)
    both = [
        (f"labels of {whose}", settings_for(config, name, asked), {name: METHODS[name]})
        for name, whose in {"panacea": "objectives", "single_objective": "labellers"}.items()
    ]
    grid = preference_grid(len(asked[MIXED]), both[0][1].evaluation.grid_step)
    for labeller, preference in asked.items():
        place_of(grid, labeller, preference)
    return both


def preferences_of(config: StudyConfig) -> dict[str, np.ndarray]:
    """Name -> preference (m,) of each labeller, then of their equal mixture."""
    if not isinstance(config.data, SyntheticConfig):
        raise UserError(f"data={config.data.name}: its best policies are not known; allowed is {SYNTHETIC}")
    m = len(objectives_of(config))
    # Rounded, so that 0.1 is written as 0.1 and not as 1 - 0.9.
    own = np.full((m, m), round((1 - SHARE_OF_OWN) / (m - 1), 12))
    np.fill_diagonal(own, SHARE_OF_OWN)
    named = config.data.labellers or {f"labeller {i + 1}": row.tolist() for i, row in enumerate(own)}
    asked = {name: np.asarray(weights, dtype=np.float64) for name, weights in named.items()}
    if len(asked) < 2 or MIXED in asked:
        raise UserError(f"data.labellers: {', '.join(asked)}; two or more, none called {MIXED}, are allowed")
    return {**asked, MIXED: np.mean(list(asked.values()), axis=0)}


def settings_for(config: StudyConfig, method: str, asked: dict[str, np.ndarray]) -> StudyConfig:
    """The study of one method: the same pairs and as many updates, labelled by objective or by labeller."""
    own = deepcopy(config)
    assert isinstance(own.data, SyntheticConfig)
    labellers = {name: weights.tolist() for name, weights in asked.items() if name != MIXED}
    own.data.labellers = labellers if method == "single_objective" else {}
    own.ppo.reward = "trained"
    own.evaluation.grid_step = min(config.evaluation.grid_step, STEP)
    panacea = config.methods.get("panacea", MethodConfig())
    # As many updates as Panacea's, so that it isn't for want of training.
    settings = {
        "panacea": replace(panacea, snapshots=[]),
        "single_objective": config.methods.get("single_objective", MethodConfig(steps=panacea.steps)),
    }
    own.methods = {method: settings[method]}
    return own


def without_rewards(single: Collected) -> Collected:
    """The same, scored by no reward model: those that were trained on other labels are not put side by side."""
    names = [f"reward_{name}" for name in single.objectives]
    empty = {
        name: frame.assign(**{column: np.nan for column in names if column in frame})
        for name, frame in (("points", single.points), ("responses", single.responses))
    }
    return replace(single, **empty)


def regret_table(collected: Collected, asked: dict[str, np.ndarray]) -> pd.DataFrame:
    """`method`, `seed`, `labeller`, `lambda_*`, `gold_*`, `kl`, `regret` of the policy that each labeller is given.

    Panacea is given the labeller's preference; the single-objective model is the same for all.
    """
    assert collected.exact is not None
    names = [f"lambda_{name}" for name in collected.objectives]
    gold = [f"gold_{name}" for name in collected.objectives]
    rows = []
    for labeller, preference in asked.items():
        best = float(best_for(collected, labeller, preference)["value"])
        for row in collected.points[collected.points["method"] != REFERENCE].to_dict("records"):
            given = np.array([row[name] for name in names])
            if np.isnan(given).all() or np.allclose(given, preference):
                reached = float(preference @ [row[name] for name in gold]) - collected.exact.beta * row["kl"]
                known = {name: row[name] for name in (*gold, "kl")}
                weights = dict(zip(names, preference.tolist(), strict=True))
                head = {"method": row["method"], "seed": row["seed"], "labeller": labeller}
                rows.append({**head, **weights, **known, "regret": best - reached})
    return pd.DataFrame(rows)


def best_for(collected: Collected, labeller: str, preference: np.ndarray) -> pd.Series:
    """The best policy's row of a preference, which must be on the grid, for Panacea is measured there alone."""
    assert collected.exact is not None
    names = [f"lambda_{name}" for name in collected.objectives]
    grid = collected.exact.grid
    return grid.iloc[place_of(grid[names].to_numpy(), labeller, preference)]


def place_of(grid: np.ndarray, labeller: str, preference: np.ndarray) -> int:
    """The row of a grid (n, m) of preferences that is a labeller's.

    Raises:
        UserError: none is.
    """
    found = np.flatnonzero(np.isclose(grid, preference).all(axis=1))
    if not len(found):
        raise UserError(
            f"{labeller}: the preference {preference.round(9).tolist()} is not on the grid that policies are measured "
            "on; a finer evaluation.grid_step is needed, or other data.labellers"
        )
    return int(found[0])


def regret_of_mixture(collected: Collected, asked: dict[str, np.ndarray]) -> dict[str, float]:
    """Labeller -> regret of the best policy of lambda^opt: what perfect training for the mixture leaves, exactly. The
    theorem itself: it is above 0 wherever the best policies differ, so no verdict is given on it."""
    assert collected.exact is not None
    mixed = best_for(collected, MIXED, asked[MIXED])
    gold = mixed[[f"gold_{name}" for name in collected.objectives]].to_numpy(np.float64)
    reached = {name: preference @ gold for name, preference in asked.items()}
    spent = collected.exact.beta * float(mixed["kl"])
    best = {name: float(best_for(collected, name, preference)["value"]) for name, preference in asked.items()}
    return {name: best[name] - float(reached[name]) + spent for name in asked if name != MIXED}


def judge_claims(collected: Collected, regret: pd.DataFrame, asked: dict[str, np.ndarray]) -> list[Row]:
    """Misaligned with every labeller, but not with the mixture of their preferences."""
    margin = regret_margin(collected)
    single = {name: regret_of(regret, "single_objective", name) for name in asked}
    rows = []
    for labeller in asked:
        if labeller != MIXED:
            gap = paired(single[labeller], regret_of(regret, "panacea", labeller))
            claim = f"{labeller}: the single-objective model misses its best policy by more than Panacea"
            rows.append(
                judge(claim, "Th. A.4", "difference of regret", gap, ">", 0, margin=margin, whose=OURS)
            )
    labellers = [values for name, values in single.items() if name != MIXED]
    share = {
        seed: value / float(np.mean([each[seed] for each in labellers]))
        for seed, value in single[MIXED].items()
    }
    what = "regret under lambda^opt / mean regret of the labellers"
    claim = "the single-objective model is trained for lambda^opt, which is nobody's preference"
    margin = of_ratio(SMALL)
    return [*rows, judge(claim, "Th. A.4", what, share, "<", SMALL, margin=margin, whose=OURS)]


def regret_of(regret: pd.DataFrame, method: str, labeller: str) -> PerSeed:
    """Seed -> regret."""
    rows = regret[(regret["method"] == method) & (regret["labeller"] == labeller)]
    return {int(seed): float(value) for seed, value in zip(rows["seed"], rows["regret"], strict=True)}


def draw(
    collected: Collected,
    points: pd.DataFrame,
    regret: pd.DataFrame,
    mixed: dict[str, float],
    asked: dict[str, np.ndarray],
) -> Figure:
    """The fronts, with what is best for each labeller; and how far below it each labeller is left."""
    assert collected.exact is not None
    gold = [f"gold_{name}" for name in collected.objectives]
    m = len(collected.objectives)
    title = "Panacea, Theorem A.4: one model of mixed labellers' verdicts"
    with canvas(4.6 + 3.6 * (m - 1), 2.0 + 3.2 * (m - 1), title) as figure:
        left, right = figure.subfigures(1, 2, width_ratios=[1.25 * (m - 1), 1])
        draw_fronts(left, points, "gold", front=collected.exact.front[gold].to_numpy(), title="Fronts")
        if m == 2:
            mark_best(left.axes[0], collected, asked)
        draw_regret(right.subplots(), regret, mixed, list(asked))
    return figure


def mark_best(ax: Axes, collected: Collected, asked: dict[str, np.ndarray]) -> None:
    """A ring round the best policy of each labeller, and of their mixture."""
    for labeller, preference in asked.items():
        row = best_for(collected, labeller, preference)
        x, y = (float(row[f"gold_{name}"]) for name in collected.objectives)
        ax.plot(x, y, "o", markersize=11, markerfacecolor="none", markeredgecolor="black", zorder=7)
        in_left_half = x < float(np.mean(ax.get_xlim()))
        offset, side = ((9, 7), "left") if in_left_half else ((-9, -13), "right")
        ax.annotate(f"best for {labeller}", (x, y), offset, textcoords="offset points", ha=side, fontsize=8)


def draw_regret(ax: Axes, regret: pd.DataFrame, mixed: dict[str, float], labellers: list[str]) -> None:
    """A pair of bars a labeller: the mean over seeds, single seeds as dots; lines: the mixture's best."""
    methods = list(dict.fromkeys(regret["method"]))
    width = 0.8 / len(methods)
    for i, (method, style) in enumerate(styles_of(methods).items()):
        for place, labeller in enumerate(labellers):
            values = list(regret_of(regret, method, labeller).values())
            x = place + (i - (len(methods) - 1) / 2) * width
            label = style.label if place == 0 else None
            ax.bar(x, np.mean(values), width * 0.92, color=style.colour, label=label, zorder=2)
            ax.plot([x] * len(values), values, ".", color="black", markersize=4, zorder=3)
    for place, labeller in enumerate(name for name in labellers if name in mixed):
        label = f"best policy of {MIXED}" if place == 0 else None
        ax.hlines(
            mixed[labeller], place - 0.45, place + 0.45, color="black", linestyle="--", label=label, zorder=4
        )
    ax.set_xticks(range(len(labellers)), labellers)
    ax.grid(axis="x", visible=False)
    ax.set_title("Regret (lower is better)")
    # Room for the legend above the highest dot.
    ax.set_ylim(top=1.25 * regret["regret"].max())
    ax.legend(fontsize=8.5)


STUDY = Study(__file__, "rlhf", METHODS, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
