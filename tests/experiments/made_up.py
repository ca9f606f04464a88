"""Made-up results of studies, in which anything may be true: what claims are asked of to see that they can fail.

In each draw a method's rewards follow from numbers of its own: a level, a slope over its preference's weight, a bend
and a trend over steps. Two methods often have the same numbers, so that they are level. Seeds differ little, so that
nearly every claim is decided, one way or the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from lightning_moa import pareto
from lightning_moa.deployments import Alone, EachHead, InPrompt
from lightning_moa.methods.products import Product
from lightning_moa.pareto import preference_grid
from lightning_moa.reporting.metrics import metrics_frame
from lightning_moa.reporting.schema import POINTS
from lightning_moa.study.collect import Collected, Exact
from lightning_moa.study.planning import REFERENCE
from lightning_moa.study.results import Tables, regret_of

Rng = np.random.Generator
TWO = ("helpful", "harmless")
SEEDS = (0, 1, 2)
NOISE = 0.003
STEPS = (1, 4)
HEADS = 5
PROMPTS = 3


def same_or_other(
    rng: np.random.Generator, names: Sequence[str], size: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Numbers of each name, from a few that are drawn: some names have the same."""
    pool = rng.normal(size=(rng.choice([3, 2 * len(names)]), *size)) * rng.choice([0.3, 3.0])
    return {name: pool[rng.integers(len(pool))] for name in names}


def preferences_of(method: Product | None, m: int, step: float) -> np.ndarray:
    """(n, m) of a method's measured policies, NaN where they know none."""
    if method is None or isinstance(method.deployment, Alone):
        return np.full((1, m), np.nan)
    if isinstance(method.deployment, EachHead):
        return np.full((HEADS, m), np.nan)
    if isinstance(method.deployment, InPrompt):
        return np.asarray(method.deployment.preferences)
    return preference_grid(m, step)


def values_at(numbers: np.ndarray, weights: np.ndarray, step: int) -> np.ndarray:
    """(n, m) rewards at weights (n, m), or of n policies that know none: along a line through their middle."""
    n = len(weights)
    places = np.linspace(0, 1, n)[:, None] * np.ones(weights.shape) if np.isnan(weights).any() else weights
    level, slope, bend, trend, turn = np.moveaxis(numbers, 1, 0)
    left = 1 - step / STEPS[-1]
    return level + (slope + turn * left) * places + 4 * bend * places * (1 - places) - trend * left


def made_up(
    rng: np.random.Generator,
    methods: Mapping[str, Product],
    objectives: Sequence[str],
    step: float = 0.25,
    snapshots: Sequence[str] = (),
    spaces: Sequence[str] = ("gold",),
) -> Collected:
    """A study's rows, with values in `spaces`; methods in `snapshots` at all of STEPS, others at the last."""
    m = len(objectives)
    everyone: dict[str, Product | None] = {**methods, REFERENCE: None}
    numbers = same_or_other(rng, list(everyone), (m, 5))
    if rng.random() < 0.7:
        # Objectives that are at odds: each rises with its own weight.
        numbers = {name: each * [1, 0, 1, 1, 1] + 5 * np.eye(5)[1] for name, each in numbers.items()}
    if rng.random() < 0.3:
        # Fronts that bulge, so that an objective falls by a tenth of its range: on grids of a half, a quarter, and a
        # fifth without its ends.
        bend = 5 * rng.choice([11 / 18, 13 / 27, 5 / 6])
        numbers = {name: each * [1, 0, 0, 1, 1] + [0, 5, bend, 0, 0] for name, each in numbers.items()}
    elif rng.random() < 0.2:
        # Objectives that end where they began.
        numbers = {name: each * [1, 0, 1, 1, 1] for name, each in numbers.items()}
    if rng.random() < 0.4:
        # Far apart, in all objectives at once: fronts that dominate others.
        numbers = {name: each + 20 * rng.normal() * np.eye(5)[0] for name, each in numbers.items()}
    spread = same_or_other(rng, list(everyone), (1,))
    keys: list[tuple[str, int, int, str]] = []
    asked, means, apart = [], [], []
    for (name, method), seed in product(everyone.items(), SEEDS):
        weights = preferences_of(method, m, step)
        for at in STEPS if name in snapshots else STEPS[-1:]:
            keys += [(name, seed, at, f"head {place}") for place in range(len(weights))]
            asked.append(weights)
            means.append(values_at(numbers[name], weights, at) + NOISE * rng.normal(size=weights.shape))
            apart.append(np.repeat(spread[name], len(weights)))
    columns = ["method", "seed", "step", "policy"]
    head = pd.DataFrame(keys, columns=columns)
    head[[f"lambda_{name}" for name in objectives]] = np.concatenate(asked)
    values = np.concatenate(means)
    points = head.assign(kl=0.1, n=PROMPTS)
    points[[f"{space}_{name}" for space in ("reward", "gold") for name in objectives]] = np.nan
    for space in spaces:
        points[[f"{space}_{name}" for name in objectives]] = values
    # Clusters of prompts spread a policy's points; the mean over prompts stays.
    told = pd.concat([head] * PROMPTS, ignore_index=True).assign(sample=0, tokens=3, log_ratio=0.1)
    told["cluster"] = told["prompt_index"] = np.repeat(np.arange(PROMPTS), len(head))
    shift = np.concatenate(apart)[:, None]
    told[[f"gold_{name}" for name in objectives]] = np.concatenate(
        [values + (prompt - 1) * shift for prompt in range(PROMPTS)]
    )
    names = [f"accuracy_{name}" for name in objectives if "accuracy" in spaces]
    knows = points[f"lambda_{objectives[0]}"].notna()
    accuracies = points[knows][[*head.columns, *names, "n"]].reset_index(drop=True)
    return Collected(
        tuple(objectives),
        points.drop(columns=names),
        accuracies if names else pd.DataFrame(),
        told,
        timings=pd.DataFrame(),
        costs=costs_of(rng, methods),
        exact=exact_of(rng, objectives, step),
        data_lines=[],
        rewards={},
        policies={},
    )


def costs_of(rng: np.random.Generator, methods: Mapping[str, Product]) -> pd.DataFrame:
    sizes = {name: rng.integers(1, 5) for name in methods}
    rows = [
        {"method": name, "seed": seed, "trained_models": 1, "trained_parameters": size, "training_steps": 4}
        for (name, size), seed in product(sizes.items(), SEEDS)
    ]
    return pd.DataFrame(rows)


def exact_of(rng: np.random.Generator, objectives: Sequence[str], step: float) -> Exact:
    """Optima with gold rewards of any size: claims may not lean on theirs being the best."""
    grid = preference_grid(len(objectives), step)
    frame = pd.DataFrame(grid, columns=[f"lambda_{name}" for name in objectives])
    values = 3 * rng.normal(size=(1, len(objectives))) + grid
    frame[[f"gold_{name}" for name in objectives]] = values
    frame = frame.assign(kl=0.1, value=(grid * values).sum(axis=1) + rng.uniform(0, 3))
    return Exact(0.1, frame, frame)


def tables_of(paper: str, name: str, collected: Collected) -> Tables:
    """With the reference point of the rule alone."""
    named = {"paper": paper, "artefact": name, "scale": "smoke"}
    points, accuracies = collected.points.assign(**named), collected.accuracies.assign(**named)
    points = POINTS.check(points, "points")
    exact, gold = collected.exact, [f"gold_{name}" for name in collected.objectives]
    assert exact is not None
    regret = regret_of(points, collected)
    known = accuracies if len(accuracies) else None
    fronts = {"gold": exact.front[gold].to_numpy()}
    metrics = metrics_frame(points, known, fronts=fronts, regret=regret, costs=collected.costs)
    return Tables(points, accuracies, metrics, regret, {})


def volumes_of(collected: Collected) -> Tables:
    """As `tables_of`, with hypervolumes in gold rewards alone."""
    points, gold = collected.points, [f"gold_{name}" for name in collected.objectives]
    corner = pareto.default_reference(points[gold])
    rows = [
        {"method": name, "seed": seed, "space": "gold", "hypervolume": pareto.hypervolume(mine[gold], corner)}
        for (name, seed), mine in points.groupby(["method", "seed"])
    ]
    return Tables(points, collected.accuracies, pd.DataFrame(rows), np.full(len(points), np.nan), {})


def noisy(rng: np.random.Generator, centre: float, scale: float = NOISE) -> dict[int, float]:
    """seed -> a number near the centre."""
    return {seed: centre + scale * float(rng.normal()) for seed in SEEDS}


def often(rng: np.random.Generator, at: float, low: float, high: float) -> float:
    """A number between low and high that is `at` in four draws of ten: at a bound, or level with another."""
    return at if rng.random() < 0.4 else float(rng.uniform(low, high))


def alike(rng: np.random.Generator, frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Points or responses in which all of these methods have the first one's gold rewards, but for a seed's noise."""
    mine, rows = frame[frame["method"] == names[0]], [frame[frame["method"] == REFERENCE]]
    gold = [name for name in frame.columns if name.startswith("gold_")]
    for name in names:
        noise = mine["seed"].map(noisy(rng, 0.0, 0.005)).to_numpy()
        rows.append(mine.assign(method=name, **{column: mine[column] + noise for column in gold}))
    return pd.concat(rows, ignore_index=True)
