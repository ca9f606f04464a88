"""A paper's order asked of ours: neighbours, level ones, methods that one side lacks."""

import pytest

from lightning_moa.reporting.claims import claims_frame
from lightning_moa.reporting.orders import order_claims

LABELS = {"a": "A", "b": "B", "c": "C", "d": "D"}
OURS = {"a": {0: 1.0, 1: 2.0}, "b": {0: 3.0, 1: 4.125}, "c": {0: 0.0, 1: 0.875}, "d": {0: 9.0, 1: 6.0}}


def asked(theirs, ours=OURS):
    rows = order_claims(theirs, ours, LABELS, about="set, x", where="table", what="reward")
    return claims_frame(rows).set_index("claim")


def test_neighbours_in_the_papers_order_are_paired_by_seed():
    found = asked({"b": 7.0, "a": 5.0, "c": -2.0})
    assert found["value"].to_dict() == {"set, x: C < A": 1.0625, "set, x: A < B": 2.0625}
    assert found["statistic"].tolist() == ["reward: A - C > bound", "reward: B - A > bound"]
    assert found["verdict"].tolist() == ["holds", "holds"]


def test_an_order_that_is_turned_round_fails():
    assert asked({"a": 5.0, "b": 1.0})["verdict"].tolist() == ["fails"]


def test_a_method_that_we_lack_is_passed_over_and_its_neighbours_meet():
    assert asked({"a": 1.0, "theirs": 2.0, "b": 3.0}).index.tolist() == ["set, x: A < B"]
    assert asked({"theirs": 2.0, "b": 3.0}).empty


def test_what_the_paper_has_level_is_asked_within_a_share_of_our_range():
    found = asked({"a": 1.0, "b": 1.001, "d": 2.0})
    row = found.loc["set, x: A level with B"]
    # The range is that of all our methods: 9 and 5.125.
    assert row["value"] == pytest.approx((2 / 9 + 2.125 / 5.125) / 2)
    assert (row["bound"], row["statistic"].endswith("within bound")) == (0.05, True)
    near = {"a": {0: 1.0, 1: 1.0}, "b": {0: 1.01, 1: 1.0}, "d": {0: 5.0, 1: 5.1}}
    assert asked({"a": 1.0, "b": 1.001, "d": 2.0}, near)["verdict"].tolist() == ["holds", "holds"]


def test_a_method_that_is_asked_about_elsewhere_counts_for_the_ranges_alone():
    rows = order_claims(
        {"a": 1.0, "b": 1.001, "d": 2.0}, OURS, LABELS, about="x", where="w", what="r", without=["d"]
    )
    assert [row["claim"] for row in rows] == ["x: A level with B"]
    assert rows[0]["value"] == pytest.approx((2 / 9 + 2.125 / 5.125) / 2)


def test_methods_that_all_end_at_one_place_are_level():
    same = {name: {0: 1.0, 1: 1.0} for name in "abd"}
    assert asked({"a": 1.0, "b": 1.001, "d": 2.0}, same)["value"].tolist() == [0.0, 0.0]
