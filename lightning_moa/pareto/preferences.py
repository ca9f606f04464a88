"""Preference vectors lambda: shape (m,), non-negative, summing to 1."""

from __future__ import annotations

import math
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError

MOST = 100_000
"""Preferences of a grid."""
TOLERANCE = 1e-6
"""How far a preference's sum may be from 1: wide enough for float32 input, far below any grid's step."""


def preference_grid(m: int, step: float) -> np.ndarray:
    """All preferences whose weights are multiples of `step`: the lattice on the simplex.

    Rows are sorted by the first weight, then the second and so on; for m = 2 the first weight rises from
    0 to 1. Every weight is the float nearest to i * step, so that 0.3 in a grid equals 0.3 in a config.

    Args:
        m: number of objectives, at least 1.
        step: divides 1, such as 0.1 (11 preferences for m = 2, 66 for m = 3).

    Returns:
        (n, m) float64, n = C(1 / step + m - 1, m - 1).

    Raises:
        UserError: m < 1, or a step that doesn't divide 1.
    """
    if m < 1:
        raise UserError(f"preference grid: m is {m}, allowed are whole numbers from 1")
    parts = round(1 / step) if np.isfinite(step) and 0 < step <= 1 else 0
    if not parts or abs(parts * step - 1) > TOLERANCE:
        raise UserError(
            f"preference grid: step is {step}, allowed are steps that divide 1, such as 0.1 or 0.25"
        )
    number = comb(parts + m - 1, m - 1)
    if number > MOST:
        raise UserError(
            f"preference grid: step {step} makes {number:,} preferences of {m} objectives; at most {MOST:,} are allowed"
        )
    # Stars and bars: m - 1 bars among parts + m - 1 places cut `parts` stars into m counts.
    places = parts + m - 1
    edges = np.array([(-1, *bars, places) for bars in combinations(range(places), m - 1)])
    return (np.diff(edges, axis=1) - 1) / parts


def sample_preferences(
    m: int,
    n: int,
    seed: int | np.random.Generator,
    concentration: float = 1.0,
    vertex_share: float = 0.0,
) -> np.ndarray:
    """Random preferences from a symmetric Dirichlet distribution, with some vertices mixed in.

    Args:
        m: number of objectives.
        n: number of preferences.
        seed: a seed (equal seeds give equal preferences) or a generator, which is advanced.
        concentration: of the Dirichlet distribution; 1 is uniform on the simplex, below 1 leans to vertices.
        vertex_share: probability in [0, 1] that a preference is replaced by a vertex, each equally likely.

    Returns:
        (n, m) float64, rows on the simplex.

    Raises:
        UserError: a value outside its range.
    """
    if m < 1 or n < 0:
        raise UserError(f"preferences: m is {m} and n is {n}, allowed are m >= 1 and n >= 0")
    if not (np.isfinite(concentration) and concentration > 0):
        raise UserError(f"preferences: concentration is {concentration}, allowed are numbers above 0")
    if not 0 <= vertex_share <= 1:
        raise UserError(f"preferences: vertex_share is {vertex_share}, allowed is 0 to 1")
    generator = np.random.default_rng(seed)
    preferences = generator.dirichlet(np.full(m, float(concentration)), size=n)
    if vertex_share:
        chosen = generator.random(n) < vertex_share
        preferences[chosen] = np.eye(m)[generator.integers(m, size=int(chosen.sum()))]
    return preferences


def check_preference(preference: ArrayLike, m: int) -> np.ndarray:
    """`preference` as a float64 array of shape (m,) or (batch, m), its values as given.

    Raises:
        UserError: another m, NaN, a negative weight, or a sum that isn't 1.
    """
    try:
        array = np.asarray(preference, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"preference {preference!r}: allowed are {m} numbers that sum to 1") from error
    if array.ndim not in (1, 2) or array.shape[-1] != m:
        raise UserError(f"preference of shape {array.shape}: allowed are {m} weights, one per objective")
    for row in array.reshape(-1, m):
        # Written so that NaN fails too.
        if not ((row >= 0).all() and abs(row.sum() - 1) <= TOLERANCE):
            raise UserError(f"preference {row.tolist()}: allowed are weights >= 0 that sum to 1")
    return array


def even_preferences(policies: int, objectives: int) -> np.ndarray:
    """One preference for each policy, spread over the simplex: (K, J) float64, rows sorted as in `preference_grid`.

    From the coarsest grid that has enough of them: all of it where the number fits, which for two objectives is
    always; else its corners and then, each time, the preference farthest from those taken. One policy alone gets
    equal weights; other numbers below J get as many corners, so some objectives are left out.
    """
    if policies == 1 or objectives == 1:
        return np.full((policies, objectives), 1 / objectives)
    parts = 1
    while math.comb(parts + objectives - 1, objectives - 1) < policies:
        parts += 1
    grid = preference_grid(objectives, 1 / parts)
    # The first row is a corner, and nothing is farther from corners than another one: so all of them come first.
    taken = [0]
    distance = np.full(len(grid), np.inf)
    while len(taken) < policies:
        distance = np.minimum(distance, np.linalg.norm(grid - grid[taken[-1]], axis=1))
        taken.append(int(distance.argmax()))
    return grid[sorted(taken)]
