"""Panacea, Figure 5: DPO with linear scalarisation and Tchebycheff against Rewarded Soups (and DPS).

    python experiments/panacea/figure5.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

Trains one policy for Panacea-LS and one for Panacea-Tche, one per objective for Rewarded Soups and one per grid point
for DPS, all for equally many updates, as the paper does; and Panacea's again with as many updates as all of Rewarded
Soups' and as all of DPS's policies together (`equal_totals`). Measures each on the grid of preferences, in implicit
accuracy (the paper's axes) and in rewards of sampled responses; judges the paper's claims; writes CSVs and the
picture to results/panacea/figure5/.
"""

from collections.abc import Mapping

from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.figures.margins import regret_margin
from lightning_moa.figures.totals import TotalsConfig, total_rows, with_totals
from lightning_moa.methods.products import (
    DPS_DPO,
    PANACEA_LS_DPO,
    PANACEA_TCHE_DPO,
    REWARDED_SOUPS_DPO,
    Product,
)
from lightning_moa.reporting.claims import OURS, PAPER, Row, judge
from lightning_moa.reporting.margins import SHARE, of_metric
from lightning_moa.reporting.orders import rising_rows
from lightning_moa.reporting.plots import front_figure, save_figure
from lightning_moa.reporting.statistics import hull_depth, metric_difference, paired
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import over_prompts
from lightning_moa.study.results import Artefact, Tables, judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import DRAWS, Study

METHODS = {
    "panacea_ls": PANACEA_LS_DPO,
    "panacea_tche": PANACEA_TCHE_DPO,
    "rewarded_soups": REWARDED_SOUPS_DPO,
    "dps": DPS_DPO,
}
PANACEA = {"panacea_ls": "Panacea-LS", "panacea_tche": "Panacea-Tche"}
BASELINES = {"rewarded_soups": "Rewarded Soups", "dps": "DPS"}
SPACES = {"accuracy": "implicit accuracy", "reward": "trained reward", "gold": "gold reward"}


def studies(config: TotalsConfig) -> list[tuple[str, TotalsConfig, Mapping[str, Product]]]:
    """The one study: label, configuration, methods."""
    methods: Mapping[str, Product] = METHODS
    for one in PANACEA:
        config, methods = with_totals(config, methods, "dpo", one, ("rewarded_soups", "dps"))
    return [("", config, methods)]


def main(config: TotalsConfig, console: Console) -> None:
    ((_, config, methods),) = studies(config)
    artefact = Artefact.begin("panacea", "figure5", config)
    collected = conduct(config, methods, console)
    tables = artefact.tables(collected)
    over = over_prompts(artefact, collected, judge_claims)
    claims = judged(lambda name: judge_claims(collected, tables.at(name)), over)
    artefact.write(collected, tables, claims)

    pictures = [artefact.folder / f"figure5.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def judge_claims(collected: Collected, tables: Tables) -> list[Row]:
    """The paper's claims about this figure, in implicit accuracy; and ours, in rewards and regret, against DPS, which
    the figure doesn't show, and at equal totals of updates."""
    rows = []
    for method, title in PANACEA.items():
        rows += [
            volume_row(tables, method, title, "rewarded_soups", "accuracy", PAPER),
            volume_row(tables, method, title, "dps", "accuracy", OURS),
            *total_rows(
                tables.metrics, method, title, BASELINES, "accuracy", "Fig. 5", regret_margin(collected)
            ),
            *own_rows(collected, tables, method, title),
            shape_row(tables, method, title),
        ]
    return rows


def volume_row(tables: Tables, method: str, title: str, other: str, space: str, whose: str) -> Row:
    """More hypervolume than another method."""
    better = metric_difference(tables.metrics, "hypervolume", method, other, space)
    claim = f"{title} beats {BASELINES[other]} in {SPACES[space]}"
    margin = of_metric(tables.metrics, "hypervolume", method, other, space)
    what = f"hypervolume difference ({space})"
    return judge(claim, "Fig. 5", what, better, ">", 0, margin=margin, whose=whose)


def shape_row(tables: Tables, method: str, title: str) -> Row:
    """Section 5: a convex front that matches the theory more closely than those of baselines."""
    mine, theirs = (hull_depth(tables.accuracies, name, "accuracy") for name in (method, "rewarded_soups"))
    what = "depth below the front's own hull / its range (accuracy), difference"
    claim = f"{title}'s front is closer to convex than Rewarded Soups'"
    return judge(claim, "section 5", what, paired(mine, theirs), "<", 0, margin=SHARE)


def own_rows(collected: Collected, tables: Tables, method: str, title: str) -> list[Row]:
    """Ours: rewards of sampled responses, which the figure doesn't show, regret, and steering."""
    rows = []
    if (tables.metrics["space"] == "reward").any():
        rows.append(volume_row(tables, method, title, "rewarded_soups", "reward", OURS))
    if collected.exact is not None:
        rows.append(volume_row(tables, method, title, "rewarded_soups", "gold", OURS))
        gap = metric_difference(tables.metrics, "mean_regret", method, "rewarded_soups", "gold")
        claim = f"{title} has less regret than Rewarded Soups"
        what, margin = "mean regret difference", regret_margin(collected)
        rows.append(judge(claim, "Fig. 5", what, gap, "<", 0, margin=margin, whose=OURS))
    for objective in collected.objectives:
        claim = f"{title}: accuracy of {objective} rises with its preference weight"
        rows += rising_rows(tables.accuracies, method, objective, "accuracy", claim, "Fig. 5", OURS)
    return rows


def draw(collected: Collected, tables: Tables) -> Figure:
    """Fronts in implicit accuracy (the paper's axes), and in gold or trained reward."""
    policies = tables.points
    if collected.exact is None:
        return front_figure(
            policies, tables.accuracies, spaces=["accuracy", "reward"], title="Panacea, Figure 5: DPO"
        )
    gold = collected.exact.front[[f"gold_{name}" for name in collected.objectives]].to_numpy()
    return front_figure(
        policies,
        tables.accuracies,
        spaces=["accuracy", "gold"],
        fronts={"gold": gold},
        title="Panacea, Figure 5: DPO",
    )


STUDY = Study(__file__, "dpo", METHODS, TotalsConfig, parts=studies, reads=[DRAWS])

if __name__ == "__main__":
    script(STUDY, main)
