"""Distances from the best policies: regrets are of the same preferences for all methods, or there are none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.figures.front_measures import front_measures

GRID = pd.DataFrame({"lambda_a": [1.0, 0.5, 0.0], "lambda_b": [0.0, 0.5, 1.0], "value": [3.0, 2.0, 3.0]})
FRONT = pd.DataFrame({"gold_a": [3.0, 2.0, 0.0], "gold_b": [0.0, 2.0, 3.0]})


def points(method, preferences):
    rows = [{"lambda_a": at, "lambda_b": 1 - at, "gold_a": 1.0, "gold_b": 0.0} for at in preferences]
    return pd.DataFrame(rows).assign(method=method, seed=0, kl=0.0)


def test_regret_is_of_a_method_that_was_asked_for_the_whole_grid():
    asked = {
        "all": [0.0, 0.5, 1.0],
        "inside": [0.5],
        "others": [0.0, 0.3, 1.0],
        "none": [np.nan],
        "twice": [0.5] * 3,
    }
    frame = pd.concat([points(*each) for each in asked.items()], ignore_index=True)
    exact = SimpleNamespace(beta=0.5, grid=GRID, front=FRONT)
    collected = SimpleNamespace(objectives=("a", "b"), points=frame, exact=exact)
    corner = pd.DataFrame({"space": ["gold"], "reference_a": [-1.0], "reference_b": [-1.0]})
    best = {0.0: 3.0, 0.5: 2.0, 1.0: 3.0}
    regret = frame["lambda_a"].map(best).to_numpy() - frame["lambda_a"].to_numpy()
    found = front_measures(collected, SimpleNamespace(points=frame, regret=regret, metrics=corner))
    found = found.set_index("method")
    assert found.loc["all", "mean_regret"] == pytest.approx((3 + 1.5 + 2) / 3)
    assert found.loc["all", "worst_regret"] == pytest.approx(3)
    rest = found.drop(index="all")
    assert rest[["mean_regret", "worst_regret"]].isna().all(axis=None)
    assert rest[["expected_utility", "hypervolume_share", "igd_plus"]].notna().all(axis=None)
    regret[0] = np.nan
    found = front_measures(collected, SimpleNamespace(points=frame, regret=regret, metrics=corner))
    assert found.iloc[0][["mean_regret", "worst_regret"]].isna().all(), "one of its policies has no number"
