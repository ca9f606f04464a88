"""HaM's Figure 3: fronts of HaM, RiC and SCA on harmless and helpful.

    python experiments/ham/figure3.py [scale=smoke|tiny|laptop|gpu|paper] [panels=[a]] [key=value ...]

Panels: (a) a small model trained offline, (b) a larger one, (c) the small one trained on online. A point is the mean
reward of one policy on one cluster of the held-out prompts, a method's front the best of its points, and a method
dominates another where its front dominates every point of the other's. Writes the CSVs of each panel to the folder
a, b or c of results/ham/figure3/<scale>/ (clusters.csv: the points; dominations.csv: who dominates whom; heads.csv: the
last look at HaM's heads), and the claims and the picture above.

Clusters multiply points, and a front of extremes over clusters may be wide where policies are all alike. So beside the
paper's statements stand ours on the policies' means over all prompts (hollow markers; hypervolumes in metrics.csv).
"""

from rich.console import Console

from lightning_moa.figures.cluster_figures import (
    METHODS,
    Panel,
    best_row,
    conduct_panels,
    draw_fronts,
    judge_panel,
    judged_panels,
    publish,
)
from lightning_moa.figures.panels import ShownConfig, panel_study
from lightning_moa.reporting.claims import Row
from lightning_moa.study.script import script

OBJECTIVES = ("harmless", "helpful")
DOMINATIONS = {
    "a": [("ham", ["ric"], True), ("ric", ["sca"], True)],
    "b": [("ham", ["sca"], True), ("ham", ["ric"], False)],
}
"""Section 4.1: panel -> (winner, losers, whether it is said to dominate)."""
CROSSING = {"c": METHODS}
"""Panel -> methods of which none is said to dominate another."""
HIGHEST = {panel: ["helpful"] for panel in "abc"}
"""Panel -> objectives in which HaM is said to attain the highest level."""


def main(config: ShownConfig, console: Console) -> None:
    panels = conduct_panels(config, "figure3", OBJECTIVES, console)
    for panel in panels:
        panel.write()
    claims = judged_panels(panels, judge_claims)
    picture = draw_fronts(panels)
    publish(panels, claims, picture, console)


def judge_claims(panels: list[Panel]) -> list[Row]:
    """What the paper says of the panels, and ours."""
    rows = [row for panel in panels for row in judge_panel(panel, DOMINATIONS, HIGHEST, CROSSING)]
    return [*rows, *best_row(panels, "section 4.1")]


STUDY = panel_study(__file__, "assistant", OBJECTIVES)

if __name__ == "__main__":
    script(STUDY, main)
