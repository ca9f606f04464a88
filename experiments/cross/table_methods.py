"""All methods on one world, each at the best of the same learning rates: how far from the best policy that exists.

    python experiments/cross/table_methods.py [scale=smoke|tiny] [key=value ...]

Every method starts from one reference policy, has the same rewards and the same responses an update, and is measured on
the same held-out prompts. It is tuned by one rule (`factors`, `tuning_seeds`): its learning rate times each factor on
seeds that are not reported, the largest expected utility decides. Writes table.csv (a row for each method and seed),
rates.csv (what was tried and taken), table.md, the study's own CSVs and the fronts to results/cross/table_methods/.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from lightning_moa.answers import use
from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.deployments import MOD, Alone, Nearest, Soup, Steered, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.methods.products import Product, dpo_heads, ham, ric, sca, scalarisations
from lightning_moa.pareto import expected_utility, hypervolume, igd_plus, maximum_utility_loss
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.markdown import markdown_table
from lightning_moa.reporting.plots import front_figure, save_figure
from lightning_moa.study.chosen import chosen_methods
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import objectives_of
from lightning_moa.study.results import Artefact, Tables, print_methods
from lightning_moa.study.script import script
from lightning_moa.study.study import ALL, Methods, Study

SAMPLED, CORNERS, INTERIOR = TrainedOn.sampled(), TrainedOn.corners(), TrainedOn.interior()
CENTRE = TrainedOn.centre()
APART = use("rloo", weigh="surrogates")
MEASURES = {
    "hypervolume_share": "HV, share",
    "expected_utility": "EU",
    "maximum_utility_loss": "MUL",
    "mean_regret": "regret",
    "worst_regret": "worst",
    "igd_plus": "IGD+",
    "kl": "KL",
}
COSTS = {"trained_parameters": "parameters", "responses": "responses", "seconds": "seconds"}


@dataclass
class CrossConfig(StudyConfig):
    """A study in which every method is tuned by one rule."""

    factors: list[float] = option(
        [1.0], "on each method's learning rate; the best by expected utility is taken"
    )
    tuning_seeds: list[int] = option([100], "seeds that they are compared on, and that are not reported")


def methods_of(m: int) -> dict[str, Product]:
    """The table's methods for m objectives."""
    asked = scalarisations(m)

    def steered(policy: str, objective: Any, aggregation: Any = "linear") -> Product:
        return Product("panacea", policy, objective, aggregation, SAMPLED, Steered())

    def at_centre(aggregation: Any, method: Any = "dps", objective: Any = APART) -> Product:
        return Product(method, "lora", objective, aggregation, CENTRE, Alone())

    gdpo = use("grpo", weigh="advantages")
    return {
        "panacea_ppo": steered("svd_lora", "ppo"),
        "panacea_grpo": steered("svd_lora", "grpo"),
        "panacea_rloo": steered("svd_lora", "rloo"),
        "prompted_rloo": steered("prompted", "rloo"),
        "morlhf_ppo": Product("dps", "lora", "ppo", "linear", INTERIOR, Nearest()),
        "morlhf_grpo": Product("dps", "lora", "grpo", "linear", INTERIOR, Nearest()),
        "morlhf_gdpo": Product("dps", "lora", gdpo, "linear", INTERIOR, Nearest()),
        "morlhf_rloo": Product("dps", "lora", "rloo", "linear", INTERIOR, Nearest()),
        "soups_rloo": Product("dps", "lora", "rloo", "linear", CORNERS, Soup()),
        "mod_rloo": Product("dps", "lora", "rloo", "linear", CORNERS, MOD()),
        "safe_rlhf": at_centre("linear", "safe_rlhf", use("ppo", weigh="advantages")),
        "dynamic_weights": at_centre("linear", "dynamic_weights"),
        "mgda": at_centre("mgda"),
        "gapo": at_centre(use("gapo", p=1.0)),
        "upgrad": at_centre("upgrad"),
        "pcgrad": at_centre("pcgrad"),
        "cagrad": at_centre("cagrad"),
        "aligned_mtl": at_centre("aligned_mtl"),
        "imtl_g": at_centre("imtl_g"),
        "nash_mtl": at_centre("nash_mtl"),
        "pgapo": Product("dps", "lora", APART, "pgapo", INTERIOR, Nearest()),
        "panacea_dpo": steered("svd_lora", "dpo"),
        "panacea_tche": steered("svd_lora", "dpo", "tchebycheff"),
        "panacea_smooth": steered("svd_lora", "dpo", "smooth_tchebycheff"),
        "panacea_augmented": steered("svd_lora", "dpo", "augmented_tchebycheff"),
        "panacea_pbi": steered("svd_lora", "dpo", "boundary_intersection"),
        "prompted_dpo": steered("prompted", "dpo"),
        "soups_dpo": Product("dps", "lora", "dpo", "linear", CORNERS, Soup()),
        "mod_dpo": Product("dps", "lora", "dpo", "linear", CORNERS, MOD()),
        "epo": Product("dps", "lora", "dpo", "epo", INTERIOR, Nearest()),
        "modpo": Product("dps", "lora", "modpo", "linear", INTERIOR, Nearest()),
        "dpo_heads": _below_the_head(dpo_heads(m)),
        "ham": _below_the_head(ham()),
        "sca": _below_the_head(sca(asked)),
        "ric": _below_the_head(ric(asked)),
    }


def _below_the_head(product: Product) -> Product:
    """Heads of their own stand in the place of the model's, which is not adapted then."""
    policy = use(product.policy, targets="all-linear")
    answers = (product.method, policy, product.objective, product.aggregation)
    return Product(*answers, product.trained_on, product.deployment)


METHODS = methods_of(2)


def studies(config: CrossConfig) -> list[tuple[str, CrossConfig, Mapping[str, Product]]]:
    """The tuning, and the table, whose learning rates a plan does not know: label, configuration, methods."""
    methods = methods_of(len(objectives_of(config)))
    return [("tuning", *variants(config, methods)), ("", config, methods)]


def variants(config: CrossConfig, methods: Mapping[str, Product]) -> tuple[CrossConfig, dict[str, Product]]:
    """Each method with its learning rate times each factor, on the tuning seeds.

    Raises:
        UserError: tuning seeds among those that are reported, or factors that are not above 0.
    """
    if set(config.tuning_seeds) & set(config.seeds) or not config.tuning_seeds:
        raise UserError(f"tuning_seeds={config.tuning_seeds}: others than seeds={config.seeds} are needed")
    if not config.factors or min(config.factors) <= 0:
        raise UserError(f"factors={config.factors}: numbers above 0 are needed")
    own = deepcopy(config)
    own.seeds, own.methods, found = list(config.tuning_seeds), {}, {}
    for name, chosen in chosen_methods(config, methods).items():
        for factor in config.factors:
            rate = float(chosen.settings.lr) * factor
            found[f"{name} x {factor:g}"] = methods[name]
            own.methods[f"{name} x {factor:g}"] = replace(config.methods.get(name, MethodConfig()), lr=rate)
    return own, found


def tuned(
    config: CrossConfig, methods: Mapping[str, Product], console: Console
) -> tuple[CrossConfig, pd.DataFrame]:
    """The configuration with the rates that the rule takes; and what was tried: method, lr, expected utility, taken."""
    own, tried = variants(config, methods)
    collected = conduct(own, tried, console)
    chosen, rows = deepcopy(config), []
    for name in methods:
        of_rates = [f"{name} x {factor:g}" for factor in config.factors]
        utility = {
            each: np.mean([_utilities(collected, each, seed)[0] for seed in own.seeds]) for each in of_rates
        }
        best = max(of_rates, key=lambda each: float(utility[each]))
        for each in of_rates:
            row = {"lr": own.methods[each].lr, "expected_utility": utility[each], "taken": each == best}
            rows.append({"method": name, **row})
        chosen.methods[name] = own.methods[best]
    return chosen, pd.DataFrame(rows)


def _utilities(collected: Collected, method: str, seed: int) -> tuple[float, float]:
    """Expected utility and maximum utility loss over the grid: lambda . gold - beta KL of the policy that is best for
    each preference."""
    exact, points = collected.exact, collected.points
    assert exact is not None
    mine = points[(points["method"] == method) & (points["seed"] == seed)]
    weights = exact.grid[[f"lambda_{name}" for name in collected.objectives]].to_numpy()
    gold = mine[[f"gold_{name}" for name in collected.objectives]].to_numpy()
    utilities = gold @ weights.T - exact.beta * mine["kl"].to_numpy()[:, None]
    return expected_utility(utilities), maximum_utility_loss(utilities, exact.grid["value"].to_numpy())


def table_of(
    config: CrossConfig, methods: Mapping[str, Product], collected: Collected, tables: Tables
) -> pd.DataFrame:
    """A row for each method and seed: MEASURES and COSTS. The reference policy is a method that was not trained."""
    assert collected.exact is not None
    names = [f"gold_{name}" for name in collected.objectives]
    front = collected.exact.front[names].to_numpy()
    corner = tables.metrics.loc[
        tables.metrics["space"] == "gold", [f"reference_{name}" for name in collected.objectives]
    ].to_numpy()[0]
    most = hypervolume(front, corner)
    costs = collected.costs.merge(collected.timings[["method", "seed", "seconds"]], on=["method", "seed"])
    seen = responses_of(config, methods)
    rows = []
    for (method, seed), mine in tables.points.assign(regret=tables.regret).groupby(
        ["method", "seed"], sort=False
    ):
        gold = mine[names].to_numpy()
        utility, loss = _utilities(collected, method, seed)
        spent = costs[(costs["method"] == method) & (costs["seed"] == seed)]
        steps = 0 if spent.empty else int(spent["training_steps"].iloc[0])
        rows.append(
            {
                "method": method,
                "seed": seed,
                "hypervolume_share": hypervolume(gold, corner) / most,
                "expected_utility": utility,
                "maximum_utility_loss": loss,
                "mean_regret": mine["regret"].mean(),
                "worst_regret": mine["regret"].max(),
                "igd_plus": igd_plus(gold, front),
                "kl": mine["kl"].mean(),
                "trained_parameters": 0 if spent.empty else int(spent["trained_parameters"].iloc[0]),
                "responses": steps * seen.get(method, 0),
                "seconds": np.nan if spent.empty else float(spent["seconds"].iloc[0]),
            }
        )
    return pd.DataFrame(rows)


def responses_of(config: CrossConfig, methods: Mapping[str, Product]) -> dict[str, int]:
    """Responses that an update of each method's policies is made on, sampled or given."""
    found = {}
    for name, chosen in chosen_methods(config, methods).items():
        kind, settings = chosen.objective, chosen.settings
        each = 2 if kind.view == "pairs" else kind.answers(settings) if kind.view == "prompts" else 1
        found[name] = settings.batch_size * each
    return found


def page(table: pd.DataFrame) -> str:
    """The table for readers: means over seeds, best expected utility first."""
    shown = {**MEASURES, **COSTS}
    means = table.groupby("method")[list(shown)].mean().sort_values("expected_utility", ascending=False)
    cells = [
        [str(method), *("" if pd.isna(value) else f"{value:,.4g}" for value in row)]
        for method, row in zip(means.index, means.to_numpy().tolist(), strict=True)
    ]
    return f"# All methods on one front\n\n{markdown_table(['method', *shown.values()], cells)}"


def main(config: CrossConfig, console: Console, asked: Methods = METHODS) -> None:
    own = methods_of(len(objectives_of(config)))
    methods = {name: own.get(name, product) for name, product in asked.items()}
    label = "+".join(methods).replace("+".join(METHODS), ALL)
    artefact = Artefact.begin("cross", "table_methods", config, methods="" if label == ALL else label)
    chosen, rates = tuned(config, methods, console)
    collected = conduct(chosen, methods, console)
    if collected.exact is None:
        raise UserError(f"data={config.data.name}: a world is needed, whose best policies are known")
    tables = artefact.tables(collected)
    table = table_of(chosen, methods, collected, tables)
    artefact.write(collected, tables, None, {"table.csv": table, "rates.csv": rates})
    write_atomically(artefact.folder / "table.md", page(table))
    picture = artefact.folder / "fronts.png"
    exact = {"gold": collected.exact.front[[f"gold_{name}" for name in collected.objectives]].to_numpy()}
    save_figure(front_figure(tables.points, spaces=["gold"], title="All methods", fronts=exact), picture)
    print_methods(console, artefact, collected, tables)
    console.print(f"table: {artefact.folder / 'table.md'}", highlight=False, soft_wrap=True)


STUDY = Study(__file__, "world", METHODS, CrossConfig, parts=studies, any_methods=True)

if __name__ == "__main__":
    script(STUDY, main)
