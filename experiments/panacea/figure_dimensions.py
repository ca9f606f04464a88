"""Panacea with three and four objectives: PPO against Rewarded Soups, by the measures of the paper's later version.

    python experiments/panacea/figure_dimensions.py [scale=smoke|tiny|gpu|paper] [key=value ...]

For each number of objectives m trains one policy for Panacea and one per objective for Rewarded Soups; samples
responses on a grid of preferences; writes CSVs and the fronts' picture to the folder m<m> of
results/panacea/figure_dimensions/<scale>/. The claims for all m, and a picture of the measures as m grows, lie above.
Where the best policy of every preference is known, its measures stand beside the others'.

Panacea's policy has as many updates as each of Rewarded Soups'; a second one has as many as all m of them together
(`equal_totals`). The grid is no finer than STEP.
Data with fewer than three labels need more: `data.labels.concise=shorter` adds an objective to any set of pairs.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa import pareto
from lightning_moa.config import SYNTHETIC, MethodConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.margins import regret_margin, weighted_margin
from lightning_moa.figures.totals import TotalsConfig, total_name, with_totals
from lightning_moa.methods.products import PANACEA_PPO, REWARDED_SOUPS_PPO, Product
from lightning_moa.reporting.claims import OURS, PAPER, Row, judge
from lightning_moa.reporting.margins import of_metric
from lightning_moa.reporting.plots import canvas, front_figure, save_figure
from lightning_moa.reporting.statistics import PerSeed, metric, metric_difference
from lightning_moa.reporting.styles import styles_of
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import objectives_of
from lightning_moa.study.results import Artefact, Tables, judged, print_claims, print_methods
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

METHODS = {"panacea": PANACEA_PPO, "rewarded_soups": REWARDED_SOUPS_PPO}
WORLD_OBJECTIVES = ["helpful", "harmless", "concise", "humorous"]
"""The synthetic world's, in the order in which they are added."""
FEWEST = 3
STEP = {3: 0.2}
COARSE_STEP = 0.25
"""Spacing of the grid with three objectives, and with more: 21 and 35 (m = 4) preferences."""
MEASURES = {
    "hypervolume": ("larger hypervolume", ">"),
    "inner_product": ("larger inner product", ">"),
    "mean_regret": ("less regret", "<"),
    "sparsity": ("smaller sparsity", "<"),
    "spacing": ("smaller spacing", "<"),
}
TITLES = {
    "hypervolume": "Hypervolume (higher is better)",
    "inner_product": "Inner product (higher is better)",
    "mean_regret": "Regret (lower is better)",
    "sparsity": "Sparsity (lower is denser)",
    "spacing": "Spacing (lower is more even)",
}


@dataclass(frozen=True)
class Part:
    """The study of one number of objectives."""

    artefact: Artefact
    collected: Collected
    tables: Tables

    def at(self, reference: str) -> "Part":
        """The same, with hypervolumes above another reference point; see `Tables.at`."""
        return replace(self, tables=self.tables.at(reference))

    @property
    def m(self) -> int:
        return len(self.collected.objectives)


def main(config: TotalsConfig, console: Console) -> None:
    whole, asked = Artefact.begin("panacea", "figure_dimensions", config), studies(config)
    folders = {folder_of(own): own for _, own, _ in asked}
    whole.begin_parts(folders)
    parts = [conduct_part(own, methods, console) for _, own, methods in asked]
    claims = judged(lambda name: [row for part in parts for row in judge_claims(part.at(name))])
    claims.write(whole.folder)

    pictures = [whole.folder / f"figure_dimensions.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(parts), *pictures)
    whole.end_parts(folders)
    for part in parts:
        print_methods(console, part.artefact, part.collected, part.tables)
    print_claims(console, claims, pictures)


def studies(config: TotalsConfig) -> list[tuple[str, TotalsConfig, Mapping[str, Product]]]:
    """One for each number of objectives: label, configuration, methods."""
    names = names_of(config)
    return [
        (
            f"m = {m}",
            *with_totals(settings_for(config, names[:m]), METHODS, "ppo", "panacea", ("rewarded_soups",)),
        )
        for m in range(FEWEST, len(names) + 1)
    ]


def names_of(config: TotalsConfig) -> list[str]:
    """The objectives in the order in which they are added."""
    if config.objectives is None and config.data.name == SYNTHETIC:
        return WORLD_OBJECTIVES
    names = list(objectives_of(config))
    if len(names) < FEWEST:
        raise UserError(
            f"objectives={names}: {FEWEST} or more are needed; data.labels.concise=shorter adds one to pairs"
        )
    return names


def folder_of(config: TotalsConfig) -> str:
    """Of a study of `studies`, below the artefact's."""
    return f"m{len(objectives_of(config))}"


def conduct_part(config: TotalsConfig, methods: Mapping[str, Product], console: Console) -> Part:
    """Train and measure a study of `studies`, and write its files."""
    m = len(objectives_of(config))
    artefact = Artefact.begin("panacea", "figure_dimensions", config, part=folder_of(config))
    collected = conduct(config, methods, console)
    tables = artefact.tables(collected)
    artefact.write(collected, tables, None)
    fronts = {} if collected.exact is None else {"gold": exact_values(collected)}
    picture = front_figure(
        tables.points, spaces=[collected.space], fronts=fronts, title=f"Panacea: {m} objectives, PPO"
    )
    save_figure(picture, artefact.folder / "fronts.png", artefact.folder / "fronts.pdf")
    return Part(artefact, collected, tables)


def settings_for(config: TotalsConfig, names: list[str]) -> TotalsConfig:
    """The study of these objectives: the family's settings on a coarser grid."""
    m, own = len(names), deepcopy(config)
    own.objectives = list(names)
    own.evaluation.grid_step = max(config.evaluation.grid_step, STEP.get(m, COARSE_STEP))
    own.methods["panacea"] = replace(config.methods.get("panacea", MethodConfig()), snapshots=[])
    return own


def judge_claims(part: Part) -> list[Row]:
    """Panacea against Rewarded Soups in every measure that there is, at as many updates a policy; and, ours, with as
    many as all of theirs together."""
    space, rows = part.collected.space, []
    protocols = {"panacea": ("", PAPER), total_name("panacea", "rewarded_soups"): (", at equal totals", OURS)}
    known = set(part.tables.metrics["method"])
    for method, (when, whose) in protocols.items():
        for measure, (words, relation) in MEASURES.items():
            if method not in known or (measure == "mean_regret" and part.collected.exact is None):
                continue
            gap = metric_difference(part.tables.metrics, measure, method, "rewarded_soups", space)
            what = f"difference of {measure.replace('_', ' ')} ({space})"
            claim = f"{part.m} objectives: {words} than Rewarded Soups{when}"
            # Regret is no measure of the paper's, and more than three objectives are trained by SFT there.
            mine = OURS if measure == "mean_regret" or part.m > 3 else whose
            margin = margin_of(part, measure, method)
            rows.append(
                judge(claim, "later version, Table 1", what, gap, relation, 0, margin=margin, whose=mine)
            )
    return rows


def margin_of(part: Part, measure: str, method: str) -> float | None:
    """Of the difference of a measure from Rewarded Soups'."""
    if measure == "mean_regret":
        return regret_margin(part.collected)
    if measure == "inner_product":
        return weighted_margin(part.collected)
    return of_metric(part.tables.metrics, measure, method, "rewarded_soups", part.collected.space)


def exact_values(collected: Collected) -> np.ndarray:
    """(n, m) rewards of the best policies of the grid's preferences."""
    assert collected.exact is not None
    return collected.exact.grid[[f"gold_{name}" for name in collected.objectives]].to_numpy()


def exact_measures(part: Part) -> dict[str, float]:
    """The measures of the best policies of the same preferences."""
    assert part.collected.exact is not None
    values, names = exact_values(part.collected), part.collected.objectives
    metrics = part.tables.metrics[part.tables.metrics["space"] == "gold"]
    reference = metrics[[f"reference_{name}" for name in names]].to_numpy()[0]
    preferences = part.collected.exact.grid[[f"lambda_{name}" for name in names]].to_numpy()
    return {
        "hypervolume": pareto.hypervolume(values, reference),
        "inner_product": pareto.inner_product(preferences, values),
        "mean_regret": 0.0,
        "sparsity": pareto.sparsity(values),
        "spacing": pareto.spacing(values),
    }


def draw(parts: list[Part]) -> Figure:
    """A panel a measure, over the number of objectives; hypervolume as a share of the exact front's."""
    exact = {part.m: exact_measures(part) for part in parts if part.collected.exact is not None}
    shown = {measure: title for measure, title in TITLES.items() if exact or measure != "mean_regret"}
    with canvas(3.1 * len(shown), 3.7, "Panacea: fronts as the number of objectives grows (PPO)") as figure:
        for ax, (measure, title) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
            share = measure == "hypervolume" and bool(exact)
            best = {m: 1.0 if share else each[measure] for m, each in exact.items()}
            draw_measure(ax, values_of(parts, measure, exact if share else None), best)
            ax.set_title(title + ("\nas a share of the exact front's" if share else ""))
            ax.set_xlabel("objectives")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5)
    return figure


def draw_measure(ax: Axes, values: dict[str, dict[int, PerSeed]], best: dict[int, float]) -> None:
    """A line a method over the number of objectives: the mean over seeds, single seeds as dots; `best` in black."""
    counts = sorted(next(iter(values.values())))
    if best:
        ax.plot(counts, [best[m] for m in counts], "--", color="black", linewidth=1.2, label="best policies")
    for method, style in styles_of(values).items():
        each = values[method]
        means = [np.mean(list(each[m].values())) for m in counts]
        ax.plot(counts, means, color=style.colour, marker=style.marker, label=style.label, zorder=3)
        for m in counts:
            dots = list(each[m].values())
            ax.plot([m] * len(dots), dots, ".", color=style.colour, alpha=0.5, zorder=2)
    ax.set_xticks(counts)
    ax.margins(x=0.25)


def values_of(
    parts: list[Part], measure: str, whole: dict[int, dict[str, float]] | None
) -> dict[str, dict[int, PerSeed]]:
    """method -> m -> seed -> the measure, divided by that of `whole` where it is given."""
    found: dict[str, dict[int, PerSeed]] = {}
    drawn = [*METHODS, total_name("panacea", "rewarded_soups")]
    for method in drawn if total_in(parts) else METHODS:
        for part in parts:
            unit = 1.0 if whole is None else whole[part.m][measure]
            each = metric(part.tables.metrics, measure, method, part.collected.space)
            found.setdefault(method, {})[part.m] = {seed: value / unit for seed, value in each.items()}
    return found


def total_in(parts: list[Part]) -> bool:
    """Whether Panacea was trained for as long as all of Rewarded Soups' policies, too."""
    return all(total_name("panacea", "rewarded_soups") in set(part.tables.points["method"]) for part in parts)


STUDY = Study(__file__, "rlhf", METHODS, TotalsConfig, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
