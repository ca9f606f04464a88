"""GAPO, the fronts of P-GAPO: one policy for each of several preferences, against MORLHF and Rewarded Soups.

    python experiments/gapo/figure_pareto.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

Trains a policy of P-GAPO and one of MORLHF for each interior point of the grid of preferences (the paper's lambda of
0.2, 0.4, 0.6, 0.8), and one for each objective that Rewarded Soups interpolates; GAPO with p = 1, which knows no
preference, is shown beside them. All are measured on the study's own prompts at the same preferences: what Rewarded
Soups gives at the corners is left out, since P-GAPO has no policy there. Judges the claims that notes on the paper
report; writes CSVs (each preference's numbers in preferences.csv) and the picture to results/gapo/figure_pareto/.

Terms are equal updates a policy: P-GAPO and MORLHF have one policy, and so as many updates, for each preference, and
Rewarded Soups one for each objective in all.

MORLHF maximises lambda . reward, P-GAPO weighs directions by lambda: lambda . reward and the regret that follows from
it measure both by MORLHF's own goal. Hypervolume and dominance know nothing of lambda.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.figures.margins import common_margin, regret_margin, weighted_margin
from lightning_moa.methods.products import GAPO_P1_PPO, MORLHF_PPO, PGAPO_PPO, SOUPS_OF_LORAS_PPO
from lightning_moa.reporting.claims import OURS, Row, judge
from lightning_moa.reporting.fronts import by_seed, final_rows, preferences_of, values_of
from lightning_moa.reporting.margins import of_metric
from lightning_moa.reporting.orders import rising_rows
from lightning_moa.reporting.panels import draw_along_weight
from lightning_moa.reporting.plots import canvas, divide, draw_fronts, save_figure
from lightning_moa.reporting.statistics import (
    PerSeed,
    domination_gap,
    metric_difference,
    paired,
)
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import over_prompts
from lightning_moa.study.results import Artefact, Tables, judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import DRAWS, Study

METHODS = {
    "pgapo": PGAPO_PPO,
    "morlhf": MORLHF_PPO,
    "rewarded_soups": SOUPS_OF_LORAS_PPO,
    "gapo_p1": GAPO_P1_PPO,
}
WHERE, ABSTRACT = "fronts, by notes on the paper", "abstract"


def main(config: StudyConfig, console: Console) -> None:
    artefact = Artefact.begin("gapo", "figure_pareto", config)
    collected = inside(conduct(config, METHODS, console))
    tables = artefact.tables(collected)
    asked = at_preferences(collected, tables)
    over = over_prompts(artefact, collected, drawn_claims)
    claims = judged(lambda name: judge_claims(collected, tables.at(name), asked), over)
    artefact.write(collected, tables, claims, {"preferences.csv": asked})

    pictures = [artefact.folder / f"figure_pareto.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables, asked), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def inside(collected: Collected) -> Collected:
    """Without the points at preferences that give an objective no weight."""
    weights = collected.points[[f"lambda_{name}" for name in collected.objectives]]
    kept = (weights > 0).all(axis=1) | weights.isna().all(axis=1)
    return replace(collected, points=collected.points[kept].reset_index(drop=True))


def at_preferences(collected: Collected, tables: Tables) -> pd.DataFrame:
    """Each policy that knows its preference, at its last step.

    Returns:
        `method`, `seed`, `lambda_*`, `weighted` = lambda . reward in the compared space, higher is better, `regret`,
        lower is better, empty where the best policies are not known, and `kl` in nats.
    """
    rows = final_rows(tables.points.assign(regret=tables.regret))
    weights = [f"lambda_{name}" for name in collected.objectives]
    rows = rows[rows[weights].notna().all(axis=1)]
    weighted = (preferences_of(rows) * values_of(rows, collected.space)).sum(axis=1)
    return rows.assign(weighted=weighted)[["method", "seed", *weights, "weighted", "regret", "kl"]]


def drawn_claims(collected: Collected, tables: Tables) -> list[Row]:
    """The claims of rows that were drawn anew."""
    return judge_claims(collected, tables, at_preferences(collected, tables))


def judge_claims(collected: Collected, tables: Tables, asked: pd.DataFrame) -> list[Row]:
    """What notes on the paper say of its fronts, asked of the tables."""
    return [
        *morlhf_claims(collected, asked),
        *soups_claims(collected, tables, asked),
        *steering_claims(collected, tables),
    ]


def morlhf_claims(collected: Collected, asked: pd.DataFrame) -> list[Row]:
    """P-GAPO above MORLHF where the preference is balanced (0.4, 0.6), MORLHF slightly better where it leans."""
    grid = np.unique(preferences_of(asked), axis=0)
    rows = []
    for preference in grid:
        words = "(" + ", ".join(f"{weight:g}" for weight in preference) + ")"
        above = is_balanced(preference[None])[0]
        claim = "P-GAPO is above MORLHF" if above else "MORLHF is slightly better than P-GAPO"
        gap = difference(asked[is_at(asked, preference[None])], "weighted", "pgapo", "morlhf")
        what = f"P-GAPO - MORLHF in lambda . {collected.space}"
        relation, margin = ">" if above else "<", weighted_margin(collected, preference)
        rows.append(judge(f"{claim} at {words}", WHERE, what, gap, relation, 0, margin=margin))
    if collected.exact is None:
        return rows
    sides = {
        "less regret than MORLHF at balanced preferences": (True, "<"),
        "more regret than MORLHF at the others": (False, ">"),
    }
    for words, (balanced, relation) in sides.items():
        kept = asked[is_at(asked, grid[is_balanced(grid) == balanced])]
        if len(kept):
            gap = difference(kept, "regret", "pgapo", "morlhf")
            what = "P-GAPO - MORLHF in mean regret"
            claim, margin = f"P-GAPO has {words}", regret_margin(collected)
            rows.append(judge(claim, WHERE, what, gap, relation, 0, margin=margin, whose=OURS))
    return rows


def soups_claims(collected: Collected, tables: Tables, asked: pd.DataFrame) -> list[Row]:
    """Both fronts dominate that of Rewarded Soups, at the same preferences."""
    space, rows = collected.space, []
    # Regret is lambda . reward with the KL that it cost, where the best of it is known.
    column, better = ("weighted", ">") if collected.exact is None else ("regret", "<")
    served = weighted_margin(collected) if collected.exact is None else regret_margin(collected)
    for method, title in (("pgapo", "P-GAPO"), ("morlhf", "MORLHF")):
        volume = metric_difference(tables.metrics, "hypervolume", method, "rewarded_soups", space)
        epsilon = domination_gap(tables.points, method, "rewarded_soups", space)
        gap = difference(asked, column, method, "rewarded_soups")
        versus = f"{title} - Rewarded Soups in"
        of_front = f"additive epsilon of {title}'s front over Rewarded Soups' ({space})"
        name = "regret" if column == "regret" else f"lambda . {space}"
        rows += [
            judge(
                f"{title} spans more than Rewarded Soups",
                WHERE,
                f"{versus} hypervolume ({space})",
                volume,
                ">",
                0,
                margin=of_metric(tables.metrics, "hypervolume", method, "rewarded_soups", space),
                whose=OURS,
            ),
            judge(
                f"{title}'s front dominates Rewarded Soups'",
                WHERE,
                of_front,
                epsilon,
                "<=",
                0,
                margin=common_margin(collected),
            ),
            judge(
                f"{title} serves preferences better than Rewarded Soups",
                WHERE,
                f"{versus} mean {name}",
                gap,
                better,
                0,
                margin=served,
                whose=OURS,
            ),
        ]
    return rows


def steering_claims(collected: Collected, tables: Tables) -> list[Row]:
    """P-GAPO's solutions are tailored to the user's preference."""
    rows = []
    for objective in collected.objectives:
        words = f"{objective} rises with its preference weight"
        rows += rising_rows(tables.points, "pgapo", objective, collected.space, words, ABSTRACT)
    return rows


def is_balanced(preferences: np.ndarray) -> np.ndarray:
    """(n,) bool: no weight of a row of (n, m) is nearer to 1 than to an equal share."""
    equal = 1 / preferences.shape[1]
    return np.asarray(preferences.max(axis=1) < (1 + equal) / 2)


def is_at(asked: pd.DataFrame, preferences: np.ndarray) -> np.ndarray:
    """(rows,) bool: whether a row's preference is one of (n, m)."""
    near = np.abs(preferences_of(asked)[:, None] - preferences[None]) < 1e-6
    return np.asarray(near.all(axis=2).any(axis=1))


def difference(asked: pd.DataFrame, column: str, method: str, other: str) -> PerSeed:
    """Mean of a column over the rows' preferences, the method's minus the other's, paired by seed."""
    mine, theirs = (
        {seed: float(rows[column].mean()) for seed, rows in by_seed(asked[asked["method"] == name])}
        for name in (method, other)
    )
    return paired(mine, theirs)


def draw(collected: Collected, tables: Tables, asked: pd.DataFrame) -> Figure:
    """Fronts; beside them regret, or the weighted reward where it is not known, and KL at each preference."""
    first, exact = collected.objectives[0], collected.exact
    gold = [f"gold_{name}" for name in collected.objectives]
    front = None if exact is None else exact.front[gold].to_numpy()
    with canvas(10.5, 5.4, "GAPO: fronts over users' preferences") as figure:
        left, right = divide(figure, 1, 2, width=(1.35, 1))
        draw_fronts(left, tables.points, collected.space, front=front)
        upper, lower = right.subplots(2, 1)
        if exact is None:
            title = f"lambda . {collected.space} (higher is better)"
            draw_along_weight(upper, asked, "weighted", first, title=title)
            draw_along_weight(lower, asked, "kl", first, title="KL from SFT, nats")
        else:
            weight = exact.front[f"lambda_{first}"]
            none = np.c_[weight, np.zeros(len(weight))]
            spent = np.c_[weight, exact.front["kl"]]
            draw_along_weight(upper, asked, "regret", first, title="Regret (0 is best)", exact=none)
            draw_along_weight(lower, asked, "kl", first, title="KL from SFT, nats", exact=spent)
    return figure


STUDY = Study(__file__, "ppo", METHODS, reads=[DRAWS])

if __name__ == "__main__":
    script(STUDY, main)
