import numpy as np
import pandas as pd
import pytest

from lightning_moa.data.labels import (
    choose_labels,
    hold_strengths,
    label_matrix,
    label_values,
    score_matrix,
    shorter,
)
from lightning_moa.errors import UserError


def framed(**columns):
    frame = pd.DataFrame(columns)
    frame.index = pd.MultiIndex.from_product([["f.jsonl"], range(1, len(frame) + 1)])
    return frame


def test_objectives_choose_and_order():
    labels = {"a": "x", "b": "-y", "c": "x"}
    assert [choice.objective for choice in choose_labels(labels)] == ["a", "b", "c"]
    chosen = choose_labels(labels, ["c", "b"])
    assert [(c.objective, c.column, c.reverse) for c in chosen] == [("c", "x", False), ("b", "y", True)]


@pytest.mark.parametrize(
    ("labels", "objectives", "words"),
    [
        ({}, None, "data.labels.<objective>=<column>"),
        ({"a": "x"}, ["b"], "'b' has no entry in data.labels, which names a"),
        ({"a": "x"}, ["a", "a"], "named twice"),
        ({"a": "x"}, [], "empty list"),
    ],
)
def test_wrong_objectives(labels, objectives, words):
    with pytest.raises(UserError, match=words):
        choose_labels(labels, objectives)


def test_a_minus_is_the_exact_complement():
    frame = framed(x=[0, 1, None, True, "false", "1", "", "NULL", 1.0])
    columns = ["x"]
    plain, reverse = label_matrix(frame, choose_labels({"a": "x", "b": "-x"}), columns).T
    np.testing.assert_array_equal(plain, [0, 1, np.nan, 1, 0, 1, np.nan, np.nan, 1])
    np.testing.assert_array_equal(reverse, 1 - plain)


@pytest.mark.parametrize("value", [2, 0.4, -2, "yes", [0], {"a": 1}])
def test_other_values_are_named_with_their_row(value):
    with pytest.raises(
        UserError, match=r"f\.jsonl, row 2, column 'x': allowed are 0, 1, false, true, a, b; .*; got"
    ):
        label_values(framed(x=[0, value]), "x")


def test_an_unknown_column_lists_the_available():
    with pytest.raises(UserError, match=r"data\.labels\.a=z: .*available are x, y"):
        label_matrix(framed(x=[0], y=[1]), choose_labels({"a": "-z"}), ["x", "y"])


def test_shorter_counts_stripped_characters():
    found = shorter(["aa", "  b ", "same", "ünï"], ["b", "cc", " same\n", "longer"])
    np.testing.assert_array_equal(found, [1, 0, np.nan, 0])


def test_ties_letters_and_unknowns():
    found = label_values(framed(x=[-1, 0.5, "tie", "A", "b", "0.5", "-1", "model_b"]), "x")
    np.testing.assert_array_equal(found, [np.nan] * 3 + [0, 1, np.nan, np.nan, 1])


def test_words_of_pairs_say_nothing_of_a_single_response():
    choices = choose_labels({"good": "-x"})
    found = score_matrix(framed(x=["False", "true", "", "None", "null", "nan", "-2.5", None]), choices)
    np.testing.assert_array_equal(found[:, 0], [0, -1, *[np.nan] * 4, 2.5, np.nan])
    for word in ("A", "b", "model_a", "tie", "both"):
        with pytest.raises(
            UserError, match=rf"f\.jsonl, row 2, column 'x': a number is expected, got '{word}'"
        ):
            score_matrix(framed(x=["1", word]), choices)


def test_strengths_are_told_by_the_whole_column_and_their_sign_says_which():
    given = [-3, -1, 0, 1, 2, "3", None]
    assert hold_strengths(given)
    assert not hold_strengths([-1, 0, 1]), "nobody knows, first, second"
    assert not hold_strengths([1, 2]), (
        "numbers of the responses, counted from 1: refused, not taken as strengths"
    )
    np.testing.assert_array_equal(label_values(framed(x=given), "x", True), [0, 0, np.nan, 1, 1, 1, np.nan])
    with pytest.raises(UserError, match="got 4"):
        label_values(framed(x=[-1, 4]), "x", True)
