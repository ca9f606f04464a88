"""Panacea, section 4.1 and eq. 9: what of SVD-LoRA is needed, by DPO.

    python experiments/panacea/figure_adapter.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

One policy for equal weights of all objectives, by SVD-LoRA of rank 4 and with every weight trained (in the synthetic
world alone, where what they gain is known; rates of their own in the configuration); and Figure 5's Panacea-LS, with
one s for each weight matrix (the text before eq. 6), beside one with an s for each objective (eq. 9) and ones whose
U and V are held near to orthogonal matrices (section 4.1 says that they are, with no weight). Writes CSVs (each
matrix's singular values and scales in singular_values.csv) and the picture to results/panacea/figure_adapter/.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.answers import use
from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import WorldConfig
from lightning_moa.deployments import Alone, TrainedOn
from lightning_moa.figures.alike import alike
from lightning_moa.methods.products import PANACEA_LS_DPO, Product
from lightning_moa.reporting.claims import OURS, Row, judge
from lightning_moa.reporting.margins import SHARE, of_metric
from lightning_moa.reporting.panels import draw_bars
from lightning_moa.reporting.plots import canvas, divide, draw_fronts, save_figure
from lightning_moa.reporting.statistics import PerSeed, metric, metric_difference, paired
from lightning_moa.reporting.styles import Style
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import REFERENCE
from lightning_moa.study.results import Artefact, Tables, judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

PANACEA = "panacea_ls"
WEIGHTS = {f"orthogonal_{text}": float(text) for text in ("1e-4", "1e-3", "1e-2")}
LOW, FULL = "rank_4", "full"


def alone(policy) -> Product:
    """One policy for equal weights of all objectives."""
    return Product("dps", policy, "dpo", "linear", TrainedOn.centre(), Alone())


METHODS: Mapping[str, Product] = {
    PANACEA: PANACEA_LS_DPO,
    "s_per_objective": replace(PANACEA_LS_DPO, policy=use("svd_lora", per_objective=True)),
    **{
        name: replace(PANACEA_LS_DPO, policy=use("svd_lora", orthogonality=weight))
        for name, weight in WEIGHTS.items()
    },
    LOW: alone(use("svd_lora", steered=False, k=4)),
    FULL: alone("lightning_moa.policies.full:FullWeights"),
}
LOOKS = dict(
    zip(
        METHODS,
        [
            Style("one s a matrix", "#0072B2", "o"),
            Style("one s an objective", "#D55E00", "s"),
            *(Style(f"orthogonality {weight:g}", colour, "D") for weight, colour in zip(
                WEIGHTS.values(), ("#FDBF6F", "#F768A1", "#7A0177"), strict=True
            )),
            Style("rank 4, equal weights", "#009E73", "P"),
            Style("all weights, equal weights", "#000000", "X"),
        ],
        strict=True,
    )
)  # fmt: skip
LEVEL = 0.1
"""Of what full fine-tuning gains: less than that apart is comparable."""


def studies(config: StudyConfig) -> list[tuple[str, StudyConfig, Mapping[str, Product]]]:
    """The one study: label, configuration, methods."""
    # Panacea's settings hold for its variants.
    config = alike(config, PANACEA, ("s_per_objective", *WEIGHTS))
    known = isinstance(config.data, WorldConfig)
    methods = {name: each for name, each in METHODS.items() if known or name not in (LOW, FULL)}
    # Files of settings speak of all.
    config.methods = {
        name: own for name, own in config.methods.items() if name in methods or name not in METHODS
    }
    return [("", config, methods)]


def main(config: StudyConfig, console: Console) -> None:
    ((_, config, methods),) = studies(config)
    artefact = Artefact.begin("panacea", "figure_adapter", config)
    collected = conduct(config, methods, console)
    tables = artefact.tables(collected)
    values = singular_values(collected)
    claims = judged(lambda name: judge_claims(collected, tables.at(name), values))
    artefact.write(collected, tables, claims, {"singular_values.csv": values})
    pictures = [artefact.folder / f"figure_adapter.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables, values), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def singular_values(collected: Collected) -> pd.DataFrame:
    """What multiplies each direction of Panacea's updates, matrix by matrix.

    Returns:
        `method`, `seed`, `layer`, `kind`: `sigma` (preference-agnostic; `place` 1 to k) or `scale` (s), and `value`.
    """
    from safetensors.numpy import load_file

    rows = []
    for (method, seed), folders in collected.policies.items():
        if method in (LOW, FULL):
            continue
        for name, tensor in load_file(folders[0] / "policy.safetensors").items():
            layer, _, kind = name.rpartition(".gate.")
            if layer:
                head = {"method": method, "seed": seed, "layer": layer, "kind": kind}
                rows += [head | {"place": i, "value": float(value)} for i, value in enumerate(tensor, 1)]
    return pd.DataFrame(rows)


def judge_claims(collected: Collected, tables: Tables, values: pd.DataFrame) -> list[Row]:
    """Section 4.1's sentences, and ours of what it leaves open."""
    rows, space = [], collected.space
    if collected.exact is not None:
        gained = {name: gain(collected, name) for name in (LOW, FULL)}
        apart = paired(gained[LOW], gained[FULL])
        # Of the mean, since a seed's own gain may be next to nothing, or below it.
        whole = abs(np.mean(list(gained[FULL].values())))
        share = {seed: value / whole for seed, value in apart.items()}
        what = "gain in value of rank 4 less that of all weights, over the mean of the latter's"
        claim = "SVD-LoRA of rank 4 is comparable to full fine-tuning"
        rows.append(judge(claim, "4.1", what, share, "within", LEVEL))
    sigma = values[(values["method"] == PANACEA) & (values["kind"] == "sigma")]
    if sigma.groupby(["seed", "layer"]).size().max() > 1:  # else nothing varies within a matrix
        differ = {int(str(seed)): between(each) for seed, each in sigma.groupby("seed")}
        what = "share of the variance of log |sigma| that is between matrices, beyond chance"
        claim = "singular values' magnitudes differ across matrices"
        rows.append(judge(claim, "4.1", what, differ, ">", 0, margin=SHARE))
    for name in ("s_per_objective", *WEIGHTS):
        more = metric_difference(tables.metrics, "hypervolume", name, PANACEA, space)
        claim = f"{LOOKS[name].label} spans more than Panacea without"
        what = f"hypervolume difference ({space})"
        margin = of_metric(tables.metrics, "hypervolume", name, PANACEA, space)
        rows.append(judge(claim, "4.1, eq. 9", what, more, ">", 0, margin=margin, whose=OURS))
    return rows


def gain(collected: Collected, method: str) -> PerSeed:
    """Seed -> value of the one policy at equal weights less the reference's: mean gold reward - beta KL."""
    assert collected.exact is not None
    gold = [f"gold_{name}" for name in collected.objectives]
    points = collected.points
    value = points[gold].mean(axis=1) - collected.exact.beta * points["kl"]
    both = [
        {int(seed): float(each) for seed, each in zip(points.loc[mine, "seed"], value[mine], strict=True)}
        for mine in (points["method"] == method, points["method"] == REFERENCE)
    ]
    return paired(*both)


def between(sigma: pd.DataFrame) -> float:
    """Omega squared of log10 |sigma| over matrices: 0, in expectation, where magnitudes do not hang on the matrix."""
    logs = np.log10(sigma["value"].abs().clip(lower=1e-30))
    groups = logs.groupby(sigma["layer"])
    n, k = len(logs), groups.ngroups
    within = float(((logs - groups.transform("mean")) ** 2).sum()) / (n - k)
    total = float(((logs - logs.mean()) ** 2).sum())
    return (total - within * (n - 1)) / (total + within)


def draw(collected: Collected, tables: Tables, values: pd.DataFrame) -> Figure:
    """Fronts; hypervolumes; singular values of each matrix."""
    gold = [f"gold_{name}" for name in collected.objectives]
    exact = None if collected.exact is None else collected.exact.front[gold].to_numpy()
    with canvas(12.0, 5.6, "Panacea, section 4.1: what of SVD-LoRA is needed (DPO)") as figure:
        left, right = divide(figure, 1, 2, width=(1, 1.1))
        draw_fronts(left, tables.points, collected.space, front=exact, styles=LOOKS, title="Fronts")
        upper, lower = right.subplots(2, 1)
        named = [name for name in METHODS if name not in (LOW, FULL)]
        bars = {name: metric(tables.metrics, "hypervolume", name, collected.space) for name in named}
        draw_bars(upper, bars, LOOKS, title="Hypervolume")
        draw_values(lower, values[values["method"] == PANACEA])
    return figure


def draw_values(ax: Axes, values: pd.DataFrame) -> None:
    """|sigma| and |s| of each matrix on a logarithmic axis, all seeds."""
    layers = list(dict.fromkeys(sorted(values["layer"])))
    place = values["layer"].map(layers.index)
    for kind, colour, marker, shift in (("sigma", "#0072B2", ".", -0.15), ("scale", "#D55E00", "_", 0.15)):
        mine = values["kind"] == kind
        ax.plot(
            place[mine] + shift,
            values["value"][mine].abs(),
            marker,
            color=colour,
            alpha=0.7,
            label=f"|{kind}|",
        )
    ax.set_yscale("log")
    ax.set_xlabel("weight matrix")
    ax.set_title("One s a matrix: learned singular values and scales")
    ax.legend(fontsize=8)


STUDY = Study(__file__, "dpo", METHODS, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
