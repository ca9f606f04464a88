"""Margins in rewards and in regret against numbers by hand."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from lightning_moa.figures.margins import (
    common_margin,
    reference_regret,
    regret_margin,
    reward_margin,
    weighted_margin,
)
from lightning_moa.reporting.margins import SHARE
from lightning_moa.study.collect import Collected, Exact
from lightning_moa.study.planning import REFERENCE

NAMES = ("helpful", "harmless", "humorous")


def collected() -> Collected:
    """The reference policy at (-1, -2, -3) plus the seed, a method at (1, 2, 6) plus twice the seed."""
    rows = []
    for method, seed in product((REFERENCE, "mine"), (0, 1)):
        values = np.array([-1.0, -2, -3]) + seed if method == REFERENCE else np.array([1.0, 2, 6]) + 2 * seed
        both = {
            f"{space}_{name}": value
            for space in ("gold", "reward")
            for name, value in zip(NAMES, values, strict=True)
        }
        rows.append({"method": method, "seed": seed, **both})
    grid = pd.DataFrame(np.eye(3), columns=[f"lambda_{name}" for name in NAMES])
    grid[[f"gold_{name}" for name in NAMES]] = np.diag([1.0, 2, 4]) - 1
    grid["value"] = [0.0, 1.0, 3.0]
    none = pd.DataFrame()
    points = pd.DataFrame(rows)
    return Collected(NAMES, points, none, none, none, none, Exact(0.1, grid, grid), [], {}, {})


def test_rewards_over_the_range_of_the_best_policies() -> None:
    found = collected()
    assert [reward_margin(found, name) for name in NAMES] == pytest.approx([SHARE, 2 * SHARE, 4 * SHARE])
    assert weighted_margin(found) == pytest.approx(SHARE * 7 / 3)
    assert weighted_margin(found, [0.5, 0.5, 0]) == pytest.approx(SHARE * 1.5)
    assert common_margin(found) == pytest.approx(SHARE)


def test_rewards_over_the_range_of_all_methods_where_the_best_are_not_known() -> None:
    found = replace(collected(), exact=None)
    # 2, 4 and 9 in seed 0, one more in seed 1.
    assert [reward_margin(found, name) for name in NAMES] == pytest.approx(
        [2.5 * SHARE, 4.5 * SHARE, 9.5 * SHARE]
    )
    assert regret_margin(found) is None


def test_regret_over_the_reference_policys() -> None:
    found = collected()
    # Values 0, 1, 3 less -1, -2, -3: 1, 3 and 6; in seed 1 one less each.
    assert reference_regret(found) == pytest.approx({0: 10 / 3, 1: 7 / 3})
    assert regret_margin(found) == pytest.approx(SHARE * 17 / 6)
