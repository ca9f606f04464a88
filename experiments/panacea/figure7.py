"""Panacea, Figure 7: the learned scale of the preference against fixed ones, and the singular values it is near.

    python experiments/panacea/figure7.py [scale=smoke|tiny|laptop|gpu|paper] [key=value ...]

Trains a Panacea whose scale is learned and one for each fixed scale, from 1 to 1e-5. A fixed scale's policy starts
off its reference, at 1 by nearly as much as the weights are large (`adapter.scaling`, which in the small world is set
so that it is as much as the paper's). Measures them on the grid of preferences; judges the paper's claims; writes
CSVs (each layer's singular values and scale in singular_values.csv) and the picture to results/panacea/figure7/.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from lightning_moa.answers import use
from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.alike import alike, filled_with
from lightning_moa.figures.margins import regret_margin
from lightning_moa.methods.products import PANACEA_PPO
from lightning_moa.reporting.claims import OURS, Row, judge, judge_several
from lightning_moa.reporting.margins import LOG10, of_metric
from lightning_moa.reporting.panels import draw_bars, shades
from lightning_moa.reporting.plots import canvas, divide, draw_fronts, save_figure
from lightning_moa.reporting.statistics import PerSeed, metric, metric_difference
from lightning_moa.reporting.styles import Style, styles_of
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import over_prompts
from lightning_moa.study.results import Artefact, Tables, judged, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import DRAWS, Part, Study

LEARNED = "learned"
FIXED = {f"fixed_{text}": float(text) for text in ("1", "1e-1", "1e-2", "1e-3", "1e-4", "1e-5")}
METHODS = {LEARNED: PANACEA_PPO} | {
    name: replace(PANACEA_PPO, policy=use(PANACEA_PPO.policy, fixed_scale=scale))
    for name, scale in FIXED.items()
}
SMALLEST, LARGEST = 1e-5, 1e-2
"""The range that the paper observes the preference-agnostic singular values in."""


def studies(config: StudyConfig) -> list[Part]:
    """The one study, whose methods are trained alike."""
    return [("", train_alike(config), METHODS)]


def main(config: StudyConfig, console: Console) -> None:
    ((_, config, _),) = studies(config)
    artefact = Artefact.begin("panacea", "figure7", config)
    collected = conduct(config, METHODS, console)
    tables = artefact.tables(collected)
    values = singular_values(collected)
    over = over_prompts(artefact, collected, front_claims)
    claims = judged(lambda name: judge_claims(collected, tables.at(name), values), over)
    artefact.write(collected, tables, claims, {"singular_values.csv": values})

    pictures = [artefact.folder / f"figure7.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(collected, tables, values), *pictures)
    print_summary(console, artefact, collected, tables, claims, pictures)


def train_alike(config: StudyConfig) -> StudyConfig:
    """Fixed scales get the learned one's settings where they have none of their own, and the scale that they keep."""
    config = alike(config, LEARNED, FIXED)
    kept = {name: MethodConfig(settings={"adapter": {"fixed_scale": scale}}) for name, scale in FIXED.items()}
    fixed = {name: filled_with(config.methods[name], scale) for name, scale in kept.items()}
    return replace(config, methods={**config.methods, **fixed})


def singular_values(collected: Collected) -> pd.DataFrame:
    """What multiplies each direction of an update in the learned Panacea, layer by layer.

    Returns:
        `method`, `seed`, `layer`, `kind`: `sigma` (preference-agnostic; `place` 1 to k) or `scale` (s, which multiplies
        the preference), and `value`.
    """
    from safetensors.numpy import load_file

    rows = []
    for (method, seed), folders in collected.policies.items():
        if method == LEARNED:
            for name, tensor in load_file(folders[0] / "policy.safetensors").items():
                layer, _, kind = name.rpartition(".gate.")
                if layer:
                    rows += [
                        {
                            "method": method,
                            "seed": seed,
                            "layer": layer,
                            "kind": kind,
                            "place": i,
                            "value": value,
                        }
                        for i, value in enumerate(tensor.astype(np.float64).tolist(), 1)
                    ]
    return pd.DataFrame(rows)


def judge_claims(collected: Collected, tables: Tables, values: pd.DataFrame) -> list[Row]:
    """The paper's claims about this figure, asked of the tables."""
    return [*front_claims(collected, tables), *size_claims(values)]


def front_claims(collected: Collected, tables: Tables) -> list[Row]:
    """Those about what the policies do."""
    space, metrics = collected.space, tables.metrics

    def against(metric: str) -> dict[str, PerSeed]:
        return {
            f"that of {scale:g}": metric_difference(metrics, metric, LEARNED, name, space)
            for name, scale in FIXED.items()
        }

    claim, what = (
        "learning the scale beats fixing it, at whatever",
        f"hypervolume ({space}), the learned one's -",
    )
    margin = min(of_metric(metrics, "hypervolume", LEARNED, name, space) for name in FIXED)
    rows = [judge_several(claim, "Fig. 7", what, against("hypervolume"), ">", 0, margin=margin)]
    if collected.exact is not None:
        words, what, margin = (
            f"{claim}, in regret",
            "mean regret, the learned one's -",
            regret_margin(collected),
        )
        gaps = against("mean_regret")
        rows.append(judge_several(words, "Fig. 7", what, gaps, "<", 0, margin=margin, whose=OURS))
    return rows


def size_claims(values: pd.DataFrame) -> list[Row]:
    """Those about what they have learned, of `singular_values`.

    Raises:
        UserError: one that is 0, as it began: its magnitude says nothing.
    """
    still = next(values[values["value"] == 0].itertuples(), None)
    if still is not None:
        raise UserError(
            f"{still.method}, seed {still.seed}: {still.kind} of {still.layer} is still 0, for no gradient has reached "
            "it; allowed are more updates, or rewards that tell responses apart"
        )
    what = f"orders of magnitude by which nine of ten |sigma| leave [{SMALLEST:g}, {LARGEST:g}]"
    claim = "singular values range from 1e-2 to 1e-5"
    near = "the learned scale is of the singular values' magnitude"
    apart = "log10 median |s| - log10 median |sigma|"
    return [
        judge(claim, "4.1", what, outside(values), "<=", 0, margin=LOG10),
        judge(near, "5.2", apart, magnitude_gap(values), "within", 1),
    ]


def outside(values: pd.DataFrame) -> PerSeed:
    """Orders of magnitude between the range that the paper observes and the 5% or 95% quantile of the
    preference-agnostic singular values, whichever lies further out; below 0 where both lie inside."""
    sigma = values[values["kind"] == "sigma"]
    sizes = np.log10(sigma["value"].abs()).groupby(sigma["seed"])
    above = sizes.quantile(0.95) - np.log10(LARGEST)
    below = np.log10(SMALLEST) - sizes.quantile(0.05)
    return {int(str(seed)): float(max(above[seed], below[seed])) for seed in above.index}


def magnitude_gap(values: pd.DataFrame) -> PerSeed:
    """Orders of magnitude between the median scale and the median singular value, over layers."""
    medians = values["value"].abs().groupby([values["seed"], values["kind"]]).median().unstack()
    gap = np.log10(medians["scale"]) - np.log10(medians["sigma"])
    return {int(str(seed)): float(value) for seed, value in gap.items()}


def draw(collected: Collected, tables: Tables, values: pd.DataFrame) -> Figure:
    """Fronts; hypervolume and regret per scale; singular values and scales of each layer."""
    styles = looks()
    gold = [f"gold_{name}" for name in collected.objectives]
    exact = None if collected.exact is None else collected.exact.front[gold].to_numpy()
    with canvas(
        10.5, 5.6, "Panacea, Figure 7: the learned scale of the preference against fixed ones"
    ) as figure:
        left, right = divide(figure, 1, 2, width=(1, 1.1))
        draw_fronts(left, tables.points, collected.space, front=exact, styles=styles, title="Fronts")
        measures = {"hypervolume": "Hypervolume, by scale"}
        if collected.exact is not None:
            measures["mean_regret"] = "Mean regret, by scale"
        panels = right.subplot_mosaic([[*measures], ["values"] * len(measures)])
        for column, title in measures.items():
            bars = {name: metric(tables.metrics, column, name, collected.space) for name in METHODS}
            draw_bars(panels[column], bars, styles, title=title)
        draw_values(panels["values"], values)
    return figure


def looks() -> dict[str, Style]:
    """The learned scale as Panacea looks everywhere; fixed ones from large, light, to small, dark."""
    ramp = shades([name.removeprefix("fixed_") for name in FIXED], "YlOrRd", "D")
    learned = replace(styles_of([LEARNED])[LEARNED], label="learned")
    return {LEARNED: learned} | dict(zip(FIXED, ramp.values(), strict=True))


def draw_values(ax: Axes, values: pd.DataFrame) -> None:
    """|sigma| and |s| of each layer on a logarithmic axis, all seeds, above the range that the paper names."""
    layers = list(dict.fromkeys(sorted(values["layer"])))
    place = values["layer"].map(layers.index)
    ax.axhspan(SMALLEST, LARGEST, color="#DDDDDD", alpha=0.5, zorder=0, label="the paper's range of sigma")
    for kind, colour, marker, shift in (("sigma", "#0072B2", ".", -0.15), ("scale", "#D55E00", "_", 0.15)):
        mine = values["kind"] == kind
        label = {"sigma": "|sigma|", "scale": "|s|"}[kind]
        ax.plot(
            place[mine] + shift, values["value"][mine].abs(), marker, color=colour, alpha=0.7, label=label
        )
    ax.set_yscale("log")
    ax.set_xticks(range(len(layers)), [short(layer) for layer in layers], rotation=60, ha="right", fontsize=7)
    ax.set_title("Learned singular values and scales, by layer")
    ax.legend(fontsize=8, loc="lower left", ncols=3)


def short(layer: str) -> str:
    """Such as '1.q_proj' for 'model.layers.1.self_attn.q_proj'."""
    parts = [
        part for part in layer.split(".") if part not in ("model", "layers", "decoder", "self_attn", "mlp")
    ]
    return ".".join(parts)


STUDY = Study(__file__, "rlhf", METHODS, parts=studies, reads=[DRAWS])

if __name__ == "__main__":
    script(STUDY, main)
