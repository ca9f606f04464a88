"""Panacea, Figure 5: DPO with linear scalarisation and Tchebycheff against Rewarded Soups (and DPS).

    python experiments/panacea/figure5.py [scale=smoke|tiny|gpu|paper] [key=value ...]

Trains one policy for Panacea-LS and one for Panacea-Tche, one per objective for Rewarded Soups and one per grid point
for DPS, all for equally many updates, as the paper does; and Panacea's again with as many updates as all of Rewarded
Soups' and as all of DPS's policies together (`equal_totals`). Measures each on the grid of preferences, in implicit
accuracy (the paper's axes) and in rewards of sampled responses; judges the paper's claims; writes CSVs and the
picture to results/panacea/figure5/.
"""

from collections.abc import Mapping

from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.figures.totals import TotalsConfig, with_totals
from lightning_moa.methods.products import (
    DPS_DPO,
    PANACEA_LS_DPO,
    PANACEA_TCHE_DPO,
    REWARDED_SOUPS_DPO,
    Product,
)
from lightning_moa.reporting.claims import Row, claims_frame, judge, judge_count
from lightning_moa.reporting.plots import front_figure, save_figure
from lightning_moa.reporting.statistics import hull_depth, metric_difference, rank_correlation
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import Artefact, Tables, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

METHODS = {
    "panacea_ls": PANACEA_LS_DPO,
    "panacea_tche": PANACEA_TCHE_DPO,
    "rewarded_soups": REWARDED_SOUPS_DPO,
    "dps": DPS_DPO,
}
PANACEA = {"panacea_ls": "Panacea-LS", "panacea_tche": "Panacea-Tche"}


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
    claims = claims_frame(judge_claims(collected, tables))
    artefact.write(collected, tables, claims)

    pictures = [artefact.folder / f"figure5.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def judge_claims(collected: Collected, tables: Tables) -> list[Row]:
    """The paper's claims about this figure, asked of the tables."""
    rows = []
    spaces = {"accuracy": "implicit accuracy", "reward": "trained reward"}
    if collected.exact is not None:
        spaces["gold"] = "gold reward"
    for method, title in PANACEA.items():
        for space, words in spaces.items():
            better = metric_difference(tables.metrics, "hypervolume", method, "rewarded_soups", space)
            rows.append(
                judge(
                    f"{title} beats Rewarded Soups in {words}",
                    "Fig. 5",
                    f"hypervolume difference ({space})",
                    better,
                    ">",
                    0,
                )
            )
        if collected.exact is not None:
            gap = metric_difference(tables.metrics, "mean_regret", method, "rewarded_soups", "gold")
            rows.append(
                judge(
                    f"{title} has less regret than Rewarded Soups",
                    "Fig. 5",
                    "mean regret difference",
                    gap,
                    "<",
                    0,
                )
            )
    for method, title in PANACEA.items():
        for objective in collected.objectives:
            order = rank_correlation(tables.accuracies, method, objective, "accuracy")
            rows.append(
                judge(
                    f"{title}: accuracy of {objective} rises with its preference weight",
                    "5.1",
                    "Spearman correlation of accuracy and weight",
                    order,
                    ">",
                    0.8,
                )
            )
        sag = hull_depth(tables.accuracies, method, "accuracy")
        rows.append(
            judge(
                f"{title}: the front is convex",
                "Fig. 5",
                "depth below the hull / range (accuracy)",
                sag,
                "<",
                0.1,
            )
        )
    return rows + cost_claims(collected)


def cost_claims(collected: Collected) -> list[Row]:
    """One trained policy against m (Rewarded Soups) and one per grid point (DPS)."""
    costs = collected.costs.groupby("method")[["trained_models", "trained_parameters"]].max()
    return [
        judge_count(
            f"{title} trains fewer {column.removeprefix('trained_')} than {name}",
            "4.3",
            column.replace("_", " "),
            float(costs.loc[method, column]),
            "<",
            float(costs.loc[other, column]),
        )
        for method, title in PANACEA.items()
        for other, name in (("rewarded_soups", "Rewarded Soups"), ("dps", "DPS"))
        for column in costs.columns
    ]


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


STUDY = Study(__file__, "dpo", METHODS, TotalsConfig, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
