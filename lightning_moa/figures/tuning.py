"""One rule of tuning for all: each method's learning rate times some factors, on seeds that are not reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console

from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.rates import at_rates, check_tuned_apart, known_rates
from lightning_moa.methods.products import Product
from lightning_moa.pareto import expected_utility, maximum_utility_loss
from lightning_moa.study.chosen import chosen_methods
from lightning_moa.study.collect import Collected
from lightning_moa.study.diverging import conduct_what_converges
from lightning_moa.study.results import regret_of
from lightning_moa.study.study import Part


@dataclass
class TunedConfig(StudyConfig):
    """A study in which every method is tuned by one rule."""

    factors: list[float] = option(
        [1.0],
        "on each method's learning rate; the best by mean regret is taken, by expected utility where no preference is "
        "heard",
    )
    widen: int = option(
        0, "how many factors more, one by one, where a method's best is the least or the largest", at_least=0
    )
    tuning_seeds: list[int] = option([100], "seeds that they are compared on, and that are not reported")
    rates: str | None = option(
        None, "rates.csv of another study of the same methods: what it took is used, and nothing is tuned"
    )


def variants(
    config: TunedConfig, methods: Mapping[str, Product], factors: Mapping[str, Sequence[float]] | None = None
) -> tuple[TunedConfig, dict[str, Product]]:
    """Each method with its learning rate times each of its factors, the configuration's where none are given, on the
    tuning seeds.

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
        for factor in config.factors if factors is None else factors.get(name, ()):
            rate = float(chosen.settings.lr) * factor
            found[named(name, factor)] = methods[name]
            own.methods[named(name, factor)] = replace(config.methods.get(name, MethodConfig()), lr=rate)
    return own, found


def parts_of_tuning(config: TunedConfig, methods: Mapping[str, Product]) -> tuple[list[Part], TunedConfig]:
    """What is planned of the tuning, and the configuration of what is reported. Rates that are yet to be chosen are not
    known to it.

    Raises:
        UserError: what `variants` and `known_rates` raise.
    """
    if config.rates is None:
        return [("tuning", *variants(config, methods))], config
    check_tuned_apart(config.rates, config.seeds)
    return [], at_rates(config, methods, known_rates(config.rates))


def named(method: str, factor: float) -> str:
    """What a method is called at a rate that is tried."""
    return f"{method} x {factor:g}"


class Tried(NamedTuple):
    """What a method is worth at one rate, mean over the seeds; NaN where it has none, as where a training diverges."""

    expected_utility: float
    mean_regret: float
    """Of the policies that the preferences were given; NaN of a method that hears none."""

    @property
    def worth(self) -> float:
        """By what a method is judged by in the end: the larger, the better."""
        return self.expected_utility if np.isnan(self.mean_regret) else -self.mean_regret


NOTHING = Tried(float("nan"), float("nan"))


def tuned(
    config: TunedConfig, methods: Mapping[str, Product], console: Console
) -> tuple[TunedConfig, pd.DataFrame]:
    """The configuration with the rates that the rule takes; and what was tried: method, lr, expected utility, mean
    regret, taken.

    Taken is the rate of the least mean regret; of a method that hears no preference, that of the largest expected
    utility. A rate at which a training diverges, or leaves a policy that no finite number is measured of, is not taken.

    Raises:
        UserError: what `parts_of_tuning` raises; a method of which a training diverges at every rate, or that the file
            of rates does not speak of.
    """
    if config.rates is not None:
        rates = known_rates(config.rates)
        missing = [name for name in methods if name not in set(rates["method"])]
        if missing:
            raise UserError(f"rates={config.rates}: no rate of {', '.join(missing)} was tried there")
        asked_for = rates["method"].isin(list(methods))
        check_tuned_apart(config.rates, config.seeds)
        return at_rates(config, methods, rates), rates[asked_for].reset_index(drop=True)
    asked: Mapping[str, Sequence[float]] = dict.fromkeys(methods, sorted(set(config.factors)))
    found: dict[str, dict[float, Tried]] = {name: {} for name in methods}
    at: dict[str, MethodConfig] = {}
    for _ in range(1 + config.widen):
        own, tried = variants(config, methods, asked)
        collected, diverged = conduct_what_converges(own, tried, console)
        for name, why in diverged.items():
            console.print(f"{name} is not taken: {why}", highlight=False)
        for name, factors in asked.items():
            found[name] |= {each: tried_at(collected, named(name, each), own.seeds) for each in factors}
        at |= own.methods
        asked = {name: more for name, mine in found.items() if (more := further(_worths(mine)))}
        if not asked:
            break
    chosen, rows = deepcopy(config), []
    for name, mine in found.items():
        known = {factor: worth for factor, worth in _worths(mine).items() if np.isfinite(worth)}
        if not known:
            raise UserError(f"factors={sorted(mine)}: {name} diverges at each; smaller ones are needed")
        best = max(sorted(known), key=lambda factor: known[factor])
        chosen.methods[name] = at[named(name, best)]
        rows += [
            {
                "method": name,
                "lr": at[named(name, factor)].lr,
                **mine[factor]._asdict(),
                "taken": factor == best,
            }
            for factor in sorted(mine)
        ]
    return chosen, pd.DataFrame(rows)


def _worths(tried: Mapping[float, Tried]) -> dict[float, float]:
    return {factor: each.worth for factor, each in tried.items()}


def further(worth: Mapping[float, float]) -> list[float]:
    """The factor that is to be tried next: beyond the best, where that is the least or the largest of two or more, as
    far as that is from its neighbour; below the least where a training diverges at each."""
    factors = sorted(worth)
    known = [factor for factor in factors if np.isfinite(worth[factor])]
    best = max(known, key=lambda factor: worth[factor]) if known else factors[0]
    if len(factors) > 1 and best in (factors[0], factors[-1]):
        neighbour = factors[1] if best == factors[0] else factors[-2]
        return [float(f"{best * best / neighbour:.2g}")]
    return []


def tried_at(collected: Collected | None, method: str, seeds: Sequence[int]) -> Tried:
    """What a method at one rate is worth; nothing where a policy has no finite number, or a training diverged."""
    if collected is None:
        return NOTHING
    mine = collected.points[collected.points["method"] == method]
    measured = mine[[*(f"gold_{name}" for name in collected.objectives), "kl"]].to_numpy(np.float64)
    if not len(mine) or not np.isfinite(measured).all():
        return NOTHING
    utility = float(np.mean([utilities(collected, method, seed)[0] for seed in seeds]))
    return Tried(utility, float(np.mean(regret_of(mine, collected))))


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
