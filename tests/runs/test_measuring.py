"""Several responses to each prompt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lightning_moa.methods.products import ham, ric
from tests.runs.likelihood import PREFERENCES, conduct, settings

METHODS = {"ham": ham(2), "ric": ric(PREFERENCES[:1])}
KEYS = ["method", "policy", "prompt_index"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The rows of a study that samples once, and of one that does three times, of the same policies."""
    runs = tmp_path_factory.mktemp("measuring")
    words = ("seeds=[0]", "evaluation.prompts=5")
    found = []
    for count in (1, 3):
        own = settings(*words, f"evaluation.responses={count}", methods=METHODS)
        found.append((conduct(own, runs, METHODS)[1], {path.name for path in runs.glob("align-*")}))
    (once, trained), (thrice, afterwards) = found
    assert afterwards == trained, "nothing was trained again"
    return once, thrice


def test_the_first_response_is_that_of_one_and_the_others_are_others(measured):
    once, thrice = (rows.responses for rows in measured)
    assert set(once["sample"]) == {0}
    first = thrice[thrice["sample"] == 0]
    pd.testing.assert_frame_equal(first.reset_index(drop=True), once.reset_index(drop=True))
    counts = thrice.groupby(KEYS)["sample"].agg(list)
    assert (counts.map(sorted) == counts.map(lambda _: [0, 1, 2])).all()
    different = thrice.groupby(KEYS)["response"].nunique()
    assert different.max() == 3
    assert different.mean() > 2


def test_points_are_means_over_all_of_them(measured):
    _, thrice = measured
    means = thrice.responses.groupby(["method", "policy"])[["gold_helpful", "log_ratio"]].mean()
    points = thrice.points.set_index(["method", "policy"])
    assert set(points["n"]) == {15}
    for theirs, ours in (("gold_helpful", "gold_helpful"), ("log_ratio", "kl")):
        np.testing.assert_allclose(means[theirs], points[ours].reindex(means.index), rtol=1e-12)
