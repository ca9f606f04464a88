"""Statistics of a method, one value per seed: what claims are judged by. All return {seed: value}.

None knows how many objectives there are or what they are called. Rows are each policy's last step; spaces are
`gold`, `reward` and `accuracy` (hand in an ACCURACIES table for the last).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lightning_moa import pareto
from lightning_moa.errors import UserError
from lightning_moa.reporting.fronts import (
    by_seed,
    mean_regret_of,
    method_rows,
    objectives_of,
    preferences_of,
    rows_in,
    values_of,
)

PerSeed = dict[int, float]
SOLVED = 1e-6
"""What a linear programme's solver rounds by and more."""


def metric(metrics: pd.DataFrame, column: str, method: str, space: str) -> PerSeed:
    """A column of a METRICS table, NaN where empty; UserError if the method isn't there."""
    mine = ((metrics["method"] == method) & (metrics["space"] == space)).to_numpy()
    if not mine.any():
        known = ", ".join(dict.fromkeys(metrics["method"]))
        raise UserError(f"metrics: no method {method!r} in space {space!r}; there are {known}")
    values = metrics[column].to_numpy(np.float64, na_value=np.nan)[mine]
    return {int(seed): float(value) for seed, value in zip(metrics["seed"][mine], values, strict=True)}


def paired(values: Mapping[int, float], others: Mapping[int, float], relative: bool = False) -> PerSeed:
    """Differences seed by seed: what two methods share through their seed (data, start) cancels out.

    Args:
        values: seed -> value.
        others: seed -> value subtracted.
        relative: divide by the absolute value of `others`.

    Raises:
        UserError: the seeds differ.
    """
    if set(values) != set(others):
        raise UserError(f"seeds {sorted(values)} and {sorted(others)} differ; allowed are the same for both")
    return {s: (values[s] - others[s]) / (abs(others[s]) if relative else 1.0) for s in sorted(values)}


def metric_difference(
    metrics: pd.DataFrame, column: str, method: str, other: str, space: str, relative: bool = False
) -> PerSeed:
    """`method` minus `other` in a column of a METRICS table, paired by seed.

    Raises:
        UserError: one of them isn't there, or has an empty cell.
    """
    both = {name: metric(metrics, column, name, space) for name in (method, other)}
    for name, each in both.items():
        _check_known(each, f"{column} of {name!r}")
    return paired(both[method], both[other], relative)


def largest_fall(points: pd.DataFrame, method: str, objective: str, space: str) -> PerSeed:
    """Largest fall of an objective between neighbouring weights lambda, as a share of its range: lower is better.

    Below 0 where every step rises, by the least of them: on an even grid of n + 1 weights no lower than -1 / n, a
    straight line's. 1 and more where the objective doesn't follow its weight at all, and 1 where all its values are
    equal. Not a correlation of ranks, which is 1 in every seed as soon as steps rise, and then tells nothing of noise.
    Policies with an equal weight (m > 2) are averaged first.
    """
    result = {}
    for seed, (weights, values) in _along(points, method, objective, space).items():
        levels = np.array([values[weights == weight].mean() for weight in np.unique(weights)])
        span = np.ptp(levels)
        result[seed] = float(-np.diff(levels).min() / span) if span else 1.0
    return result


def hull_depth(points: pd.DataFrame, method: str, space: str) -> PerSeed:
    """How far the front sags below its own convex hull: 0 for a front that bulges outward everywhere.

    For each non-dominated point p the largest t for which a mixture of the front's points is at least p + t
    in every objective, objectives scaled to the front's range; the largest such t. Sampling noise alone makes
    it positive, so compare with a bound such as 0.05 rather than with 0. Lower is better. A front of two
    points or fewer has depth 0: read the number of non-dominated points beside it.
    """
    return {
        seed: _depth(values_of(rows, space)) for seed, rows in by_seed(method_rows(points, method, space))
    }


def scalarised_difference(
    points: pd.DataFrame, method: str, other: str, space: str, lowest_weight: float = 0.0
) -> PerSeed:
    """Mean over shared preferences of <lambda, value of method - value of other>, paired by seed.

    Args:
        points: a POINTS or ACCURACIES table.
        method: the method that should be better.
        other: the method it is compared with.
        space: where the values are taken.
        lowest_weight: only preferences whose weights are all at least this: above 0, the interior of the
            simplex alone.

    Raises:
        UserError: other seeds, or no shared preference.
    """
    mine, theirs = (_by_preference(points, name, space, lowest_weight) for name in (method, other))
    if set(mine) != set(theirs):
        raise UserError(f"seeds of {method!r} and {other!r} differ; allowed are the same for both")
    result = {}
    for seed in mine:
        shared = sorted(set(mine[seed]) & set(theirs[seed]))
        if not shared:
            raise UserError(f"{method!r} and {other!r} share no preference with weights >= {lowest_weight}")
        gains = [np.dot(key, mine[seed][key] - theirs[seed][key]) for key in shared]
        result[seed] = float(np.mean(gains))
    return result


def mean_regret(points: pd.DataFrame, regret: ArrayLike, method: str, lowest_weight: float = 0.0) -> PerSeed:
    """Mean regret of a method's policies over the preferences it was asked for; lower is better, 0 is best.

    Args:
        points: a POINTS table.
        regret: (n,) of each of its rows, in units of reward.
        method: must know its preferences.
        lowest_weight: only preferences whose weights are all at least this.

    Raises:
        UserError: no such method, or none of its preferences is left, or a policy whose KL is no number.
    """
    rows = method_rows(points.assign(regret=np.asarray(regret, dtype=np.float64)), method, "gold")
    kept = rows.assign(lowest=preferences_of(rows).min(axis=1)).query("lowest >= @lowest_weight - 1e-9")
    if kept.empty:
        raise UserError(
            f"{method!r} has no preference with all weights >= {lowest_weight}; allowed is a finer grid"
        )
    found = {
        seed: mean_regret_of(group["regret"].to_numpy(), group["kl"].to_numpy(np.float64))
        for seed, group in by_seed(kept)
    }
    _check_known(found, f"regret of {method!r}")
    return found


def _check_known(values: PerSeed, what: str) -> None:
    """UserError for a seed of which nothing is known: a policy was measured to be no number there."""
    for seed, value in values.items():
        if np.isnan(value):
            raise UserError(f"{what}: there is none for seed {seed}, of which a policy has no finite number")


def front_by_step(points: pd.DataFrame, method: str, space: str, reference: ArrayLike) -> pd.DataFrame:
    """How a method's front grew while it was trained.

    Args:
        points: a POINTS table with rows of several steps.
        method: whose.
        space: where its values are taken.
        reference: (m,) hypervolume's corner.

    Returns:
        A row for each seed and step, in order: `seed`, `step`, `hypervolume`, and `dominated_by`, the mean over its
        points of how far each could rise, in every objective at once, while another dominates it: 0 where none is.
    """
    mine = rows_in(points[points["method"] == method], space)
    corner = np.asarray(reference, dtype=np.float64)
    found = []
    for (seed, step), rows in mine.groupby(["seed", "step"], sort=True):
        values = values_of(rows, space)
        found.append(
            {
                "seed": seed,
                "step": step,
                "hypervolume": pareto.hypervolume(values, corner),
                "dominated_by": float((values[None] - values[:, None]).min(axis=2).max(axis=1).mean()),
            }
        )
    if not found:
        raise UserError(f"points: no method {method!r} with values in space {space!r}")
    return pd.DataFrame(found)


def last_minus_first(growth: pd.DataFrame, column: str) -> PerSeed:
    """A column of `front_by_step` at a seed's last step minus that at its first."""
    return {seed: float(rows[column].iloc[-1] - rows[column].iloc[0]) for seed, rows in by_seed(growth)}


def domination_gap(points: pd.DataFrame, method: str, other: str, space: str) -> PerSeed:
    """By how much a method's front would have to rise, in every objective at once, to dominate the other method's
    (`pareto.additive_epsilon`); at most 0 where it does, in HaM's sense."""
    theirs = dict(by_seed(method_rows(points, other, space)))
    result = {}
    for seed, rows in by_seed(method_rows(points, method, space)):
        if seed not in theirs:
            raise UserError(f"{other!r} has no seed {seed}; allowed are the seeds of {method!r}")
        result[seed] = pareto.additive_epsilon(values_of(rows, space), values_of(theirs[seed], space))
    return result


def best_value(points: pd.DataFrame, method: str, objective: str, space: str) -> PerSeed:
    """The highest value of an objective that any of the method's policies reaches."""
    rows = method_rows(points, method, space)
    return {seed: float(group[f"{space}_{objective}"].max()) for seed, group in by_seed(rows)}


def _along(
    points: pd.DataFrame, method: str, objective: str, space: str
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    rows = method_rows(points, method, space)
    if objective not in objectives_of(points):
        raise UserError(f"points: no objective {objective!r}; there are {', '.join(objectives_of(points))}")
    if rows[f"lambda_{objective}"].isna().any():
        raise UserError(
            f"points: {method!r} knows no preference; allowed are methods with lambda_{objective}"
        )
    pair = (f"lambda_{objective}", f"{space}_{objective}")
    return {seed: (group[pair[0]].to_numpy(), group[pair[1]].to_numpy()) for seed, group in by_seed(rows)}


def _by_preference(
    points: pd.DataFrame, method: str, space: str, lowest: float
) -> dict[int, dict[tuple[float, ...], np.ndarray]]:
    result = {}
    for seed, rows in by_seed(method_rows(points, method, space)):
        pairs = zip(preferences_of(rows), values_of(rows, space), strict=True)
        # NaN (no preference known) is never >= lowest; rounding lets 0.3 meet 1 - 0.7.
        result[seed] = {
            tuple(weights.round(9).tolist()): value
            for weights, value in pairs
            if (weights >= lowest - 1e-9).all()
        }
    return result


def _depth(values: np.ndarray) -> float:
    from scipy.optimize import linprog

    front = values[pareto.is_non_dominated(values)]
    span = np.ptp(front, axis=0)
    front = (front - front.min(axis=0)) / np.where(span > 0, span, 1.0)
    n, m = front.shape
    # Variables: n mixture weights and t. Maximise t subject to p + t <= mixture, weights on the simplex.
    upper = np.hstack([-front.T, np.ones((m, 1))])
    simplex = np.append(np.ones(n), 0.0)[None]
    cost = np.append(np.zeros(n), -1.0)
    depths = [linprog(cost, A_ub=upper, b_ub=-p, A_eq=simplex, b_eq=[1.0]).x[-1] for p in front]
    deepest = float(max(depths))
    return deepest if deepest > SOLVED else 0.0
