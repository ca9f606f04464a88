"""Margins in a study's rewards and in regret, by the rule of docs/verdicts.md. Light: no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lightning_moa.reporting.margins import SHARE, of_larger
from lightning_moa.reporting.statistics import PerSeed
from lightning_moa.study.collect import Collected, Exact
from lightning_moa.study.planning import REFERENCE


def spans(exact: Exact | None, points: pd.DataFrame, space: str, objectives: Sequence[str]) -> np.ndarray:
    """(m,) the range of each objective's reward over the best policies for one objective each; where these are not
    known, that of all points of a seed, the mean over seeds."""
    columns = [f"{space}_{name}" for name in objectives]
    if exact is not None:
        corners = exact.grid[(exact.grid.filter(like="lambda_") == 1).any(axis=1)]
        return np.asarray(np.ptp(corners[[f"gold_{name}" for name in objectives]].to_numpy(), axis=0))
    each = points.groupby("seed")[columns]
    return np.asarray((each.max() - each.min()).mean(axis=0).to_numpy())


def reward_margin(collected: Collected, objective: str) -> float:
    """Of an objective's mean reward: SHARE of its range."""
    return SHARE * float(_spans(collected)[collected.objectives.index(objective)])


def weighted_margin(collected: Collected, preference: ArrayLike | None = None) -> float:
    """Of lambda . reward: SHARE of lambda . ranges; None: all objectives weigh the same, as on average over a grid."""
    ranges = _spans(collected)
    weights = np.full(len(ranges), 1 / len(ranges)) if preference is None else np.asarray(preference)
    return SHARE * float(weights @ ranges)


def common_margin(collected: Collected) -> float:
    """Of a reward that is added in all objectives at once, as by additive epsilon: SHARE of the least range."""
    return SHARE * float(_spans(collected).min())


def regret_margin(collected: Collected) -> float | None:
    """Of regret: SHARE of the reference policy's; None where the best policies are not known."""
    return None if collected.exact is None else of_larger(reference_regret(collected))


def reference_regret(collected: Collected) -> PerSeed:
    """Seed -> the reference policy's regret, averaged over the preferences of the grid, in units of reward."""
    assert collected.exact is not None
    grid = collected.exact.grid
    weights = grid[[f"lambda_{name}" for name in collected.objectives]].to_numpy()
    before = collected.points[collected.points["method"] == REFERENCE]
    gold = before[[f"gold_{name}" for name in collected.objectives]].to_numpy()
    start: np.ndarray = (grid["value"].to_numpy()[:, None] - weights @ gold.T).mean(axis=0)
    return dict(zip(before["seed"].tolist(), start.tolist(), strict=True))


def _spans(collected: Collected) -> np.ndarray:
    return spans(collected.exact, collected.points, collected.space, collected.objectives)
