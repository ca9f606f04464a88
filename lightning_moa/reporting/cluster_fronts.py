"""Fronts as HaM compares them (arXiv 2412.05469, section 4): a point is the mean reward of one policy on one cluster of
prompts, a method's front the best of its points, and A dominates B where it dominates every point of B's front.

All of it per method and seed, in one space (`gold` or `reward`), for any number of objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, permutations

import numpy as np
import pandas as pd

from lightning_moa import pareto
from lightning_moa.errors import UserError
from lightning_moa.reporting.claims import Row, judge_several
from lightning_moa.reporting.fronts import by_seed
from lightning_moa.reporting.styles import styles_of


def cluster_points(responses: pd.DataFrame, objectives: Sequence[str], space: str) -> pd.DataFrame:
    """The mean reward of each policy on each cluster.

    Args:
        responses: one row per response: `method`, `seed`, `policy`, `lambda_<objective>` (empty where a method knows no
            preference), `cluster` and `<space>_<objective>`; each policy counts with the last of its `step`s, where
            there are any.
        objectives: in the order of the result's columns.
        space: `gold` or `reward`.

    Returns:
        One row per method, seed, policy and cluster, methods and policies in the order of the responses, clusters
        ascending: `method`, `seed`, `policy`, `lambda_*`, `cluster`, the means `<space>_<objective>` (higher is
        better), `n` responses, and `front`: whether no other point of that method and seed dominates this one.

    Raises:
        UserError: a missing column, no rows, or a reward that is not finite.
    """
    return _points(responses, objectives, space, ["cluster"])


def policy_means(responses: pd.DataFrame, objectives: Sequence[str], space: str) -> pd.DataFrame:
    """As `cluster_points`, without clusters: the mean of each policy over all its responses, none of them weighted."""
    return _points(responses, objectives, space, [])


def front_means(points: pd.DataFrame, objectives: Sequence[str], space: str) -> pd.DataFrame:
    """The mean of the points on each front, as HaM's radar charts show it.

    Returns:
        One row per method and seed: `method`, `seed`, `<space>_<objective>`, and `n` points on the front.
    """
    columns = _columns(objectives, space)
    _check(points, ["method", "seed", "front", *columns], "points")
    front = points[points["front"]].groupby(["method", "seed"], sort=False)
    return front[columns].mean().assign(n=front.size()).reset_index()


def dominations(points: pd.DataFrame, objectives: Sequence[str], space: str) -> pd.DataFrame:
    """Who dominates whom, seed by seed.

    Args:
        points: from `cluster_points` or `policy_means`.
        objectives: all that count.
        space: of the points.

    Returns:
        One row per ordered pair of methods and seed: `winner`, `loser`, `seed`, `dominates` (`pareto.dominates` of
        their fronts) and `epsilon` = `pareto.additive_epsilon(winner, loser)`: by how much, in the rewards' units, the
        winner's front would have to rise in every objective to dominate; at most 0 where it does.

    Raises:
        UserError: a missing column, or methods with other seeds.
    """
    columns = _columns(objectives, space)
    _check(points, ["method", "seed", "front", *columns], "points")
    fronts = {
        str(method): {seed: mine[columns].to_numpy(np.float64) for seed, mine in by_seed(rows)}
        for method, rows in points[points["front"]].groupby("method", sort=False)
    }
    found = []
    for winner, loser in permutations(fronts, 2):
        if set(fronts[winner]) != set(fronts[loser]):
            raise UserError(
                f"points: seeds of {winner!r} {sorted(fronts[winner])} and of {loser!r} {sorted(fronts[loser])} differ;"
                " allowed are the same for all methods"
            )
        for seed, front in fronts[winner].items():
            other = fronts[loser][seed]
            pair = {"winner": winner, "loser": loser, "seed": seed}
            wins = pareto.dominates(front, other)
            found.append({**pair, "dominates": wins, "epsilon": pareto.additive_epsilon(front, other)})
    return pd.DataFrame(found, columns=["winner", "loser", "seed", "dominates", "epsilon"])


def domination_rows(
    dominations: pd.DataFrame,
    claims: Sequence[tuple[str, Sequence[str], bool]],
    where: str,
    prefix: str,
    margin: float | None = None,
) -> list[Row]:
    """A paper's statements on who dominates whom, judged by the additive epsilon over seeds.

    Its sign is domination's but for exact ties: a front that is equalled throughout counts as dominated.

    Args:
        dominations: from `dominations`.
        claims: (winner, losers, whether the paper says that the winner dominates, each of them).
        where: the place in the paper.
        prefix: begins each claim, such as the task; may be empty.
        margin: of epsilons, as in `judge`.

    Returns:
        A row of CLAIMS each: epsilon of winner over loser `<=` 0 for "dominates", `>` 0 for "doesn't".

    Raises:
        UserError: a pair that `dominations` doesn't have.
    """
    rows = []
    for winner, losers, holds in claims:
        (wins, *lose), each = _epsilons(dominations, [(winner, loser) for loser in losers])
        says, relation = ("dominates", "<=") if holds else ("doesn't dominate", ">")
        claim = _after(prefix, f"{wins} {says} {' and '.join(lose)}")
        rows.append(judge_several(claim, where, EPSILON, each, relation, 0, margin=margin))
    return rows


def crossing_row(
    dominations: pd.DataFrame, methods: Sequence[str], where: str, prefix: str, margin: float | None = None
) -> Row:
    """A paper's statement that none of several fronts dominates another one, which takes every ordered pair of them.

    Args:
        dominations, where, prefix, margin: as of `domination_rows`.
        methods: two or more names.

    Raises:
        UserError: a pair that `dominations` doesn't have.
    """
    labels, each = _epsilons(dominations, list(permutations(methods, 2)))
    claim = f"of {', '.join(labels[:-1])} and {labels[-1]} none dominates another"
    return judge_several(_after(prefix, claim), where, EPSILON, each, ">", 0, margin=margin)


EPSILON = "additive epsilon of"


def _epsilons(
    dominations: pd.DataFrame, pairs: Sequence[tuple[str, str]]
) -> tuple[list[str], dict[str, dict[int, float]]]:
    """The labels of all in `pairs`, and what is judged of each pair by seed, under words that follow EPSILON."""
    labels = {name: style.label for name, style in styles_of(dominations["winner"]).items()}
    each = {}
    for winner, loser in pairs:
        mine = dominations[(dominations["winner"] == winner) & (dominations["loser"] == loser)]
        if mine.empty:
            raise UserError(
                f"domination: no pair {winner!r}, {loser!r}; allowed are two of {', '.join(labels) or 'no methods'}"
            )
        values = {int(seed): float(value) for seed, value in zip(mine["seed"], mine["epsilon"], strict=True)}
        each[f"{labels[winner]}'s front over {labels[loser]}'s"] = values
    return [labels[name] for name in dict.fromkeys(chain(*pairs))], each


def _after(prefix: str, claim: str) -> str:
    return f"{prefix}: {claim}" if prefix else claim


def _points(
    responses: pd.DataFrame, objectives: Sequence[str], space: str, within: list[str]
) -> pd.DataFrame:
    columns, weights = _columns(objectives, space), [f"lambda_{name}" for name in objectives]
    policy = ["method", "seed", "policy", *weights]
    _check(responses, [*policy, *within, *columns], "responses")
    finite = np.isfinite(responses[columns].to_numpy(np.float64)).all(axis=1)
    if not finite.all():
        row = responses[~finite].iloc[0]
        raise UserError(
            f"responses: a {space} reward of {row['method']!r}, seed {row['seed']} is not finite; allowed are finite"
            " numbers"
        )
    if "step" in responses:
        steps = responses.groupby(policy, dropna=False, sort=False)["step"]
        responses = responses[responses["step"] == steps.transform("max")]
    groups = responses.groupby([*policy, *within], dropna=False, sort=False)
    points = groups[columns].mean().assign(n=groups.size()).reset_index()
    order = points.groupby(policy, dropna=False, sort=False).ngroup()
    points = points.assign(place=order).sort_values(["place", *within], kind="stable", ignore_index=True)
    return points.drop(columns="place").assign(front=_on_front(points, columns))


def _on_front(points: pd.DataFrame, columns: list[str]) -> pd.Series:
    front = pd.Series(False, index=points.index)
    for _, rows in points.groupby(["method", "seed"], sort=False):
        front[rows.index] = pareto.is_non_dominated(rows[columns].to_numpy(np.float64))
    return front


def _columns(objectives: Sequence[str], space: str) -> list[str]:
    if not objectives:
        raise UserError("objectives: none; allowed is at least one")
    return [f"{space}_{name}" for name in objectives]


def _check(frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [name for name in columns if name not in frame]
    if missing:
        raise UserError(f"{what}: missing column {', '.join(missing)}; needed are {', '.join(columns)}")
    if frame.empty:
        raise UserError(f"{what}: no rows; allowed is at least one")
