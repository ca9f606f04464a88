"""Two scales side by side: what agrees, what does not, and the order of methods."""

from __future__ import annotations

from itertools import permutations

import pandas as pd
import pytest
from scipy.stats import kendalltau

from lightning_moa.reporting.transfer import compared_claims, order, pairs_of


def claims(**verdicts):
    rows = [
        {
            "claim": name,
            "statistic": "x",
            "value": 1.0,
            "ci_low": 0.0,
            "ci_high": 2.0,
            "verdict": said,
            "over": "seeds",
        }
        for name, said in verdicts.items()
    ]
    return pd.DataFrame(rows)


def test_what_both_say_agrees_and_what_one_does_not_know_is_unknown():
    small = claims(
        a="holds", b="fails", c="holds", d="within noise", e="holds", f="holds", h="level", i="level"
    )
    other = claims(a="holds", b="fails", c="fails", d="holds", e="one seed", g="holds", h="level", i="fails")
    found = compared_claims(small, other).set_index("claim")["together"].to_dict()
    assert found == {
        "a": "agree",
        "b": "agree",
        "c": "disagree",
        "d": "unknown",
        "e": "unknown",
        "h": "agree",
        "i": "unknown",
    }


def test_the_order_is_kendalls_tau_of_means_and_its_range_that_of_pairs_of_seeds():
    names = ["p", "q", "r", "s"]
    values = [list(each) for each in permutations([1.0, 2.0, 3.0, 4.0])][:4]
    mine = {seed: pd.Series(value, index=names) for seed, value in enumerate(values[:3])}
    theirs = {0: pd.Series([*values[3], 9.0], index=[*names, "t"])}
    found = order(mine, theirs)
    taus = [kendalltau(value, values[3]).statistic for value in values[:3]]
    assert (found["lowest"], found["highest"]) == pytest.approx((min(taus), max(taus)))
    means = pd.DataFrame(values[:3]).mean()
    assert found["tau"] == pytest.approx(kendalltau(means, values[3]).statistic)
    assert (found["methods"], found["small_seeds"], found["other_seeds"]) == (4, 3, 1)
    assert order(mine, {}) is None
    assert order(mine, {0: pd.Series([1.0, 2.0], index=["p", "q"])}) is None


def test_artefacts_of_both_scales_are_found_whatever_the_others_data(tmp_path):
    for name in (
        "a/one/tiny",
        "a/one/laptop-helpsteer2",
        "a/one/laptop",
        "a/two/tiny",
        "b/three/laptop",
        "b/four/tiny",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b/four/laptops").mkdir()
    found = [(paper, name, theirs.name) for paper, name, _, theirs in pairs_of(tmp_path, "tiny", "laptop")]
    assert found == [("a", "one", "laptop"), ("a", "one", "laptop-helpsteer2")]
