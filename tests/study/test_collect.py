"""Scores of models that each seed trains for itself."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from lightning_moa.study.collect import _from_the_reference, read_frame
from lightning_moa.study.planning import REFERENCE

COLUMNS = ["reward_helpful", "judge_helpful"]


def frames(shifts):
    """Points and responses of two methods, with a constant added to all scores of each seed's model."""
    random = np.random.default_rng(0)
    responses = pd.DataFrame(
        [
            {"method": method, "seed": seed, **{name: random.normal() + shift for name in COLUMNS}, "kl": 1.0}
            for seed, shift in shifts.items()
            for method in (REFERENCE, "ours")
            for _ in range(4)
        ]
    )
    return {"points": responses.groupby(["method", "seed"]).mean().reset_index(), "responses": responses}


def test_a_constant_that_pairs_do_not_determine_is_in_no_result():
    one, other = frames({3: 0.0, 5: 0.0}), frames({3: 2.5, 5: -40.0})
    for each in (one, other):
        _from_the_reference(each, COLUMNS)
    for name in one:
        pd.testing.assert_frame_equal(one[name], other[name])


def test_the_reference_scores_0_in_each_seed_and_differences_stay():
    raw, found = frames({3: 2.5, 5: -40.0}), frames({3: 2.5, 5: -40.0})
    _from_the_reference(found, COLUMNS)
    for frame, before in zip(found.values(), raw.values(), strict=True):
        means = frame.groupby(["method", "seed"])[COLUMNS].mean()
        assert np.allclose(means.loc[REFERENCE], 0)
        old = before.groupby(["method", "seed"])[COLUMNS].mean()
        assert np.allclose(means.loc["ours"], old.loc["ours"] - old.loc[REFERENCE])
        assert (frame["kl"] == 1).all()


@pytest.mark.parametrize("columns", [[], ["reward_nothing"]])
def test_other_scores_stay_as_they_are(columns):
    raw, found = frames({3: 2.5}), frames({3: 2.5})
    _from_the_reference(found, columns)
    for name in raw:
        pd.testing.assert_frame_equal(raw[name], found[name])


def test_answers_that_look_like_numbers_stay_what_they_are(tmp_path):
    told = pd.DataFrame(
        {"policy": ["0"] * 4, "prompt": ["007"] * 4, "response": ["0012", "3.10", "True", ""]}
    )
    told.to_csv(tmp_path / "responses.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    frame = read_frame(tmp_path / "responses.csv")
    assert frame["response"].tolist() == ["0012", "3.10", "True", ""]
    assert set(frame["prompt"]) == {"007"}
    numbers = pd.DataFrame({"policy": ["a"], "gold_a": [0.5]})
    numbers.to_csv(tmp_path / "points.csv", index=False)
    assert read_frame(tmp_path / "points.csv")["gold_a"].tolist() == [0.5]
