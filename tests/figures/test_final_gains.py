"""Gains over the reference policy in comparable units; studies joined to one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_moa.figures.final_gains import column, distance, gains, units
from lightning_moa.study.collect import Collected, Exact, joined

NAMES = ("kind", "brief")


def point(method, seed, values, *, space="gold", step=5, policy="alone", kl=1.0):
    row = {"method": method, "seed": seed, "step": step, "policy": policy, "kl": kl}
    row |= {f"lambda_{name}": np.nan for name in NAMES}
    return row | {f"{space}_{name}": value for name, value in zip(NAMES, values, strict=True)}


def study(points, exact=None, responses=None, **others):
    frame = pd.DataFrame(points)
    empty = pd.DataFrame({"method": ["sft"], "seed": [0]})
    return Collected(
        objectives=NAMES,
        points=frame,
        accuracies=pd.DataFrame(),
        responses=empty if responses is None else responses,
        timings=pd.DataFrame({"method": frame["method"], "seed": frame["seed"], "seconds": 1.0}),
        costs=pd.DataFrame({"method": frame["method"], "seed": frame["seed"]}),
        exact=exact,
        data_lines=["kept 1"],
        rewards={name: f"{name}, in words" for name in NAMES},
        policies={(row["method"], row["seed"]): [Path(row["method"])] for row in points},
        **others,
    )


@pytest.fixture
def exact():
    grid = pd.DataFrame(
        {
            "lambda_kind": [0, 0.5, 1],
            "lambda_brief": [1, 0.5, 0],
            "gold_kind": [1.0, 9.0, 5.0],
            "gold_brief": [8.0, 9.0, 6.0],
        }
    )
    return Exact(0.1, grid, grid)


def test_gains_are_shares_of_the_range_between_the_corners(exact):
    made = study([point("sft", 0, (1, 6), step=0), point("a", 0, (3, 7)), point("b", 0, (1, 5))], exact)
    assert units(made)[0].tolist() == [4, 2]
    table = gains(made).set_index("method")
    assert table.loc["a", ["gain_kind", "gain_brief"]].tolist() == [0.5, 0.5]
    assert table.loc["b", ["least_gain", "mean_gain", "spread"]].tolist() == [-0.5, -0.25, 0.5]
    assert "sft" not in table.index


def test_without_best_policies_the_unit_is_the_references_spread():
    rewards = {"reward_kind": [0.0, 2.0, 0.0, 6.0], "reward_brief": [3.0, 3.0, 0.0, 6.0]}
    responses = pd.DataFrame({"method": "sft", "seed": [0, 0, 1, 1], **rewards})
    points = [
        point(method, seed, values, space="reward")
        for method, seed, values in (
            ("sft", 0, (1, 3)),
            ("sft", 1, (3, 3)),
            ("a", 0, (2, 5)),
            ("a", 1, (6, 0)),
        )
    ]
    made = study(points, responses=responses)
    # A reward that never varies keeps its own unit.
    assert {seed: unit.tolist() for seed, unit in units(made).items()} == {0: [1, 1], 1: [3, 3]}
    table = gains(made)
    assert column(table, "a", "gain_kind") == {0: 1.0, 1: 1.0}
    assert column(table, "a", "gain_brief") == {0: 2.0, 1: -1.0}


def test_only_the_last_step_of_a_method_without_preference_counts(exact):
    grid = point("grid", 0, (9, 9)) | {"lambda_kind": 0.5, "lambda_brief": 0.5}
    made = study([point("sft", 0, (1, 6)), point("a", 0, (9, 9), step=1), point("a", 0, (3, 7)), grid], exact)
    assert gains(made)[["method", "gain_kind"]].to_numpy().tolist() == [["a", 0.5]]


def test_distance_is_between_gains_seed_by_seed(exact):
    starts = [point("sft", seed, (1, 6)) for seed in (0, 1)]
    ends = [point("a", 0, (5, 6)), point("a", 1, (1, 6)), point("b", 1, (1, 10)), point("b", 0, (9, 8))]
    responses = pd.DataFrame({"method": "sft", "seed": [0, 1]})
    table = gains(study([*starts, *ends], exact, responses))
    assert distance(table, "b", "a") == {0: pytest.approx(np.sqrt(2)), 1: pytest.approx(2)}
    assert distance(table, "a", "a") == {0: 0.0, 1: 0.0}


def test_joined_studies_keep_each_method_and_seed_once(exact):
    one = study([point("sft", 0, (1, 6)), point("a", 0, (3, 7)), point("sft", 1, (2, 6))], exact)
    two = study([point("sft", 0, (9, 9)), point("b", 0, (5, 8))])
    three = study([point("sft", 1, (9, 9)), point("b", 1, (4, 8))])
    whole = joined([one, two, three])
    assert whole.points[["method", "seed", "gold_kind"]].to_numpy().tolist() == [
        ["sft", 0, 1],
        ["a", 0, 3],
        ["sft", 1, 2],
        ["b", 0, 5],
        ["b", 1, 4],
    ]
    assert len(whole.timings) == len(whole.costs) == 5
    assert set(whole.policies) == {("sft", 0), ("a", 0), ("sft", 1), ("b", 0), ("b", 1)}
    assert whole.exact is one.exact
    assert whole.rewards == one.rewards
    assert whole.accuracies.empty
