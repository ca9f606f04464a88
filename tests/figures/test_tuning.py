"""One rule of tuning: what is tried, and what is taken."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.figures import tuning
from lightning_moa.figures.all_methods import METHODS

EXACT = SimpleNamespace(
    beta=0.5,
    grid=pd.DataFrame({"lambda_a": [1.0, 0.5, 0.0], "lambda_b": [0.0, 0.5, 1.0], "value": [3.0, 2.0, 3.0]}),
)


def collected(**gold):
    """One policy for each method and seed 100, with this reward of both objectives and a KL of 1."""
    none = {"lambda_a": np.nan, "lambda_b": np.nan}
    points = pd.DataFrame(
        [
            {"method": name.replace("_x_", " x "), "seed": 100, "gold_a": at, "gold_b": at, "kl": 1.0, **none}
            for name, at in gold.items()
        ]
    )
    return SimpleNamespace(objectives=("a", "b"), points=points, exact=EXACT)


def test_each_rate_is_tried_on_seeds_that_are_not_reported(cross_config):
    own, tried = tuning.variants(cross_config, {"epo": METHODS["epo"], "rloo": METHODS["morlhf_rloo"]})
    assert own.seeds == [100]
    assert {name: each.lr for name, each in own.methods.items()} == pytest.approx(
        {"epo x 1": 0.01, "epo x 3": 0.03, "rloo x 1": 0.01, "rloo x 3": 0.03}
    )
    assert tried["epo x 3"] is METHODS["epo"]
    assert cross_config.methods == {}
    for change, message in (
        ({"tuning_seeds": [0, 7]}, "others than seeds"),
        ({"tuning_seeds": []}, "others than seeds"),
        ({"factors": [1.0, 0.0]}, "above 0"),
    ):
        wrong = SimpleNamespace(**{**vars(cross_config), **change})
        with pytest.raises(UserError, match=message):
            tuning.variants(wrong, METHODS)


def test_the_rate_of_the_largest_expected_utility_is_taken(cross_config, monkeypatch):
    found = collected(one_x_1=1.0, one_x_3=2.0, two_x_1=1.5, two_x_3=-1.0)
    monkeypatch.setattr(tuning, "conduct_what_converges", lambda *given: (found, {}))
    methods = {"one": METHODS["epo"], "two": METHODS["epo"]}
    chosen, rates = tuning.tuned(cross_config, methods, None)
    assert {name: each.lr for name, each in chosen.methods.items()} == pytest.approx(
        {"one": 0.03, "two": 0.01}
    )
    assert chosen.seeds == cross_config.seeds
    assert rates[rates["taken"]]["expected_utility"].tolist() == pytest.approx([1.5, 1.0])
    assert len(rates) == 4


def test_a_method_that_hears_preferences_is_tuned_by_their_regret(cross_config, monkeypatch):
    """At the larger rate its policies are better and given to the wrong preferences."""

    def policies(name, own, others):
        shared = {"method": name, "seed": 100, "kl": 0.0}
        return [
            {**shared, "lambda_a": 1.0, "lambda_b": 0.0, "gold_a": own, "gold_b": others},
            {**shared, "lambda_a": 0.0, "lambda_b": 1.0, "gold_a": others, "gold_b": own},
        ]

    points = pd.DataFrame([*policies("one x 1", 2.0, 0.0), *policies("one x 3", 0.0, 2.5)])
    found = SimpleNamespace(objectives=("a", "b"), points=points, exact=EXACT)
    monkeypatch.setattr(tuning, "conduct_what_converges", lambda *given: (found, {}))
    chosen, rates = tuning.tuned(cross_config, {"one": METHODS["panacea_dpo"]}, None)
    assert chosen.methods["one"].lr == pytest.approx(0.01)
    assert rates["mean_regret"].tolist() == pytest.approx([1.0, 3.0])
    assert rates["expected_utility"].is_monotonic_increasing
    assert rates["taken"].tolist() == [True, False]


def test_utilities_have_the_kl_taken_off_and_the_best_policy_chosen():
    found = collected(one=2.0)
    found.points = pd.concat(
        [
            found.points,
            pd.DataFrame([{"method": "one", "seed": 100, "gold_a": 3.0, "gold_b": 0.0, "kl": 0.0}]),
        ]
    )
    utility, loss = tuning.utilities(found, "one", 100)
    assert utility == pytest.approx(np.mean([3.0, 1.5, 1.5]))
    assert loss == pytest.approx(1.5)


def test_a_rate_at_which_a_training_diverges_is_not_taken(cross_config, monkeypatch):
    console = Console(file=io.StringIO(), width=200)
    # `one` is not trained to the end at its larger rate, `two` leaves no finite number there.
    found = collected(one_x_1=1.0, two_x_1=-1.5, two_x_3=float("nan"))
    monkeypatch.setattr(
        tuning, "conduct_what_converges", lambda *given: (found, {"one x 3": "step 7: too far"})
    )
    methods = {"one": METHODS["epo"], "two": METHODS["epo"]}
    chosen, rates = tuning.tuned(cross_config, methods, console)
    assert {name: each.lr for name, each in chosen.methods.items()} == {"one": 0.01, "two": 0.01}
    assert rates["taken"].tolist() == [True, False, True, False]
    assert rates["expected_utility"].isna().tolist() == [False, True, False, True]
    assert "one x 3 is not taken: step 7: too far" in console.file.getvalue()
    with pytest.raises(UserError, match=r"^factors=\[1.0, 3.0\]: three diverges at each"):
        tuning.tuned(cross_config, {**methods, "three": METHODS["epo"]}, console)
    monkeypatch.setattr(tuning, "conduct_what_converges", lambda *given: (None, {}))
    with pytest.raises(UserError, match="one diverges at each"):
        tuning.tuned(cross_config, methods, console)


def test_a_method_whose_best_rate_is_the_least_or_the_largest_has_more(cross_config, monkeypatch):
    """`up` is better the larger the rate until 10, `down` the smaller; `inside` has its best inside."""
    gold = {
        "up": lambda factor: -abs(factor - 10),
        "down": lambda factor: -factor,
        "inside": lambda factor: -abs(factor - 1),
        "wild": lambda factor: factor if factor < 9 else float("nan"),
    }
    asked = []

    def conducted(own, tried, console):
        asked.append(list(tried))
        return collected(**{name: gold[name.split()[0]](own.methods[name].lr / 0.01) for name in tried}), {}

    monkeypatch.setattr(tuning, "conduct_what_converges", conducted)
    cross_config.factors, cross_config.widen = [1.0, 0.3, 3.0], 2
    methods = dict.fromkeys(gold, METHODS["epo"])
    chosen, rates = tuning.tuned(cross_config, methods, None)
    assert asked[1:] == [["up x 9", "down x 0.09", "wild x 9"], ["up x 27", "down x 0.027"]]
    lrs = {name: each.lr for name, each in chosen.methods.items()}
    assert lrs == pytest.approx({"up": 0.09, "down": 0.00027, "inside": 0.01, "wild": 0.03})
    up = rates[rates["method"] == "up"]
    assert up["lr"].tolist() == pytest.approx([0.003, 0.01, 0.03, 0.09, 0.27])


def test_what_is_tried_next_lies_as_far_beyond_the_best_as_that_is_from_its_neighbour():
    nan = float("nan")
    assert tuning.further({1.0: 0.0, 0.3: 1.0, 3.0: 0.5}) == [0.09]
    assert tuning.further({1.0: 0.0, 10.0: 1.0, 3.0: 0.5}) == [33.0]
    assert tuning.further({1.0: 1.0, 0.3: 0.0, 3.0: 0.5}) == []
    assert tuning.further({1.0: 0.5, 3.0: 1.0, 10.0: nan}) == []
    assert tuning.further({1.0: 1.0}) == []
    assert tuning.further({1.0: nan, 3.0: nan}) == [0.33]
