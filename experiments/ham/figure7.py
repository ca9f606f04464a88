"""HaM's Figure 7: the mean rewards of HaM's, RiC's and SCA's front points as radar charts.

    python experiments/ham/figure7.py [scale=smoke|tiny|laptop|gpu|paper] [panels=[a]] [key=value ...]

From the very studies of figure6.py, whose runs are reused. Writes the CSVs of each panel to the folder a, b or c of
results/ham/figure7/<scale>/ (front_means.csv: the means, and the units that they are compared in), and the claims and
the picture above.

The paper compares by eye. Here each axis of the chart is judged by itself: HaM's mean minus the other's, in standard
deviations of the reference policy's responses. A mean over axes would let a gain on one hide losses on the others.
"Slightly better or comparable" is judged as not worse by more than `margins.DEVIATIONS`: noise cannot show it, since
the whole interval has to lie above.
"""

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.figures.cluster_figures import Panel, conduct_panels, per_seed, publish
from lightning_moa.figures.panels import ShownConfig, panel_study
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.cluster_fronts import front_means
from lightning_moa.reporting.front_panels import draw_radar, legend_entries
from lightning_moa.reporting.margins import DEVIATIONS
from lightning_moa.reporting.plots import canvas
from lightning_moa.reporting.statistics import PerSeed
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.planning import REFERENCE
from lightning_moa.study.results import Judged
from lightning_moa.study.script import script

OBJECTIVES = ("harmless", "helpful", "humorous")


def main(config: ShownConfig, console: Console) -> None:
    if config.objectives is not None and len(config.objectives) < 3:
        raise UserError(f"objectives={config.objectives}: a radar chart needs three or more")
    panels = conduct_panels(config, "figure7", OBJECTIVES, console)
    means = [in_units(panel) for panel in panels]
    for panel, each in zip(panels, means, strict=True):
        panel.write({"front_means.csv": each})
    claims = [row for panel, each in zip(panels, means, strict=True) for row in judge_claims(panel, each)]
    publish(panels, Judged(claims_frame(claims)), draw(panels, means), console)


def in_units(panel: Panel) -> pd.DataFrame:
    """`front_means`, with the reference policy's standard deviation of each objective as `unit_*`."""
    means = front_means(panel.points, panel.objectives, panel.space)
    responses = panel.collected.responses
    reference = responses[responses["method"] == REFERENCE].groupby("seed")
    units = reference[[f"{panel.space}_{name}" for name in panel.objectives]].std()
    units.columns = pd.Index([f"unit_{name}" for name in panel.objectives])
    return means.join(units, on="seed")


def judge_claims(panel: Panel, means: pd.DataFrame) -> list[Row]:
    """On every axis HaM is above RiC, and above SCA or level with it."""
    what, where, rows = (
        "front's mean in standard deviations of the reference policy's responses",
        panel.where,
        [],
    )
    for objective in panel.objectives:
        head = f"{panel.words}, {objective}: HaM's mean reward is"
        above, level = (gap(panel, means, other, objective) for other in ("ric", "sca"))
        rows += [
            judge(f"{head} above RiC's", where, f"{what}, HaM's - RiC's", above, ">", 0, margin=DEVIATIONS),
            judge(
                f"{head} comparable to SCA's or better",
                where,
                f"{what}, HaM's - SCA's",
                level,
                ">=",
                -DEVIATIONS,
            ),
            judge(
                f"{head} above SCA's",
                where,
                f"{what}, HaM's - SCA's",
                level,
                ">",
                0,
                margin=DEVIATIONS,
                whose=OURS,
            ),
        ]
    return rows


def gap(panel: Panel, means: pd.DataFrame, other: str, objective: str) -> PerSeed:
    """HaM's mean minus another method's in an objective, in its unit."""
    ham, theirs = (means[means["method"] == name].set_index("seed") for name in ("ham", other))
    column = f"{panel.space}_{objective}"
    return per_seed((ham[column] - theirs[column]) / ham[f"unit_{objective}"])


def draw(panels: list[Panel], means: list[pd.DataFrame]) -> Figure:
    """A radar chart a panel, of means over seeds."""
    with canvas(4.6 * len(panels), 5.2, "HaM: mean rewards of the front's points") as figure:
        grid = figure.subplots(1, len(panels), squeeze=False, subplot_kw={"projection": "polar"})[0]
        for ax, panel, each in zip(grid, panels, means, strict=True):
            columns = [f"{panel.space}_{name}" for name in panel.objectives]
            values = each.groupby("method", sort=False)[columns].mean()
            styles = styles_of(values.index)
            rows = {str(method): row.to_numpy() for method, row in values.iterrows()}
            draw_radar(ax, rows, panel.objectives, styles, title=panel.title)
        handles = legend_entries(styles, "radar")
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8.5)
    return figure


STUDY = panel_study(__file__, "assistant", OBJECTIVES)

if __name__ == "__main__":
    script(STUDY, main)
