"""Rewards by rule."""

from lightning_moa.rewards.functions import FunctionRewards
from lightning_moa.rewards.rules import concise


def test_fewer_words_are_more_concise():
    responses = ["", "one", "one two\nthree\tfour", "  one  ", "a " * 20]
    assert concise([""] * 5, responses) == [0, -0.1, -0.4, -0.1, -2]


def test_it_is_asked_for_by_name():
    rewards = FunctionRewards("lightning_moa.rewards.rules:concise", "concise")
    assert rewards.scores(["a", "b"], ["one two", ""]).tolist() == [[-0.2], [0]]
