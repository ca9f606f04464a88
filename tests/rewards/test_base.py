"""Rule rewards, and the refusal of scores that are not numbers."""

import numpy as np
import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.rewards import RuleRewards
from lightning_moa.rewards.base import as_rewards, check_scores


def test_rules_become_columns_in_their_order():
    rules = {
        "long": lambda prompts, responses: np.array([len(text) for text in responses]),
        "echo": lambda prompts, responses: np.array(
            [float(a == b) for a, b in zip(prompts, responses, strict=True)]
        ),
        "brief": lambda prompts, responses: -np.array([len(text) for text in responses]),
    }
    rewards = RuleRewards(rules)
    assert rewards.objectives == ("long", "echo", "brief")
    scores = rewards.scores(["a", "bcd"], ["xy", "bcd"])
    assert scores.dtype == np.float64
    assert scores.tolist() == [[2, 0, -2], [3, 1, -3]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_names_its_objective_and_response(bad):
    rewards = RuleRewards({"fine": lambda p, r: np.zeros(3), "broken": lambda p, r: np.array([0, bad, 0])})
    with pytest.raises(UserError, match=rf"reward 'broken' gave {bad} for response 1: .*finite") as caught:
        rewards.scores(["p"] * 3, ["r"] * 3)
    assert "\n" not in str(caught.value)


def test_finite_scores_pass_unchanged():
    scores = np.array([[1.0, -2.0]])
    assert check_scores(scores, ("a", "b")) is scores


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"reward 'a' returned nothing"),
        (1.0, r"reward 'a' returned a float: a sequence of 3 numbers"),
        ([1.0, 2.0], r"reward 'a' returned 2 numbers for 3 responses"),
        (["x", "y", "z"], r"reward 'a' gave a str for response 0"),
        (np.ones((3, 1)), r"reward 'a'"),
    ],
)
def test_a_rule_gives_a_number_for_each_response(given, said):
    with pytest.raises(UserError, match=said):
        RuleRewards({"a": lambda p, r: given}).scores(["p"] * 3, ["r"] * 3)


def test_scores_are_a_row_for_each_response_and_a_column_for_each_objective():
    names = ("a", "b")
    for given in ([[1, 2], [3, 4]], torch.tensor([[1.0, 2.0], [3.0, 4.0]])):
        np.testing.assert_array_equal(check_scores(given, names, 2), [[1.0, 2.0], [3.0, 4.0]])
    for wrong in (np.ones(2), np.ones((2, 1)), np.ones((1, 2)), np.ones((2, 3))):
        with pytest.raises(UserError, match=r"rewards of the shape .*: \(2, 2\) is needed, .* for a, b"):
            check_scores(wrong, names, 2)


def test_functions_by_objective_are_rewards_too():
    made = as_rewards({"length": lambda prompts, responses: [len(text) for text in responses]})
    assert made.objectives == ("length",)
    assert made.scores(["p", "q"], ["xy", "z"]).tolist() == [[2], [1]]
    assert as_rewards(made) is made
    for wrong in ({}, {"a": 1.0}, len, None, type("Scorer", (), {"scores": len})()):
        with pytest.raises(
            UserError, match=r"^rewards=.*: expected is a mapping of objectives to functions"
        ) as said:
            as_rewards(wrong)
        assert "\n" not in str(said.value)
