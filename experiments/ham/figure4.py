"""HaM's Figure 4: fronts of HaM, RiC and SCA on harmless and humorous.

    python experiments/ham/figure4.py [scale=smoke|tiny|laptop|gpu|paper] [panels=[a]] [key=value ...]

Panels, points and files are those of figure3.py; results lie in results/ham/figure4/<scale>/.
"""

from rich.console import Console

from lightning_moa.figures.cluster_figures import (
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

OBJECTIVES = ("harmless", "humorous")
DOMINATIONS = {panel: [("ham", ["ric", "sca"], True)] for panel in "abc"}
"""Section 4.2: panel -> (winner, losers, whether it is said to dominate)."""
CROSSING = {panel: ("ric", "sca") for panel in "abc"}
"""Panel -> methods of which none is said to dominate another."""


def main(config: ShownConfig, console: Console) -> None:
    panels = conduct_panels(config, "figure4", OBJECTIVES, console)
    for panel in panels:
        panel.write()
    claims = judged_panels(panels, judge_claims)
    picture = draw_fronts(panels)
    publish(panels, claims, picture, console)


def judge_claims(panels: list[Panel]) -> list[Row]:
    """What the paper says of the panels, and ours."""
    rows = [row for panel in panels for row in judge_panel(panel, DOMINATIONS, crossing=CROSSING)]
    return [*rows, *best_row(panels, "section 4.2")]


STUDY = panel_study(__file__, "assistant", OBJECTIVES)

if __name__ == "__main__":
    script(STUDY, main)
