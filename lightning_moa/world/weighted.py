"""The exact optimum of reward-weighted likelihood, by importance weights over the reference's responses.

Over all policies, E_x E_{y ~ ref}[w(x, y) log p(y|x)] (HaM, eq. 3, w a function of the rewards) is highest at

    p*(y|x) ~ ref(y|x) w(x, y),

since for each prompt it is a positive multiple of a negative cross-entropy. With w = sum_j lambda_j r_j^q that is a
**mixture** of the J optima ref r_j^q, with weights ~ lambda_j E_ref[r_j^q | x]: what no single objective's optimum
does, no preference's optimum does either. Scalarising first, w = (lambda . r)^q, favours responses that are good at
all of them.

Rewards that a map has squeezed into [0, 1] don't add up over tokens, so expectations are estimated, not solved for:
self-normalised importance weights over responses that the reference gave.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError


@dataclass(frozen=True, eq=False)
class WeightedOptimum:
    """Expectations under p*, estimated."""

    values: np.ndarray
    """(V,) E_x E_{y ~ p*}[values]."""
    errors: np.ndarray
    """(V,) Monte Carlo standard errors of these, by the delta method within each prompt."""
    kl: float
    """E_x KL(p* || ref), in nats; biased low where few responses carry the weight."""
    effective: float
    """The smallest effective number of responses, 1 / sum of squared normalised weights, of any prompt."""


def per_objective_weights(rewards: ArrayLike, preference: ArrayLike, power: float) -> np.ndarray:
    """(n,) sum_j lambda_j r_j^power: the weights of a linear scalarisation of HaM's objectives (eqs. 3 and 5).

    Args:
        rewards: (n, J) in [0, 1].
        preference: (J,) on the simplex.
        power: above 0; the larger, the further p* is from the reference.

    Raises:
        UserError: rewards outside [0, 1], another shape, a preference off the simplex, a power that isn't above 0.
    """
    gains, weights = _checked(rewards, preference, power)
    return gains**power @ weights


def scalarised_weights(rewards: ArrayLike, preference: ArrayLike, power: float) -> np.ndarray:
    """(n,) (lambda . r)^power: the reward is scalarised first; arguments and errors as `per_objective_weights`."""
    gains, weights = _checked(rewards, preference, power)
    return (gains @ weights) ** power


def weighted_optimum(
    prompts: Sequence[str], weights: ArrayLike, values: ArrayLike, shares: Mapping[str, float] | None = None
) -> WeightedOptimum:
    """Expectations under p*(y|x) ~ ref(y|x) w(x, y), from responses that the reference gave.

    Args:
        prompts: (n,) the prompt of each response; many responses to each prompt.
        weights: (n,) w(x, y), at least 0, up to a factor for each prompt.
        values: (n, V) whatever is to be averaged: gold rewards, indicators of modes.
        shares: prompt -> its probability, up to a common factor; how often it is among `prompts` if not given.

    Raises:
        UserError: shapes that don't fit together, no rows, negative weights, a prompt whose weights are all 0 or that
            has no share above 0, or values that aren't finite.
    """
    factors, found = np.asarray(weights, dtype=np.float64), np.asarray(values, dtype=np.float64)
    n = len(prompts)
    if n == 0 or factors.shape != (n,) or found.ndim != 2 or len(found) != n:
        raise UserError(
            f"{n} prompts, weights {factors.shape} and values {found.shape} do not fit; allowed: n >= 1, (n,), (n, V)"
        )
    if not (np.isfinite(factors).all() and (factors >= 0).all() and np.isfinite(found).all()):
        raise UserError("weights and values: allowed are finite numbers, weights at least 0")
    distinct, place, counts = np.unique(np.asarray(prompts), return_inverse=True, return_counts=True)
    sums = np.bincount(place, weights=factors)
    if not (sums > 0).all():
        raise UserError(f"weights: all 0 for prompt '{distinct[np.argmin(sums)]}', which leaves p* open")
    share = counts / n if shares is None else _shares(distinct, shares)

    own = factors / sums[place]
    means = _sums(place, own[:, None] * found)
    variances = _sums(place, (own[:, None] * (found - means[place])) ** 2)
    ratio = own * counts[place]
    nats = own * np.log(ratio, out=np.zeros(n), where=ratio > 0)
    return WeightedOptimum(
        values=share @ means,
        errors=np.sqrt(share**2 @ variances),
        kl=float(share @ np.bincount(place, weights=nats)),
        effective=float((1 / np.bincount(place, weights=own**2)).min()),
    )


def _sums(place: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(P, V) sums of the rows (n, V) of each prompt."""
    return np.column_stack([np.bincount(place, weights=column) for column in rows.T])


def _shares(distinct: np.ndarray, shares: Mapping[str, float]) -> np.ndarray:
    found = np.array([shares.get(str(prompt), 0.0) for prompt in distinct], dtype=np.float64)
    if not (np.isfinite(found).all() and (found > 0).all()):
        raise UserError(f"shares: prompt '{distinct[np.argmin(found > 0)]}' has none above 0")
    return found / found.sum()


def _checked(rewards: ArrayLike, preference: ArrayLike, power: float) -> tuple[np.ndarray, np.ndarray]:
    gains, weights = np.asarray(rewards, dtype=np.float64), np.asarray(preference, dtype=np.float64)
    if gains.ndim != 2 or weights.shape != gains.shape[1:]:
        raise UserError(
            f"rewards {gains.shape} and preference {weights.shape} do not fit; allowed: (n, J) and (J,)"
        )
    if not ((gains >= 0) & (gains <= 1)).all():
        raise UserError("rewards: a value outside [0, 1]; allowed are rewards that were mapped into it")
    if not ((weights >= 0).all() and abs(weights.sum() - 1.0) <= 1e-6):
        raise UserError(f"preference {weights.tolist()}: weights must be at least 0 and sum to 1")
    if not (math.isfinite(power) and power > 0):
        raise UserError(f"power is {power}: a finite number above 0 is allowed")
    return gains, weights
