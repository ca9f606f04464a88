"""Every row that a script judges can fail, can hold, and can be level where it has a margin: asked of made-up tables,
without any training."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lightning_moa.figures.final_gains import gains
from lightning_moa.figures.margins import reference_regret
from lightning_moa.reporting.claims import Row
from lightning_moa.study.planning import REFERENCE

from .ham_cases import bound, heads, panels, radar, structure, volumes, warm_ups
from .made_up import (
    NOISE,
    SEEDS,
    TWO,
    Rng,
    exact_of,
    made_up,
    noisy,
    often,
    same_or_other,
    tables_of,
    volumes_of,
)
from .scripts import REPOSITORY, load, parts, settings, studies
from .test_panacea_theory import tables as theory_tables

DRAWS = 150
Case = Callable[[Any, Rng], list[Row]]


def panacea(name: str, spaces: tuple[str, ...] = ("gold",), step: float = 0.25) -> Case:
    """A script whose rows come of `judge_claims(collected, tables)`."""

    def rows(module: Any, rng: Rng) -> list[Row]:
        ((_, _, methods),) = parts(module)
        collected = made_up(rng, methods, TWO, step, spaces=spaces)
        return module.judge_claims(collected, tables_of("panacea", name, collected))

    return rows


def rlhf(module: Any, rng: Rng) -> list[Row]:
    ((_, _, methods),) = parts(module)
    collected = made_up(rng, methods, TWO, snapshots=("panacea",))
    points, kind = collected.points.copy(), rng.integers(4)
    early = points["step"] < points["step"].max()
    if kind == 0:
        # Objectives that are learned alike.
        points["gold_harmless"] = points["gold_helpful"] + rng.normal(0, NOISE, len(points))
    late = points[(points["method"] == "panacea") & ~early]
    # Nothing is learned after the first snapshot, or fronts are of one form.
    others = {1: [early], 2: [points["method"] == name for name in module.BASELINES]}.get(int(kind), [])
    for rows, name in product(others, TWO):
        points.loc[rows, f"gold_{name}"] = late[f"gold_{name}"].to_numpy() + rng.normal(0, NOISE, len(late))
    collected = replace(collected, points=points)
    tables = tables_of("panacea", "figure4", collected)
    if rng.random() < 0.3:
        # At the bounds: half of Rewarded Soups' regret, and a fifth of the reference policy's.
        points, shares = tables.points, {"rewarded_soups": 0.4, "panacea": 0.2, "dps": 0.2}
        start = points["seed"].map(reference_regret(collected))
        noise = 1 + NOISE * rng.normal(size=len(points))
        tables = replace(tables, regret=(points["method"].map(shares) * start * noise).to_numpy())
    return module.judge_claims(collected, tables)


def distributions(module: Any, rng: Rng) -> list[Row]:
    _config, methods = settings(module)
    collected = made_up(rng, methods, TWO, step=0.5)
    tables = tables_of("panacea", "figure3", collected)
    return module.judge_claims(collected, tables, module.shown_responses(collected))


def fixed_scales(module: Any, rng: Rng) -> list[Row]:
    _config, methods = settings(module)
    collected = made_up(rng, methods, TWO, step=0.5)
    sizes = {"sigma": rng.uniform(-6, 0), "scale": rng.uniform(-6, 0)}
    wide = rng.choice([0.1, 3.0])
    values = pd.DataFrame(
        {"seed": seed, "kind": kind, "value": 10 ** (size + wide * rng.uniform(-1, 1))}
        for seed, (kind, size), _ in product(SEEDS, sizes.items(), range(30))
    )
    return module.judge_claims(collected, tables_of("panacea", "figure7", collected), values)


def adapters(module: Any, rng: Rng) -> list[Row]:
    collected = made_up(rng, module.METHODS, TWO, step=0.5)
    # Of the same magnitudes in each layer, of others, or of magnitudes that do not hang on the layer.
    shift, sizes, noise = ((0.0, range(4), 0.001), (3.0, range(4), 0.001), (0.0, [0] * 60, 1.0))[
        rng.integers(3)
    ]
    values = pd.DataFrame(
        {"method": module.PANACEA, "seed": seed, "layer": layer, "kind": "sigma"}
        | {"value": 10 ** (size + shift * layer + noise * rng.normal())}
        for seed, layer, size in product(SEEDS, range(4), sizes)
    )
    return module.judge_claims(collected, volumes_of(collected), values)


def two_losses(module: Any, rng: Rng) -> list[Row]:
    found = {}
    for label, _, methods in studies(module):
        collected = made_up(rng, methods, TWO, step=0.5)
        found[label] = (collected, tables_of("panacea", "figure_tchebycheff", collected))
    return module.judge_claims(found)


def theory(module: Any, rng: Rng) -> list[Row]:
    fronts, distances, mixtures = theory_tables(int(rng.integers(2)))
    if rng.random() < 0.5:
        mixtures = mixtures.assign(excess=0.003 * rng.normal(size=len(mixtures)))
    if rng.random() < 0.5:
        fronts = fronts.replace({"kind": {"linear": "tchebycheff", "tchebycheff": "linear"}})
    return module.judge_claims(fronts, distances, mixtures)


def dimensions(module: Any, rng: Rng) -> list[Row]:
    rows = []
    for _, own, methods in studies(module):
        collected = made_up(rng, methods, own.objectives, step=0.5)
        tables = tables_of("panacea", "figure_dimensions", collected)
        rows += module.judge_claims(module.Part(None, collected, tables))
    return rows


def worlds(module: Any, rng: Rng) -> list[Row]:
    found = {key: noisy(rng, often(rng, 0.5, 0, 1)) for key in product(module.METHODS, ("share", "regret"))}
    return module.judge_claims(
        pd.DataFrame(
            {"world": world, "method": name, "seed": 0, **{c: found[name, c][world] for c in module.MEASURES}}
            for name, world in product(module.METHODS, SEEDS)
        )
    )


def misaligned(module: Any, rng: Rng) -> list[Row]:
    collected = made_up(rng, module.METHODS, TWO, step=0.5)
    asked = {name: np.ones(2) / 2 for name in ("a", "b", module.MIXED)}
    found = {
        key: noisy(rng, rng.choice([1.0, 2.0, rng.uniform(0.1, 3)])) for key in product(module.METHODS, asked)
    }
    table = pd.DataFrame(
        {"method": method, "labeller": labeller, "seed": seed, "regret": value}
        for (method, labeller), values in found.items()
        for seed, value in values.items()
    )
    return module.judge_claims(collected, table, asked)


def balance(module: Any, rng: Rng) -> list[Row]:
    methods = module.METHODS | {module.fixed(name): module.METHODS["linear"] for name in module.ADAPTIVE}
    ends = gains(made_up(rng, methods, TWO))
    means = pd.DataFrame(list(product(module.ADAPTIVE, SEEDS)), columns=["method", "seed"])
    return [*module.balance_claims(ends), *module.reason_claims(ends, module.with_distances(means, ends))]


def preferences(module: Any, rng: Rng) -> list[Row]:
    _config, methods = settings(module)
    collected = module.inside(made_up(rng, methods, TWO, step=0.2))
    tables = tables_of("gapo", "figure_pareto", collected)
    return module.judge_claims(collected, tables, module.at_preferences(collected, tables))


def probed(module: Any, rng: Rng) -> list[Row]:
    seen = []
    for method in module.BASE:
        sizes = {probe: 10.0 ** rng.uniform(-3, 0) for probe in module.PROBES}
        for (probe, size), seed, step in product(sizes.items(), SEEDS, range(4)):
            row = {
                "method": method,
                "seed": seed,
                "step": step,
                "probe": probe,
                "cosine": size * rng.uniform(0.9, 1),
            }
            row |= {"weight_a": size * rng.uniform(0.9, 1), "weight_b": 0.5}
            seen.append(row | {"direction": 1 - size * rng.uniform(0.9, 1)})
    ends = []
    for method in module.BASE:
        for probe, way in same_or_other(rng, list(module.PROBES), (2,)).items():
            for seed in SEEDS:
                gained = dict(zip(("gain_a", "gain_b"), way + 0.003 * rng.normal(size=2), strict=True))
                ends.append({"method": method, "probe": probe, "seed": seed} | gained)
    return module.judge_claims(pd.DataFrame(seen), pd.DataFrame(ends))


def progressing(module: Any, rng: Rng) -> list[Row]:
    rows = []
    # Of many looks hardly any at a loss: shares of looks that all but agree.
    looks, losses = (40, [0.005]) if rng.random() < 0.4 else (20, [0.0, 0.03, 0.05, 0.5])
    for method, place in product(module.METHODS, module.PLACES):
        power, lost, level = rng.choice([0.0, 1.0, 2.0]), rng.choice(losses), rng.uniform(0.5, 1)
        for seed, step in product(SEEDS, range(looks)):
            norms = np.exp(rng.normal(size=2))
            progress = level * norms ** (power + rng.normal(0, 0.01)) * np.where(rng.random(2) < lost, -1, 1)
            for name, norm, each in zip("ab", norms, progress, strict=True):
                row = {"method": method, "seed": seed, "step": step, "place": place, "objective": name}
                rows.append(row | {"weight": 0.5, "norm": norm, "progress": each, "length": 9.0})
    return module.judge_claims(pd.DataFrame(rows))


def scaled(*multiplies: str) -> Case:
    def rows(module: Any, rng: Rng) -> list[Row]:
        factors, found = (0.5, 1.0, 2.0), []
        back = rng.random() < 0.3  # the largest factor ends where the smallest does
        moved = same_or_other(rng, list(module.METHODS), (3, 2))
        if rng.random() < 0.2:  # all go one way
            moved = dict.fromkeys(moved, next(iter(moved.values())))
        for method, ways in moved.items():
            ways = ways[[0, 1, 0]] if back else ways
            for seed, (factor, way) in product(SEEDS, zip(factors, ways, strict=True)):
                row = {"paper": "gapo", "artefact": "x", "scale": "y", "factor": factor, "method": method}
                named = dict(zip(("gain_a", "gain_b"), way + 0.003 * rng.normal(size=2), strict=True))
                found.append(row | {"seed": seed} | named)
        exact = exact_of(rng, ("a", "b"), step=0.5)
        part = module.Part(("a", "b"), "b", "gold", pd.DataFrame(found), np.zeros(2), exact)
        return module.judge_claims(part, *multiplies)

    return rows


def harmless(module: Any, rng: Rng) -> list[Row]:
    paper = module.paper_shares(settings(module)[0], "harmless")
    rates = {
        name: noisy(rng, float(at[0])) for name, at in same_or_other(rng, [*paper, "linear"], (1,)).items()
    }
    shares = pd.DataFrame(
        {"prompt_set": "x", "method": name, "seed": seed, "threshold": 0.0, "share": value}
        for name, values in rates.items()
        for seed, value in values.items()
    )
    return module.judge_claims(shares, "x", 0.0, paper)


def main_table(module: Any, rng: Rng) -> list[Row]:
    config, _ = settings(module)
    methods, rows = module.methods_of(config), []
    for first, by_rewards in product((True, False), repeat=2):
        collected = made_up(rng, methods, TWO)
        columns = [f"gold_{name}" for name in TWO]
        scores = collected.points[["method", "seed", *columns]]
        scores = scores.assign(average=scores[columns].mean(axis=1), kl=0.0)
        rates = pd.DataFrame(
            {"other": other, "objective": objective, "seed": seed, "rate": rate}
            for other, objective in product((REFERENCE, "gapo_p2"), TWO)
            for seed, rate in noisy(rng, often(rng, 0.5, 0.3, 0.7)).items()
        )
        part = module.Part(f"set {first} {by_rewards}", collected, scores, rates, by_rewards)
        rows += module.judge_claims(part, first, pd.read_csv(module.PAPER))
    return rows


def stationary(module: Any, rng: Rng) -> list[Row]:
    seen = []
    for method in module.METHODS:
        for seed in SEEDS:
            rates = {column: rng.normal(rng.choice([-0.3, 0.0, 0.3]), 0.003) for column in module.COLUMNS}
            steps = np.arange(6)
            values = {column: np.exp(rate * steps) for column, rate in rates.items()}
            seen.append(pd.DataFrame({"method": method, "seed": seed, "step": steps, **values}))
    return module.judge_claims(pd.concat(seen))


def questions(module: Any, rng: Rng) -> list[Row]:
    rows = [
        {
            "method": name,
            "seed": seed,
            **{measure: value[0] + NOISE * rng.normal() for measure in module.RELATIONS},
        }
        for name, value in same_or_other(rng, list(module.METHODS), (1,)).items()
        for seed in SEEDS
    ]
    return module.judge_claims(pd.DataFrame(rows), 0.1)


CASES: dict[str, list[Case]] = {
    "cross/table_methods": [questions],
    "cross/figure_scale": [scaled()],
    "panacea/figure3": [distributions],
    "panacea/figure4": [rlhf],
    "panacea/figure5": [panacea("figure5", spaces=("accuracy", "gold", "reward"), step=0.5)],
    "panacea/figure6": [panacea("figure6")],
    "panacea/figure7": [fixed_scales],
    "panacea/figure_adapter": [adapters],
    "panacea/figure_dimensions": [dimensions],
    "panacea/figure_tchebycheff": [two_losses],
    "panacea/theory": [theory],
    "panacea/figure_worlds": [worlds],
    "panacea/misalignment": [misaligned],
    "gapo/figure_balance": [balance],
    "gapo/figure_convergence": [stationary],
    "gapo/figure_pareto": [preferences],
    "gapo/figure_probe": [probed],
    "gapo/figure_progress": [progressing],
    "gapo/figure_scale": [scaled("reward"), scaled("objective")],
    "gapo/table_harmless_ratio": [harmless],
    "gapo/table_main": [main_table],
    "ham/figure3": [panels],
    "ham/figure4": [panels],
    "ham/figure5": [panels],
    "ham/figure6": [panels],
    "ham/figure7": [radar],
    "ham/figure8": [heads],
    "ham/figure_structure": [structure],
    "ham/figure_warm_up": [warm_ups],
    "ham/theorem1": [bound],
    "ham/theory": [volumes],
}


def test_every_script_that_judges_is_asked() -> None:
    judging = {
        f"{path.parent.name}/{path.stem}"
        for path in (REPOSITORY / "experiments").glob("*/*.py")
        if re.search(r"\bclaims_frame\(|\bjudged(_panels)?\(", path.read_text())
    }
    assert judging == set(CASES)


@pytest.mark.parametrize("script", CASES)
def test_every_row_can_fail_hold_and_be_level(script: str) -> None:
    module = load(REPOSITORY / "experiments" / f"{script}.py")
    for case in CASES[script]:
        seen: dict[tuple[str, int], set[str]] = {}
        wanted: dict[tuple[str, int], set[str]] = {}
        for draw in range(DRAWS):
            asked: Counter[str] = Counter()
            for row in case(module, np.random.default_rng(draw)):
                # The statistic of a row of several comparisons names the one that decides.
                claim = str(row["claim"])
                asked[claim] += 1
                key = (claim, asked[claim])
                seen.setdefault(key, set()).add(str(row["verdict"]))
                known = {"holds", "fails"} | ({"level"} if row["margin"] == row["margin"] else set())
                wanted.setdefault(key, set()).update(known)
            undecided = {key: wanted[key] - found for key, found in seen.items() if wanted[key] - found}
            if not undecided:
                break
        assert not undecided
