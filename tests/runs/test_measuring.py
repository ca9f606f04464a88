"""Several responses to each prompt."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.tokenizer import train_bpe
from lightning_moa.methods.products import ham, ric
from lightning_moa.runs.measuring import Measure
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


def test_a_rewritten_prompt_keeps_its_place_in_the_split():
    """A split of which some prompts can't be shown: those that are asked in other words have the places of the others,
    on which the noise of sampling hangs, and what is drawn over prompts."""
    texts = [f"what is number {i}" for i in range(6)]
    index = np.array([1, 3, 4])
    measure = object.__new__(Measure)
    measure.tokenizer, measure.device = train_bpe(texts, 300), torch.device("cpu")
    measure.spec = {"prompts": 3, "batch_size": 2}
    measure.prompts = SimpleNamespace(
        config=EncodingRules(),
        encoded=lambda *_: SimpleNamespace(index=index),
        prompt_list=lambda split: texts,
    )
    found = list(measure._rewritten(lambda prompt: f"{prompt}, please"))
    for asking, plain in found:
        assert asking.prompts == plain.prompts == [texts[i] for i in plain.index]
        assert asking.index.tolist() == plain.index.tolist()
    assert [i for _, plain in found for i in plain.index.tolist()] == index.tolist()
