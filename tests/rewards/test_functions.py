"""Rewards by functions and classes of one's own, and what is said of those that give something else."""

from __future__ import annotations

import math
import sys
import types

import numpy as np
import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.rewards.functions import FunctionRewards, check_function, finite_numbers
from lightning_moa.turns import joined


class Asked:
    """A class of one's own: remembers how often it was built."""

    built = 0

    def __init__(self):
        type(self).built += 1

    def scores(self, prompts, responses):
        return [len(prompt) - len(response) for prompt, response in zip(prompts, responses, strict=True)]


class Static:
    @staticmethod
    def scores(prompts, responses):
        return [1.0] * len(responses)


class NeedsMore:
    def __init__(self, folder):
        self.folder = folder

    def scores(self, prompts, responses):
        return []


class NoScores:
    pass


class OneText:
    def scores(self, response):
        return 0.0


@pytest.fixture(autouse=True)
def module(monkeypatch):
    """A module `my_rewards` with the classes above and functions."""
    made = types.ModuleType("my_rewards")
    made.length = lambda prompts, responses: [len(response) for response in responses]
    made.lengths = made.length
    made.one_text = lambda text: 0.0
    made.number = 3
    for each in (Asked, Static, NeedsMore, NoScores, OneText):
        setattr(made, each.__name__, each)
    monkeypatch.setitem(sys.modules, "my_rewards", made)
    return made


def test_a_function_scores_each_response():
    rewards = FunctionRewards("my_rewards:length", "long")
    found = rewards.scores(["p", "q"], ("abc", ""))
    assert rewards.objectives == ("long",)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[3.0], [0.0]])
    assert rewards.about == {"function": "my_rewards:length", "objective": "long"}


def test_a_class_is_built_once():
    Asked.built = 0
    rewards = FunctionRewards("my_rewards:Asked", "short")
    for _ in range(2):
        np.testing.assert_array_equal(rewards.scores(["pp"], ["abc"]), [[-1.0]])
    assert Asked.built == 1
    np.testing.assert_array_equal(FunctionRewards("my_rewards:Static", "one").scores(["p"], ["r"]), [[1.0]])


def test_nothing_is_asked_about_no_responses(module):
    module.length = lambda prompts, responses: 1 / 0
    assert FunctionRewards("my_rewards:length", "long").scores([], []).shape == (0, 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_rewards:lenght", r"the module my_rewards has no lenght \(did you mean length"),
        ("no_rewards:length", "no such module"),
        ("my_rewards:number", r"a function .* or a class with scores.* is needed, this is an int"),
        ("my_rewards:one_text", r"a function must take \(prompts, responses\)"),
        (
            "my_rewards:NeedsMore",
            r"a class is built without arguments \(missing a required argument: 'folder'",
        ),
        ("my_rewards:NoScores", "a class needs a method scores"),
        ("my_rewards:OneText", r"a class needs scores\(self, prompts, responses\)"),
    ],
)
def test_what_cannot_score_is_refused_before_it_is_called(name, said):
    with pytest.raises(UserError, match=said) as caught:
        check_function(name, "ppo.rewards.helpful")
    assert str(caught.value).startswith(f"ppo.rewards.helpful={name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        [1, 2.5],
        (True, np.float32(2.5)),
        np.array([1, 2.5], dtype=np.float32),
        torch.tensor([1, 2.5], requires_grad=True),
        [torch.tensor(1.0), np.array(2.5)],
        iter([1, 2.5]),
    ],
)
def test_any_sequence_of_numbers_will_do(given):
    np.testing.assert_array_equal(finite_numbers(given, 2, "f"), [1.0, 2.5])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1, 2, 3], "my_rewards:length returned 3 numbers for 4 responses"),
        (None, r"my_rewards:length returned nothing \(None\): a number for each of 4 responses"),
        (
            [1, 2, 3, None],
            r"my_rewards:length gave nothing \(None\) for response 3: a reward must be a number; where it has",
        ),
        (
            [1, math.nan, 3, 4],
            "my_rewards:length gave nan for response 1: a reward must be a finite number; where it has",
        ),
        ([1, 2, -math.inf, 4], "my_rewards:length gave -inf for response 2: a reward must be a finite"),
        ([1, 2, 10**400, 4], "my_rewards:length gave inf for response 2: a reward must be a finite"),
        (["1", 2, 3, 4], "my_rewards:length gave a str for response 0: a reward must be a number"),
        (np.ones((4, 1)), "my_rewards:length gave a list for response 0: a reward must be a number"),
        (2.0, "my_rewards:length returned a float: a sequence of 4 numbers is needed"),
        (np.float64(2.0), "my_rewards:length returned a float64: a sequence of 4 numbers is needed"),
        ({"a": 1}, "my_rewards:length returned a dict: a sequence of 4 numbers is needed"),
        ("abcd", "my_rewards:length returned a str: a sequence"),
    ],
)
def test_anything_else_is_refused_in_one_line(module, given, said):
    module.length = lambda prompts, responses: given
    with pytest.raises(UserError, match=said):
        FunctionRewards("my_rewards:length", "long").scores(["p"] * 4, ["r"] * 4)


def test_a_conversation_comes_as_one_readable_text(monkeypatch):
    module = types.ModuleType("my_readable")
    module.longest = lambda prompts, responses: [
        float(prompt.startswith("\n\nHuman: a")) for prompt in prompts
    ]
    monkeypatch.setitem(sys.modules, "my_readable", module)
    rewards = FunctionRewards("my_readable:longest", "a")
    talk = joined([("user", "a"), ("assistant", "b"), ("user", "c")])
    assert rewards.scores([talk, "plain"], ["x", "y"])[:, 0].tolist() == [1.0, 0.0]
