"""From a statistic's values over seeds to an interval, a p-value and a verdict: see docs/verdicts.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

import numpy as np

from lightning_moa.errors import UserError

HOLDS, IS_LEVEL, NOISE, FAILS, ONE_SEED = "holds", "level", "within noise", "fails", "one seed"
VERDICTS = (HOLDS, IS_LEVEL, NOISE, FAILS, ONE_SEED)
RELATIONS = (">", ">=", "<", "<=", "within")
"""How a value must stand to its bound; `within` means in [-bound, bound]."""
LEVEL = 0.05
"""Of significance: intervals are those of 1 - LEVEL."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its interval; NaN at both ends where there is no more than a single seed."""

    value: float
    ci_low: float
    ci_high: float
    seeds: int
    """0 for a number that no seed changes, such as how many parameters a method trains."""


def estimate(values: Mapping[int, float], what: str = "statistic", at_once: int = 1) -> Estimate:
    """Mean over seeds with a Student t interval of 95%.

    Why not a percentile bootstrap: with three seeds the resampled means never leave [min, max] of the three
    values, so the interval covers the true mean far less often than it says (about 75 times in 100). The t
    interval is honest about three seeds, at the price of being wide and of assuming roughly normal values; it
    isn't clipped to a statistic's range. Seeds that agree exactly give an interval of width zero, which shows
    nothing of the noise: see `p_value`.

    Args:
        values: seed -> statistic.
        what: named in errors.
        at_once: intervals of which this is one that was picked by its value; it is as wide as if each of them were to
            hold its true value with the chance that one alone has (Bonferroni).

    Returns:
        The estimate; with one seed its interval is NaN, since a single run can't tell signal from noise.

    Raises:
        UserError: no seeds, NaN or an infinite value.
    """
    if not values:
        raise UserError(f"{what}: no seeds; allowed is at least one")
    for seed, value in values.items():
        if not math.isfinite(value):
            raise UserError(f"{what}: {value} for seed {seed}; allowed are finite numbers")
    # Sorted by seed, so that the order in which runs ended can't change the last digit.
    sample = np.array([values[seed] for seed in sorted(values)], dtype=np.float64)
    mean = float(sample.mean())
    if len(sample) == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    half = _reach(len(sample), at_once) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return Estimate(mean, mean - half, mean + half, len(sample))


def p_value(result: Estimate, relation: str, bound: float) -> float:
    """Two-sided p of the very Student t that the interval is made of: that of confidence 1 - p ends at the bound.

    Seeds that agree exactly have no spread to measure noise by, as where a statistic has reached its largest value.
    What is left is the sign test: n values on one side of the bound have p = 2^(1 - n), below 0.05 from six seeds on.

    Args:
        result: of `estimate`.
        relation: one of RELATIONS; for `within` the nearer end of [-bound, bound] counts.
        bound: what the value is held against.

    Returns:
        In [0, 1]; NaN where there is no more than a single seed.
    """
    if result.seeds < 2:
        return math.nan
    distance = abs(abs(result.value) - bound) if relation == "within" else abs(result.value - bound)
    half = (result.ci_high - result.ci_low) / 2
    if half == 0:
        return 2.0 ** (1 - result.seeds) if distance > 0 else 1.0
    from scipy.special import stdtr

    return float(2 * stdtr(result.seeds - 1, -distance / half * _reach(result.seeds)))


def level_p(result: Estimate, bound: float, margin: float) -> float:
    """Of two one-sided tests (TOST), that the true value lies above bound - margin and that it lies below bound +
    margin: twice the larger p. Twice, since an interval of 95% lies inside the margin where either test has p < 2.5%.

    Seeds that agree exactly are counted by the sign test, as in `p_value`.

    Args:
        result: of `estimate`.
        bound: what the value is held against.
        margin: in the value's unit, at least 0.

    Returns:
        In [0, 1]; NaN where there is no more than a single seed, or no margin.
    """
    if result.seeds < 2 or math.isnan(margin):
        return math.nan
    inside = margin - abs(result.value - bound)
    half = (result.ci_high - result.ci_low) / 2
    if half == 0:
        return 2.0 ** (1 - result.seeds) if inside > 0 else 1.0
    from scipy.special import stdtr

    return min(1.0, float(2 * stdtr(result.seeds - 1, -inside / half * _reach(result.seeds))))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjustment of p-values that are looked at together: the chance that any of them is below LEVEL though
    nothing is there is then at most LEVEL. Valid however they depend on each other.

    Args:
        ps: in [0, 1]; NaN is no test and stays NaN.

    Returns:
        The adjusted ones, in the order given; none is below its own p.
    """
    adjusted, highest = [math.nan] * len(ps), 0.0
    tests = sorted((p, i) for i, p in enumerate(ps) if not math.isnan(p))
    for place, (p, i) in enumerate(tests):
        highest = max(highest, min(1.0, (len(tests) - place) * p))
        adjusted[i] = highest
    return adjusted


def verdict(result: Estimate, relation: str, bound: float, margin: float = math.nan) -> str:
    """What an interval says about `value <relation> bound`.

    `holds` if the relation is true of every value in the interval, `fails` if it is true of none. Where the interval
    reaches across the bound, `level` if it lies wholly inside [bound - margin, bound + margin], else `within noise`.
    `one seed` if there is no interval. Where seeds agree exactly, `p_value` and `level_p` decide whether they are
    enough; a number that no seed changes is compared as it is.
    """
    if result.seeds == 1:
        return ONE_SEED
    low, high = (result.value, result.value) if result.seeds == 0 else (result.ci_low, result.ci_high)
    if low == high and result.seeds and p_value(result, relation, bound) >= LEVEL:
        return IS_LEVEL if level_p(result, bound, margin) < LEVEL else NOISE
    always, never = {
        ">": (low > bound, high <= bound),
        ">=": (low >= bound, high < bound),
        "<": (high < bound, low >= bound),
        "<=": (high <= bound, low > bound),
        "within": (low >= -bound and high <= bound, low > bound or high < -bound),
    }[relation]
    if always or never:
        return HOLDS if always else FAILS
    return IS_LEVEL if bound - margin <= low and high <= bound + margin and margin > 0 else NOISE


def adjusted_verdicts(
    verdicts: Sequence[str], ps: Sequence[float], level_ps: Sequence[float] | None = None
) -> list[str]:
    """The verdicts that are left when all rows are looked at together: `within noise` where Holm's p is above LEVEL.

    There are two families, of as many tests as there are numbers: whether a row holds or fails, by `ps`, and whether
    it is level, by `level_ps`. So no row's margin changes what is left of `holds` and `fails`.

    Args:
        verdicts: of `verdict`.
        ps: of `p_value`, NaN where there is no test.
        level_ps: of `level_p`; None where no row has a margin.
    """
    alike = [math.nan] * len(ps) if level_ps is None else level_ps
    pairs = zip(verdicts, holm(ps), holm(alike), strict=True)
    return [NOISE if (q if each == IS_LEVEL else p) > LEVEL else each for each, p, q in pairs]


def rules_out(result: Estimate, relation: str, bound: float) -> str:
    """How large an effect a verdict of `within noise` rules out, in words: the ends of its interval, rounded outwards
    to two digits. Empty where the interval is of no width, which shows nothing of the noise."""
    low, high = result.ci_low, result.ci_high
    if not low < high:
        return ""
    if relation == "within":
        return f"rules out more than {_outwards(high)} and less than {_outwards(low, ROUND_FLOOR)}"
    return f"rules out more than {_outwards(high - bound)} above and {_outwards(bound - low)} below the bound"


def _outwards(number: float, rounding: str = ROUND_CEILING) -> str:
    return f"{float(Context(prec=2, rounding=rounding).create_decimal(repr(number))):.6g}"


def _reach(seeds: int, at_once: int = 1) -> float:
    """Standard errors from the mean to the end of the interval."""
    from scipy.special import stdtrit

    return float(stdtrit(seeds - 1, 1 - LEVEL / 2 / at_once))
