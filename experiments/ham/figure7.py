"""HaM's Figure 7: the mean rewards of HaM's, RiC's and SCA's front points as radar charts.

    python experiments/ham/figure7.py [scale=smoke|tiny|laptop|gpu|paper] [panels=[a]] [key=value ...]

From the very studies of figure6.py, whose runs are reused. Writes the CSVs of each panel to the folder a, b or c of
results/ham/figure7/<scale>/ (front_means.csv: the means, and the units that they are compared in), and the claims and
the picture above.

The paper compares by eye, in one sentence of all charts. Here an axis is HaM's mean minus the other's, in standard
deviations of the reference policy's responses. "Generally outperforms RiC" is asked of the median axis: a mean
over axes would let a gain on one hide losses on the others. "Slightly better or comparable" to SCA is asked of every
axis, as not worse by more than `margins.DEVIATIONS`: noise cannot show it, since the whole interval has to lie above.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.figures.cluster_figures import Panel, conduct_panels, per_seed, publish
from lightning_moa.figures.panels import ShownConfig, panel_study
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge, judge_several
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
    publish(panels, Judged(claims_frame(judge_claims(panels, means))), draw(panels, means), console)


def in_units(panel: Panel) -> pd.DataFrame:
    """`front_means`, with the reference policy's standard deviation of each objective as `unit_*`."""
    means = front_means(panel.points, panel.objectives, panel.space)
    responses = panel.collected.responses
    reference = responses[responses["method"] == REFERENCE].groupby("seed")
    units = reference[[f"{panel.space}_{name}" for name in panel.objectives]].std()
    units.columns = pd.Index([f"unit_{name}" for name in panel.objectives])
    return means.join(units, on="seed")


def judge_claims(panels: Sequence[Panel], means: Sequence[pd.DataFrame]) -> list[Row]:
    """One sentence of the paper: HaM "generally outperforms RiC, and is slightly better or comparable to SCA"."""
    above, level = (gaps(panels, means, other) for other in ("ric", "sca"))
    each = {f"SCA's, {name}": per_seed(level[name]) for name in level}
    where, what = (
        "Figure 7",
        "a front's mean in standard deviations of the reference policy's responses, HaM's -",
    )
    median = f"median over panels and objectives of {what}"
    return [
        judge(
            "HaM generally outperforms RiC",
            where,
            f"{median} RiC's",
            middle(above),
            ">",
            0,
            margin=DEVIATIONS,
        ),
        judge_several("HaM is better than SCA or comparable", where, what, each, ">=", -DEVIATIONS),
        judge(
            "HaM generally outperforms SCA",
            where,
            f"{median} SCA's",
            middle(level),
            ">",
            0,
            margin=DEVIATIONS,
            whose=OURS,
        ),
    ]


def gaps(panels: Sequence[Panel], means: Sequence[pd.DataFrame], other: str) -> pd.DataFrame:
    """HaM's mean minus another method's: a row for each seed, a column for each panel's objectives."""
    return pd.DataFrame(
        {
            f"{panel.words}, {objective}": pd.Series(gap(panel, each, other, objective))
            for panel, each in zip(panels, means, strict=True)
            for objective in panel.objectives
        }
    )


def middle(gaps: pd.DataFrame) -> PerSeed:
    """Each seed's median: "generally" is not everywhere."""
    return per_seed(gaps.median(axis=1))


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


STUDY = panel_study(__file__, "assistant", OBJECTIVES, reads=())

if __name__ == "__main__":
    script(STUDY, main)
