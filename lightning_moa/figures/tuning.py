"""One rule of tuning for all: each method's learning rate times some factors, on seeds that are not reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from rich.console import Console

from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.methods.products import Product
from lightning_moa.pareto import expected_utility, maximum_utility_loss
from lightning_moa.study.chosen import chosen_methods
from lightning_moa.study.collect import Collected
from lightning_moa.study.diverging import conduct_what_converges


@dataclass
class TunedConfig(StudyConfig):
    """A study in which every method is tuned by one rule."""

    factors: list[float] = option(
        [1.0], "on each method's learning rate; the best by expected utility is taken"
    )
    tuning_seeds: list[int] = option([100], "seeds that they are compared on, and that are not reported")


def variants(config: TunedConfig, methods: Mapping[str, Product]) -> tuple[TunedConfig, dict[str, Product]]:
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
    config: TunedConfig, methods: Mapping[str, Product], console: Console
) -> tuple[TunedConfig, pd.DataFrame]:
    """The configuration with the rates that the rule takes; and what was tried: method, lr, expected utility, taken.

    A rate at which a training diverges, or leaves a policy that no finite number is measured of, has no expected
    utility and is not taken.

    Raises:
        UserError: what `variants` raises; a method of which a training diverges at every rate.
    """
    own, tried = variants(config, methods)
    collected, diverged = conduct_what_converges(own, tried, console)
    for name, why in diverged.items():
        console.print(f"{name} is not taken: {why}", highlight=False)
    chosen, rows = deepcopy(config), []
    for name in methods:
        of_rates = [f"{name} x {factor:g}" for factor in config.factors]
        utility = {each: mean_utility(collected, each, own.seeds) for each in of_rates}
        known = [each for each in of_rates if np.isfinite(utility[each])]
        if not known:
            raise UserError(f"factors={config.factors}: {name} diverges at each; smaller ones are needed")
        best = max(known, key=lambda each: utility[each])
        for each in of_rates:
            row = {"lr": own.methods[each].lr, "expected_utility": utility[each], "taken": each == best}
            rows.append({"method": name, **row})
        chosen.methods[name] = own.methods[best]
    return chosen, pd.DataFrame(rows)


def mean_utility(collected: Collected | None, method: str, seeds: Sequence[int]) -> float:
    """Expected utility, mean over the seeds; NaN where a policy has none, or the method was not trained to the end."""
    if collected is None:
        return float("nan")
    mine = collected.points[collected.points["method"] == method]
    measured = mine[[*(f"gold_{name}" for name in collected.objectives), "kl"]].to_numpy(np.float64)
    if not len(mine) or not np.isfinite(measured).all():
        return float("nan")
    return float(np.mean([utilities(collected, method, seed)[0] for seed in seeds]))


def utilities(collected: Collected, method: str, seed: int) -> tuple[float, float]:
    """Expected utility and maximum utility loss over the grid: lambda . gold - beta KL of the policy that is best for
    each preference."""
    exact, points = collected.exact, collected.points
    assert exact is not None
    mine = points[(points["method"] == method) & (points["seed"] == seed)]
    weights = exact.grid[[f"lambda_{name}" for name in collected.objectives]].to_numpy()
    gold = mine[[f"gold_{name}" for name in collected.objectives]].to_numpy()
    each = gold @ weights.T - exact.beta * mine["kl"].to_numpy()[:, None]
    return expected_utility(each), maximum_utility_loss(each, exact.grid["value"].to_numpy())
