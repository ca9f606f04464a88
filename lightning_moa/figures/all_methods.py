"""The methods that are put on one front: those of the three papers, and those that are asked for beside them; and the
studies that all scripts about them conduct, tuned by one rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console

from lightning_moa.answers import use
from lightning_moa.data.configs import WorldConfig
from lightning_moa.deployments import MOD, Alone, Nearest, Soup, Steered, TrainedOn
from lightning_moa.deployments.trained_on import as_rows
from lightning_moa.errors import UserError
from lightning_moa.figures.tuning import TunedConfig, parts_of_tuning, tuned
from lightning_moa.methods.products import Product, dpo_heads, ham, ric, sca
from lightning_moa.pareto import preference_grid
from lightning_moa.study.chosen import chosen_methods
from lightning_moa.study.collect import Collected, Exact
from lightning_moa.study.conduct import conduct
from lightning_moa.study.planning import from_one_start, objectives_of
from lightning_moa.study.results import Artefact
from lightning_moa.study.study import ALL, Methods

SAMPLED, CORNERS, INTERIOR = TrainedOn.sampled(), TrainedOn.corners(), TrainedOn.interior()
CENTRE, GRID = TrainedOn.centre(), TrainedOn.grid()
APART = use("rloo", weigh="surrogates")


def methods_of(m: int, step: float = 0.25) -> dict[str, Product]:
    """The table's methods for m objectives, all of whose preferences are those of the grid with this step."""
    asked = as_rows(preference_grid(m, step))

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
        "morlhf_ppo": Product("dps", "lora", "ppo", "linear", GRID, Nearest()),
        "morlhf_grpo": Product("dps", "lora", "grpo", "linear", GRID, Nearest()),
        "morlhf_gdpo": Product("dps", "lora", gdpo, "linear", GRID, Nearest()),
        "morlhf_rloo": Product("dps", "lora", "rloo", "linear", GRID, Nearest()),
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
        "pgapo": Product("dps", "lora", APART, "pgapo", GRID, Nearest()),
        "panacea_dpo": steered("svd_lora", "dpo"),
        "panacea_tche": steered("svd_lora", "dpo", "tchebycheff"),
        "panacea_smooth": steered("svd_lora", "dpo", "smooth_tchebycheff"),
        "panacea_augmented": steered("svd_lora", "dpo", "augmented_tchebycheff"),
        "panacea_pbi": steered("svd_lora", "dpo", "boundary_intersection"),
        "prompted_dpo": steered("prompted", "dpo"),
        "soups_dpo": Product("dps", "lora", "dpo", "linear", CORNERS, Soup()),
        "mod_dpo": Product("dps", "lora", "dpo", "linear", CORNERS, MOD()),
        "epo": Product("dps", "lora", "dpo", "epo", INTERIOR, Nearest()),
        "modpo": Product("dps", "lora", "modpo", "linear", GRID, Nearest()),
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


def studies(config: TunedConfig) -> list[tuple[str, TunedConfig, Methods]]:
    """The tuning, and what is reported, whose learning rates a plan does not know: label, configuration, methods."""
    config = from_one_start(config)
    methods = methods_of(len(objectives_of(config)), config.evaluation.grid_step)
    tuning, reported = parts_of_tuning(config, methods)
    return [*tuning, ("", reported, methods)]


@dataclass(frozen=True)
class Front:
    """An artefact about all methods, or those that were asked for, at the rates that the rule takes."""

    artefact: Artefact
    config: TunedConfig
    methods: Methods
    collected: Collected
    rates: pd.DataFrame
    """What was tried and taken: of `tuned`."""

    @property
    def gold(self) -> list[str]:
        """The columns of rewards."""
        return [f"gold_{name}" for name in self.collected.objectives]

    @property
    def exact(self) -> Exact:
        """The best policies that exist."""
        assert self.collected.exact is not None
        return self.collected.exact


def conduct_front(
    name: str,
    config: TunedConfig,
    asked: Methods,
    console: Console,
    whole: Methods = METHODS,
    grid_step: float | None = None,
) -> Front:
    """Tune the methods that were asked for, for as many objectives as the study has, and train them.

    Args:
        name: the artefact's.
        config: of the study.
        asked: methods; those of METHODS by name alone.
        console: progress is shown there.
        whole: all of the script's, which the results' folder need not name.
        grid_step: between the preferences that the trained policies are measured at; None: as in the tuning.

    Raises:
        UserError: data whose best policies are not known, or what `Artefact.begin` and `variants` raise.
    """
    if not isinstance(config.data, WorldConfig):
        raise UserError(f"data={config.data.name}: a world is needed, whose best policies are known")
    config = from_one_start(config)
    own = methods_of(len(objectives_of(config)), config.evaluation.grid_step)
    methods = {name: own.get(name, product) for name, product in asked.items()}
    label = "+".join(methods).replace("+".join(whole), ALL)
    artefact = Artefact.begin("cross", name, config, chosen="" if label == ALL else label)
    chosen, rates = tuned(config, methods, console)
    chosen.evaluation.grid_step = grid_step or chosen.evaluation.grid_step
    return Front(artefact, chosen, methods, conduct(chosen, methods, console), rates)


def responses_of(config: TunedConfig, methods: Methods) -> dict[str, int]:
    """Responses that an update of each method's policies is made on, sampled or given."""
    found = {}
    for name, chosen in chosen_methods(config, methods).items():
        kind, settings = chosen.objective, chosen.settings
        each = 2 if kind.view == "pairs" else kind.answers(settings) if kind.view == "prompts" else 1
        found[name] = settings.batch_size * each
    return found
