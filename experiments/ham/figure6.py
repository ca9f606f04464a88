"""HaM's Figure 6: fronts of HaM, RiC and SCA on three objectives, harmless, helpful and humorous.

    python experiments/ham/figure6.py [scale=smoke|tiny|laptop|gpu|paper] [panels=[a]] [key=value ...]

Panels, points and files are those of figure3.py, with surfaces for fronts and the paper's ten preferences for RiC and
SCA; results lie in results/ham/figure6/<scale>/.
"""

from rich.console import Console

from lightning_moa.figures.cluster_figures import (
    METHODS,
    Panel,
    conduct_panels,
    draw_fronts,
    judge_panel,
    judged_panels,
    publish,
)
from lightning_moa.figures.panels import ShownConfig, panel_study
from lightning_moa.reporting.claims import Row
from lightning_moa.study.script import script

OBJECTIVES = ("harmless", "helpful", "humorous")
HAM_DOMINATES = [("ham", ["ric", "sca"], True)]
DOMINATIONS = {"a": HAM_DOMINATES, "c": HAM_DOMINATES}
"""Section 4.4: panel -> (winner, losers, whether it is said to dominate)."""
CROSSING = {"b": METHODS}
"""Panel -> methods of which none is said to dominate another: all their fronts intersect."""


def main(config: ShownConfig, console: Console) -> None:
    panels = conduct_panels(config, "figure6", OBJECTIVES, console)
    for panel in panels:
        panel.write()
    claims = judged_panels(panels, judge_claims)
    picture = draw_fronts(panels)
    publish(panels, claims, picture, console)


def judge_claims(panels: list[Panel]) -> list[Row]:
    """What the paper says of the panels, and ours."""
    return [row for panel in panels for row in judge_panel(panel, DOMINATIONS, crossing=CROSSING)]


STUDY = panel_study(__file__, "assistant", OBJECTIVES)

if __name__ == "__main__":
    script(STUDY, main)
