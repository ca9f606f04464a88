"""How often one policy's responses are preferred to another's, by any judge of pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.pareto import check_preference
from lightning_moa.rewards import Rewards, check_scores
from lightning_moa.rewards.joined import about

EQUAL = 1e-12
"""Means of prompts that are closer than this differ by rounding alone."""


class Judge(Protocol):
    """Says which of two responses to a prompt is better. Any function of this form is one."""

    def __call__(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """(n,) in [0, 1]: 1 where the first response is better, 0 where the second is, 0.5 for a tie.

        NaN where the judge gave no usable verdict.
        """
        ...


class RewardJudge:
    """Prefers the response with the larger reward: a gold rule or a reward model as the judge.

    A response that stands in several pairs is scored once; two equal texts are always a tie.

    Args:
        rewards: m objectives.
        preference: the name of one objective, or (m,) on the simplex, by which scores are weighted and added.
        tolerance: scores that differ by no more are a tie, in units of reward.

    Raises:
        UserError: an unknown objective, a preference off the simplex, or a tolerance that is negative or not finite.
    """

    def __init__(self, rewards: Rewards, preference: ArrayLike | str, tolerance: float = 1e-6) -> None:
        self.rewards = rewards
        self.preference = _weights(preference, rewards.objectives)
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise UserError(f"tolerance={tolerance}: must be a finite number of at least 0")
        self.tolerance = tolerance

    def __call__(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """(n,) 1, 0 or 0.5. Raises `UserError` for lengths that disagree or a score that is not finite."""
        check_pairs(prompts, first, second)
        texts = [*zip(prompts, first, strict=True), *zip(prompts, second, strict=True)]
        place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        if not place:
            return np.empty(0)
        prompts_of, answered = map(list, zip(*place, strict=True))
        scores = (
            check_scores(self.rewards.scores(prompts_of, answered), self.rewards.objectives) @ self.preference
        )
        ours, theirs = scores[[place[text] for text in texts]].reshape(2, -1)
        margin = ours - theirs
        return np.where(abs(margin) <= self.tolerance, 0.5, (margin > 0).astype(np.float64))

    @property
    def about(self) -> dict[str, object]:
        """What a record of a run should say of the judge."""
        weights = dict(zip(self.rewards.objectives, self.preference.tolist(), strict=True))
        return {
            "judge": "rewards",
            "preference": weights,
            "tolerance": self.tolerance,
            "rewards": about(self.rewards),
        }


@dataclass(frozen=True)
class WinRate:
    """How often the first policy is preferred; see `win_rate`."""

    rate: float
    """In [0, 1]; above 0.5 the first policy is preferred."""
    low: float
    high: float
    """Ends of the interval, in [0, 1]."""
    n: int
    """Pairs with a usable verdict in both orders."""
    prompts: int
    """Different prompts among them: the interval's sample size."""
    ties: int
    """Pairs of value 0.5: called a tie twice, or won by the same place in both orders."""
    unusable: int
    """Pairs left out, since a verdict was missing in one order or in both."""
    position_bias: float
    """In [-1, 1]: 0 for a judge that does not see the order, 1 if the response shown first always wins."""


def win_rate(
    judge: Judge,
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    *,
    confidence: float = 0.95,
) -> WinRate:
    """Share of pairs that the first policy wins, a tie counting one half, with an interval.

    Every pair is judged in both orders, in one call with 2n pairs. With v in [0, 1] for "the response shown first
    is better", a pair's value is (v(first, second) + 1 - v(second, first)) / 2, so that a judge's liking for a
    place cancels out; its mean size is `position_bias`, mean(v(first, second) + v(second, first) - 1).
    Swapping the policies gives exactly 1 - rate, and the mirrored interval, from any judge that answers the same
    question the same way.

    The interval is for the rate over new prompts. Pairs with the same prompt are not independent, so the standard
    error is that of a mean with clusters: with the sums s_g of the residuals of each of G prompts,
    SE^2 = G / (G - 1) sum_g s_g^2 / n^2 (where each prompt has equally many pairs, the standard error of the
    prompts' means). From it comes Wilson's score interval with an effective sample size, as surveys use it: the p
    with (rate - p)^2 <= t^2 p (1 - p) / n', n' = rate (1 - rate) / SE^2, and t Student's quantile with G - 1
    degrees of freedom. It stays within [0, 1], and covers rates near 0 and 1 more often than rate -+ t SE, to
    which it tends for many prompts.

    Where there is one prompt, or all prompts' means are equal, SE is unknown or zero, and n' = G with the normal
    quantile z stands in: Wilson's interval of G trials, G wins giving [G / (G + z^2), 1]. The variance of a value
    in [0, 1] with mean p is at most p (1 - p), so this may be wide, not narrow.

    Args:
        judge: see `Judge`.
        prompts: (n,) texts; may repeat.
        first: (n,) the first policy's responses.
        second: (n,) the second policy's responses to the same prompts.
        confidence: of the interval, in (0, 1).

    Raises:
        UserError: no pairs, lengths that disagree, a confidence outside (0, 1), verdicts of another shape or
            outside [0, 1], or no usable pair.
    """
    n = check_pairs(prompts, first, second)
    if not n:
        raise UserError("win rate of 0 pairs: at least 1 is needed")
    if not 0 < confidence < 1:
        raise UserError(f"confidence={confidence}: allowed are numbers above 0 and below 1")
    verdicts = judge([*prompts, *prompts], [*first, *second], [*second, *first])
    forward, backward = _check_verdicts(verdicts, 2 * n).reshape(2, n)
    # Values minus 1/2 change their sign alone when the policies are swapped.
    excess = (forward - backward) / 2
    usable = ~np.isnan(excess)
    if not usable.any():
        raise UserError(
            f"the judge gave no usable verdict on any of {n} pairs: check its model and criterion"
        )
    groups = _groups([prompt for prompt, ok in zip(prompts, usable, strict=True) if ok])
    excess = excess[usable]
    centre = float(excess.mean())
    low, high = _interval(excess, groups, confidence)
    return WinRate(
        rate=_share(centre),
        low=_share(min(low, centre)),
        high=_share(max(high, centre)),
        n=len(excess),
        prompts=int(groups.max()) + 1,
        ties=int((excess == 0).sum()),
        unusable=n - len(excess),
        position_bias=float((forward + backward - 1)[usable].mean()),
    )


def check_pairs(prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> int:
    """n, the number of pairs, if there are as many prompts as responses of each policy; else UserError."""
    if not len(prompts) == len(first) == len(second):
        raise UserError(
            f"{len(prompts)} prompts, {len(first)} first and {len(second)} second responses: "
            "one of each is needed for a pair"
        )
    return len(prompts)


def _weights(preference: ArrayLike | str, objectives: Sequence[str]) -> np.ndarray:
    """(m,) float64."""
    if not isinstance(preference, str):
        weights = check_preference(preference, len(objectives))
        if weights.ndim != 1:
            raise UserError(f"preference of shape {weights.shape}: a judge has one, ({len(objectives)},)")
        return weights
    if preference not in objectives:
        raise UserError(f"objective {preference!r}: the judge's rewards have {', '.join(objectives)}")
    return np.array([float(name == preference) for name in objectives])


def _check_verdicts(verdicts: ArrayLike, n: int) -> np.ndarray:
    """(n,) float64 in [0, 1] or NaN, else UserError."""
    array = np.asarray(verdicts, dtype=np.float64)
    if array.shape != (n,):
        raise UserError(f"verdicts of shape {array.shape}: the judge must give one for each of {n} pairs")
    bad = array[(array < 0) | (array > 1)]
    if len(bad):
        raise UserError(f"verdict {bad[0]}: the judge must give numbers from 0 to 1, or NaN for no verdict")
    return array


def _groups(prompts: Sequence[str]) -> np.ndarray:
    """(n,) each prompt's place among the different ones."""
    place = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    return np.array([place[prompt] for prompt in prompts])


def _interval(excess: np.ndarray, groups: np.ndarray, confidence: float) -> tuple[float, float]:
    """Ends of the interval of the mean of values in [-1/2, 1/2]; `groups` (n,) are the places of their prompts."""
    from scipy.special import ndtri, stdtrit

    centre, tail = float(excess.mean()), 0.5 + confidence / 2
    counts = np.bincount(groups)
    size = len(counts)
    if size == 1 or np.ptp(np.bincount(groups, excess) / counts) <= EQUAL:
        return _wilson(centre, size, float(ndtri(tail)))
    residuals = np.bincount(groups, excess - centre)
    squared_error = size / (size - 1) * float(np.square(residuals).sum()) / len(excess) ** 2
    return _wilson(centre, (0.25 - centre**2) / squared_error, float(stdtrit(size - 1, tail)))


def _wilson(excess: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's score interval of a share 1/2 + excess of n trials, minus 1/2 as well."""
    shrink = 1 + z**2 / n
    half = z * math.sqrt((0.25 - excess**2) / n + z**2 / (4 * n**2)) / shrink
    return excess / shrink - half, excess / shrink + half


def _share(excess: float) -> float:
    """1/2 + excess, at most 1 and at least 0, such that _share(-x) is exactly 1 - _share(x)."""
    upper = min(1.0, 0.5 + abs(excess))
    # From 1/2 to 1 this subtraction is exact, which 0.5 + excess of a negative excess need not be.
    return upper if excess >= 0 else 1.0 - upper
