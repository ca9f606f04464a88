"""Panacea, Figure 5: DPO with linear scalarisation and Tchebycheff against Rewarded Soups (and DPS).

    python experiments/panacea/figure5.py [scale=smoke|tiny|gpu|paper] [key=value ...]

Trains one policy for Panacea-LS and one for Panacea-Tche, one per objective for Rewarded Soups and one per grid point
for DPS; measures each on the grid of preferences, in implicit accuracy (the paper's axes) and in rewards of sampled
responses; judges the paper's claims; writes CSVs and the picture to results/panacea/figure5/.
"""

from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.methods.products import DPS_DPO, PANACEA_LS_DPO, PANACEA_TCHE_DPO, REWARDED_SOUPS_DPO
from lightning_moa.reporting.claims import OURS, PAPER, Row, judge
from lightning_moa.reporting.orders import rising_row
from lightning_moa.reporting.plots import front_figure, save_figure
from lightning_moa.reporting.statistics import hull_depth, metric_difference, paired
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import Artefact, Tables, judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

METHODS = {
    "panacea_ls": PANACEA_LS_DPO,
    "panacea_tche": PANACEA_TCHE_DPO,
    "rewarded_soups": REWARDED_SOUPS_DPO,
    "dps": DPS_DPO,
}
PANACEA = {"panacea_ls": "Panacea-LS", "panacea_tche": "Panacea-Tche"}


def main(config: StudyConfig, console: Console) -> None:
    artefact = Artefact.begin("panacea", "figure5", config)
    collected = conduct(config, METHODS, console)
    tables = artefact.tables(collected)
    claims = judged(lambda name: judge_claims(collected, tables.at(name)))
    artefact.write(collected, tables, claims)

    pictures = [artefact.folder / f"figure5.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def judge_claims(collected: Collected, tables: Tables) -> list[Row]:
    """The paper's claims about this figure, in implicit accuracy; and ours, in rewards and regret."""
    rows = []
    for method, title in PANACEA.items():
        rows += [
            volume_row(tables, method, title, "accuracy", "implicit accuracy", PAPER),
            *own_rows(collected, tables, method, title),
            shape_row(tables, method, title),
        ]
    return rows


def volume_row(tables: Tables, method: str, title: str, space: str, words: str, whose: str) -> Row:
    """More hypervolume than Rewarded Soups."""
    better = metric_difference(tables.metrics, "hypervolume", method, "rewarded_soups", space)
    claim = f"{title} beats Rewarded Soups in {words}"
    return judge(claim, "Fig. 5", f"hypervolume difference ({space})", better, ">", 0, whose=whose)


def shape_row(tables: Tables, method: str, title: str) -> Row:
    """Section 5: a convex front that matches the theory more closely than those of baselines."""
    mine, theirs = (hull_depth(tables.accuracies, name, "accuracy") for name in (method, "rewarded_soups"))
    what = "depth below the front's own hull / its range (accuracy), difference"
    claim = f"{title}'s front is closer to convex than Rewarded Soups'"
    return judge(claim, "section 5", what, paired(mine, theirs), "<", 0)


def own_rows(collected: Collected, tables: Tables, method: str, title: str) -> list[Row]:
    """Ours: rewards of sampled responses, which the figure doesn't show, regret, and steering."""
    rows = [volume_row(tables, method, title, "reward", "trained reward", OURS)]
    if collected.exact is not None:
        rows.append(volume_row(tables, method, title, "gold", "gold reward", OURS))
        gap = metric_difference(tables.metrics, "mean_regret", method, "rewarded_soups", "gold")
        claim = f"{title} has less regret than Rewarded Soups"
        rows.append(judge(claim, "Fig. 5", "mean regret difference", gap, "<", 0, whose=OURS))
    for objective in collected.objectives:
        claim = f"{title}: accuracy of {objective} rises with its preference weight"
        rows.append(rising_row(tables.accuracies, method, objective, "accuracy", claim, "Fig. 5", OURS))
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


STUDY = Study(__file__, "dpo", METHODS)

if __name__ == "__main__":
    script(STUDY, main)
