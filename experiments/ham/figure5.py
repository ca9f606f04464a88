"""HaM's Figure 5: fronts of HaM, RiC and SCA on summaries, faithful and free of hallucination.

    python experiments/ham/figure5.py [scale=smoke|tiny|gpu|paper] [panels=[a]] [key=value ...]

Panels, points and files are those of figure3.py; results lie in results/ham/figure5/<scale>/. Both rewards are higher
for better summaries: `hallucination` is high where little is invented.
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

OBJECTIVES = ("faithful", "hallucination")
RIC_DOMINATED = [("ham", ["ric"], True), ("sca", ["ric"], True)]
DOMINATIONS = {"a": RIC_DOMINATED, "b": RIC_DOMINATED, "c": [("ham", ["sca"], True)]}
"""Section 4.3: panel -> (winner, losers, whether it is said to dominate)."""
HIGHEST = {"a": ["hallucination"], "b": ["hallucination", "faithful"], "c": ["faithful"]}
"""Panel -> objectives in which HaM is said to attain the highest level."""


def main(config: ShownConfig, console: Console) -> None:
    panels = conduct_panels(config, "figure5", OBJECTIVES, console, home="synthetic_summaries")
    for panel in panels:
        panel.write()
    claims = judged_panels(panels, judge_claims)
    picture = draw_fronts(panels, "clusters of sources", {"hallucination": "free of hallucination"})
    publish(panels, claims, picture, console)


def judge_claims(panels: list[Panel]) -> list[Row]:
    """What the paper says of the panels, and ours."""
    rows = [row for panel in panels for row in judge_panel(panel, DOMINATIONS, HIGHEST)]
    return [*rows, *best_row(panels, "section 4.3")]


STUDY = panel_study(__file__, "summary", OBJECTIVES)

if __name__ == "__main__":
    script(STUDY, main)
