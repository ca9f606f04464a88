"""Rows of HaM's scripts, judged of made-up tables: cases of test_claims_can_fail.py."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from lightning_moa.figures.cluster_figures import Panel
from lightning_moa.figures.optima import EXACT
from lightning_moa.reporting.claims import Row
from lightning_moa.reporting.cluster_fronts import cluster_points, dominations
from lightning_moa.study.planning import REFERENCE

from .made_up import HEADS, SEEDS, TWO, Rng, alike, made_up, noisy, often, same_or_other, volumes_of
from .scripts import parts, settings
from .test_ham_theory import tables as volume_tables


def made_up_panel(module: Any, rng: Rng, letter: str) -> Panel:
    name = Path(module.__file__).stem
    _, own, methods = parts(module)["abc".index(letter)]
    collected = made_up(rng, methods, module.OBJECTIVES)
    if rng.random() < 0.3:
        points, told = (alike(rng, frame, list(methods)) for frame in (collected.points, collected.responses))
        collected = replace(collected, points=points, responses=told)
    answers = collected.responses[collected.responses["method"] != REFERENCE]
    space = (collected.objectives, collected.space)
    points = cluster_points(answers, *space)
    # Heads that trade one objective for another; at times the last one is below the first, or level with it.
    ends = np.linspace(-1, 1, HEADS)[:, None] * np.where(np.arange(len(module.OBJECTIVES)) % 2, -1, 1)
    ends[-1] = (ends[0] - 0.5, ends[0], ends[-1])[rng.integers(3)]
    heads = pd.DataFrame(
        {"seed": seed}
        | {f"loglik_{i}": value for i, value in enumerate(end + 0.001 * rng.normal(size=end.shape))}
        for seed, end in product(SEEDS, ends)
    )
    artefact, wins = SimpleNamespace(name=name, config=own), dominations(points, *space)
    return Panel(letter, artefact, collected, volumes_of(collected), points, points, wins, heads, {})


def panels(module: Any, rng: Rng) -> list[Row]:
    return module.judge_claims([made_up_panel(module, rng, letter) for letter in "abc"])


def warm_ups(module: Any, rng: Rng) -> list[Row]:
    names = ("ham_0", "ham_50", module.FRONTS, "sca_heads", "sca")
    heights = {"margin": 0.0, "hypervolume": 0.5}
    found = {key: noisy(rng, often(rng, heights[key[1]], -1, 1)) for key in product(names, heights)}
    rows = pd.DataFrame(
        {"method": name, "seed": seed, **{c: found[name, c][seed] for c in heights}}
        for name, seed in product(names, SEEDS)
    )
    return module.judge_panel(module.Panel("a", None, SimpleNamespace(space="gold"), None, rows))


def radar(module: Any, rng: Rng) -> list[Row]:
    panels = [made_up_panel(module, rng, letter) for letter in "abc"]
    return module.judge_claims(panels, [module.in_units(panel) for panel in panels])


def heads(module: Any, rng: Rng) -> list[Row]:
    _config, _ = settings(module)
    rows, numbers = [], [1, 4, 8]
    for letter, title in module.TITLES.items():
        names = [f"head {k}" for k in range(1, 6)] if letter != "c" else [module.label_of(k) for k in numbers]
        collected = made_up(rng, dict.fromkeys(names, module.METHODS["ham_k1"]), TWO, step=0.5)
        answers = collected.responses[collected.responses["method"] != REFERENCE]
        points = cluster_points(answers, collected.objectives, "gold")
        if letter != "c" and rng.random() < 0.3:
            # What a head has of one objective says nothing of the other.
            place = points["method"].str[-1].astype(int) - 3
            apart = place**2 + 0.003 * rng.normal(size=len(points))
            points = points.assign(gold_helpful=place, gold_harmless=apart)
        panel = module.Panel(letter, title, None, collected, answers, points, {})
        if letter != "c":
            rows += module.judge_heads(panel)
            continue
        columns = {"hypervolume": 0.5, "any_four": 0.5, "margin": 0.0}
        found = {key: noisy(rng, often(rng, columns[key[1]], -1, 1)) for key in product(numbers, columns)}
        growth = pd.DataFrame(
            {"k": k, "seed": seed, **{name: found[k, name][seed] for name in columns}}
            for k, seed in product(numbers, SEEDS)
        )
        rows += module.judge_growth(panel, growth)
    return rows


def structure(module: Any, rng: Rng) -> list[Row]:
    config, _ = settings(module, "powers=[4]")
    names, methods, rows = [f"gold_{name}" for name in module.OBJECTIVES], {}, []
    for seed, weighting in product(SEEDS, ("per_objective", "scalarised", EXACT)):
        for weight in (0.0, 0.5, 1.0):
            row = {"weighting": weighting, "power": np.nan if weighting == EXACT else 4.0, "seed": seed}
            row |= {"lambda_harmless": weight, "lambda_helpful": 1 - weight, "kl": 0.1}
            rows.append(row)
    computed = pd.DataFrame(rows)
    shifts = same_or_other(rng, [*computed["weighting"].unique()], (3,))
    moved = np.stack([shifts[name] for name in computed["weighting"]])
    moved += 0.003 * rng.normal(size=moved.shape)
    computed[names] = moved[:, :2] + computed[["lambda_harmless", "lambda_helpful"]].to_numpy()
    computed[module.THIRD] = moved[:, 2]
    for _, _, own in module.studies(config):
        methods |= own
    collected = made_up(rng, methods, module.OBJECTIVES)
    ways = {name: noisy(rng, often(rng, 0.5, 0, 1)) for name in methods}
    modes = pd.DataFrame(
        {"method": name, "seed": seed, module.THIRD: value}
        for name, values in ways.items()
        for seed, value in values.items()
    )
    trained = module.trained_claims(config, volumes_of(collected), modes)
    return [*module.computed_claims(config, computed), *trained]


def bound(module: Any, rng: Rng) -> list[Row]:
    loose = noisy(rng, 10.0 ** often(rng, -1, -3, 0), 1e-4)
    errors = pd.DataFrame({"seed": seed, "quantile": value, "bound": 1.0} for seed, value in loose.items())
    return module.judge_claims(errors, noisy(rng, often(rng, 1, 0, 2)), 0.05)


def volumes(module: Any, rng: Rng) -> list[Row]:
    return module.judge_claims(*volume_tables(int(rng.integers(3))))
