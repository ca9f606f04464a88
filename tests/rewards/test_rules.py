"""Rewards by rule."""

from lightning_moa.rewards import RuleRewards
from lightning_moa.rewards.functions import FunctionRewards
from lightning_moa.rewards.rules import concise, long_words
from lightning_moa.turns import joined


def test_fewer_words_are_more_concise():
    responses = ["", "one", "one two\nthree\tfour", "  one  ", "a " * 20]
    assert concise([""] * 5, responses) == [0, -0.1, -0.4, -0.1, -2]


def test_it_is_asked_for_by_name():
    rewards = FunctionRewards("lightning_moa.rewards.rules:concise", "concise")
    assert rewards.scores(["a", "b"], ["one two", ""]).tolist() == [[-0.2], [0]]


def test_long_words_are_distinct_ones_of_more_than_six_letters():
    said = [
        "",
        "The cat sat",
        "Electrons, ELECTRONS; quarks. Neutrinos!",
        "x" * 6,
        "abc_defghij 1234567",
        "ähnlich",
    ]
    assert long_words([""] * len(said), said) == [0.0, 0.0, 0.5, 0.0, 0.25, 0.25]


def test_a_function_is_given_a_conversation_as_one_readable_text():
    seen = []
    rule = RuleRewards({"any": lambda prompts, responses: seen.extend(prompts) or [0.0] * len(responses)})
    talk = joined([("user", "a"), ("assistant", "b"), ("user", "c")])
    rule.scores([talk, "plain"], ["x", "y"])
    assert seen == ["\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", "plain"]
