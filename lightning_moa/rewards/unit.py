"""Scores to rewards in [0, 1], as a reward-weighted likelihood wants them: by a map that is fitted once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.rewards.base import check_scores

UNIT_MAPS = ("minmax", "sigmoid", "rank")

LEVELS = 129
"""Levels of the distribution function at which `rank` keeps its knots: at most 2 * LEVELS - 1 = 257 knots."""


@dataclass(frozen=True)
class UnitMap:
    """Maps scores (n, J), higher is better, to rewards (n, J) in [0, 1], each objective by itself.

    HaM asks for rewards in [0, 1] (its equation 3) and leaves open how scores get there. Three ways:

    - "minmax": (s - min) / (max - min) of the fitted rows, cut to [0, 1].
    - "sigmoid": 1 / (1 + exp(-z)) of the z-score z = (s - mean) / std (divisor n). Never cuts.
    - "rank": the share of the fitted rows with a score of at most s, exact at knots, linear between them.
      The smallest fitted score gets its own share, which is above 0; what lies below it gets 0. Every distinct
      score is a knot where there are at most 257; else 257 at most are kept, and a fitted score's reward is
      off by less than 1/128.

    Rewards rise with scores: strictly within the fitted range, as far as floats tell them apart. Maps that
    were fitted alike are equal.

    Raises `UserError` for an unknown kind, or numbers that are no such map.
    """

    kind: str
    """One of `UNIT_MAPS`."""
    objectives: tuple[str, ...]
    """The J objectives, in the order of the scores' columns."""
    fitted: tuple[tuple[float, ...], ...]
    """Of each objective: its smallest and largest score; mean and std for "sigmoid"; all knots for "rank"."""
    heights: tuple[tuple[float, ...], ...]
    """Of each objective: the rewards at those scores; none for "sigmoid"."""

    def __post_init__(self) -> None:
        _check_kind(self.kind)
        if not self.objectives or not len(self.objectives) == len(self.fitted) == len(self.heights):
            raise UserError(f"unit map: numbers for each of {self.objectives} are needed")
        for name, fitted, heights in zip(self.objectives, self.fitted, self.heights, strict=True):
            sound = _is_sigmoid if self.kind == "sigmoid" else _is_curve
            if not (all(map(math.isfinite, fitted + heights)) and sound(fitted, heights)):
                raise UserError(f"unit map: the numbers of '{name}' are no {self.kind} map")

    @classmethod
    def fit(cls, kind: str, scores: np.ndarray, objectives: Sequence[str]) -> UnitMap:
        """The map whose range is that of these rows.

        Args:
            kind: one of `UNIT_MAPS`.
            scores: (n, J) of the rows to train on, n at least 2, higher is better.
            objectives: J names.

        Raises:
            UserError: an unknown kind, another shape, NaN or an infinite score, fewer than 2 rows, or an
                objective without spread.
        """
        _check_kind(kind)
        names = tuple(objectives)
        scores = _checked(scores, names)
        if len(scores) < 2:
            raise UserError(f"{len(scores)} row(s) of scores: at least 2 are needed to fit rewards on")
        # A difference beyond the largest float is infinite, which is what is asked about.
        with np.errstate(over="ignore"):
            spreads = np.ptp(scores, axis=0)
            if kind == "sigmoid":
                # Equal scores can have a tiny std by rounding, tiny differences a std of 0.
                spreads = np.where(spreads > 0, scores.std(axis=0), spreads)
        for name, column, spread in zip(names, scores.T, spreads, strict=True):
            if not 0 < spread < np.inf:
                raise UserError(
                    f"reward '{name}' lies between {column.min()} and {column.max()} in all {len(column)} rows: "
                    f"no spread to map to [0, 1]"
                )
        curves = [_curve(kind, column) for column in scores.T]
        return cls(
            kind,
            names,
            tuple(tuple(fitted.tolist()) for fitted, _ in curves),
            tuple(tuple(heights.tolist()) for _, heights in curves),
        )

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """(n, J) float64 rewards in [0, 1] of scores (n, J). Raises `UserError` for another shape, NaN or inf."""
        scores = _checked(scores, self.objectives)
        rewards = np.empty(scores.shape)
        for j, (fitted, heights) in enumerate(zip(self.fitted, self.heights, strict=True)):
            if self.kind == "sigmoid":
                mean, std = fitted
                # 1 / (1 + exp(-z)) in a form that doesn't overflow far from the mean.
                rewards[:, j] = np.exp(-np.logaddexp(0.0, (mean - scores[:, j]) / std))
            else:
                rewards[:, j] = _interpolate(scores[:, j], np.array(fitted), np.array(heights))
        return rewards

    def clipped(self, scores: np.ndarray) -> np.ndarray:
        """(J,) share of the scores (n, J) outside of the fitted rows' range, and so cut to 0 or 1.

        0 for "sigmoid", which has no ends, and where there are no rows. Raises `UserError` as a call does.
        """
        scores = _checked(scores, self.objectives)
        if self.kind == "sigmoid" or not len(scores):
            return np.zeros(len(self.objectives))
        ends = np.array([(fitted[0], fitted[-1]) for fitted in self.fitted])
        return ((scores < ends[:, 0]) | (scores > ends[:, 1])).mean(axis=0)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and names, from which `from_json` makes an equal map, bit by bit."""
        return {
            "kind": self.kind,
            "objectives": list(self.objectives),
            "fitted": [list(fitted) for fitted in self.fitted],
            "heights": [list(heights) for heights in self.heights],
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> UnitMap:
        """The map that `to_json` wrote. Raises `UserError` for anything else."""
        keys = ("kind", "objectives", "fitted", "heights")
        if not isinstance(saved, Mapping) or set(saved) != set(keys):
            raise UserError(f"unit map: {', '.join(keys)} are needed")
        if not _is_list_of(saved["objectives"], str):
            raise UserError(f"unit map: objectives={saved['objectives']!r} is no list of names")
        for key in ("fitted", "heights"):
            rows = saved[key]
            if not (_is_list_of(rows, list) and all(_is_list_of(row, int, float) for row in rows)):
                raise UserError(f"unit map: {key} must be lists of numbers")
        numbers = {key: tuple(tuple(map(float, row)) for row in saved[key]) for key in ("fitted", "heights")}
        return cls(saved["kind"], tuple(saved["objectives"]), numbers["fitted"], numbers["heights"])


def _curve(kind: str, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is kept of one objective's scores (n,): `UnitMap.fitted` and `UnitMap.heights`."""
    if kind == "sigmoid":
        return np.array([column.mean(), column.std()]), np.empty(0)
    if kind == "minmax":
        return np.array([column.min(), column.max()]), np.array([0.0, 1.0])
    values, counts = np.unique(column, return_counts=True)
    shares = counts.cumsum() / len(column)
    if len(values) <= 2 * LEVELS - 1:
        return values, shares
    # The value that reaches a level, and the one before it: between two knots that leave values out the
    # function then rises by less than a level, also where many rows share a score.
    reached = np.searchsorted(shares, np.linspace(shares[0], 1.0, LEVELS))
    knots = np.unique(np.concatenate([reached, np.maximum(reached - 1, 0)]))
    return values[knots], shares[knots]


def _interpolate(scores: np.ndarray, knots: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """(n,) heights at scores (n,), linear between knots; 0 below the first knot, 1 from the last one on.

    Never falls, not by a rounding either: numpy's own interpolation may, and overflows between close knots.
    """
    inside = np.clip(scores, knots[0], knots[-1])
    left = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
    along = (inside - knots[left]) / (knots[left + 1] - knots[left])
    rising = heights[left] + along * (heights[left + 1] - heights[left])
    return np.where(scores < knots[0], 0.0, np.minimum(rising, heights[left + 1]))


def _checked(scores: np.ndarray, objectives: Sequence[str]) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != len(objectives):
        raise UserError(
            f"scores of shape {scores.shape}: (rows, {len(objectives)}) is needed, a column for each of "
            f"{', '.join(objectives)}"
        )
    return check_scores(scores, objectives)


def _check_kind(kind: str) -> None:
    if kind not in UNIT_MAPS:
        raise UserError(f"unit map {kind!r}: allowed are {', '.join(UNIT_MAPS)}")


def _is_sigmoid(fitted: Sequence[float], heights: Sequence[float]) -> bool:
    return len(fitted) == 2 and fitted[1] > 0 and not heights


def _is_curve(fitted: Sequence[float], heights: Sequence[float]) -> bool:
    """Whether rewards rise with scores, within [0, 1] and up to 1."""
    rise = len(fitted) >= 2 and bool((np.diff(fitted) > 0).all())
    return (
        rise
        and len(fitted) == len(heights)
        and bool((np.diff([0.0, *heights]) >= 0).all())
        and heights[-1] == 1
    )


def _is_list_of(value: object, *kinds: type) -> bool:
    return isinstance(value, list) and all(isinstance(x, kinds) and not isinstance(x, bool) for x in value)
