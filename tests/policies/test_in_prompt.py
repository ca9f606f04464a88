import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_moa.data.tokenizer import train_bpe
from lightning_moa.errors import UserError
from lightning_moa.policies import RewardPrompt
from lightning_moa.world.lexicon import SPECIAL
from lightning_moa.world.tokenizer import build_tokenizer

ENDING = "\n\nAssistant:"
NAMES = ("helpful", "harmless", "humorous")


def unit(m=2, **options):
    return RewardPrompt(NAMES[:m], [0.0] * m, [1.0] * m, **options)


def test_text_and_its_place_by_hand():
    prompt = unit()
    assert prompt.text([0.3, 0.9]) == "<r1> 0.3 <r2> 0.9"
    assert prompt.insert("steal cars", [0.31, 1]) == "steal cars <r1> 0.3 <r2> 1.0"
    assert unit(3, decimals=2, marker="[{i}]").text([0, 0.126, 1]) == "[1] 0.00 [2] 0.13 [3] 1.00"
    assert unit(1, decimals=0).text([0.6]) == "<r1> 1"


def test_hh_prompts_keep_the_assistants_marker_last_as_in_ric():
    prompt = unit(before=ENDING, marker="<rm{i}_score>")
    dialogue = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: bye"
    assert (
        prompt.insert(dialogue + ENDING, [0.2, 0.4])
        == dialogue + " <rm1_score> 0.2 <rm2_score> 0.4 \n\nAssistant:"
    )
    with pytest.raises(UserError, match=r"bye'.*must end in '\\n\\nAssistant:'"):
        prompt.insert(dialogue, [0.2, 0.4])


@given(st.floats(-3, 3), st.integers(0, 3))
@settings(deadline=None, derandomize=True)
def test_a_value_is_rounded_and_cut_to_its_range(value, decimals):
    prompt = RewardPrompt(("a",), [-1.5], [2.25], decimals)
    marker, written = prompt.text([value]).split()
    assert marker == "<r1>"
    assert abs(float(written) - np.clip(value, -1.5, 2.25)) <= 0.5 * 10.0**-decimals + 1e-12
    assert len(written.partition(".")[2]) == decimals
    assert not (written.startswith("-") and float(written) == 0)
    assert {marker, written} <= set(prompt.tokens())


def test_tokens_are_the_markers_and_the_grid_of_values():
    assert unit().tokens() == ["<r1>", "<r2>", *(f"0.{i}" for i in range(10)), "1.0"]
    assert RewardPrompt(("a", "b"), [-0.24, 0.1], [0.1, 0.26]).tokens()[2:] == [
        "-0.2",
        "-0.1",
        "0.0",
        "0.1",
        "0.2",
        "0.3",
    ]
    assert RewardPrompt(("a",), [-0.04], [0.04]).tokens() == ["<r1>", "0.0"]
    assert RewardPrompt(("a",), [-1], [2], decimals=0).tokens() == ["<r1>", "-1", "0", "1", "2"]
    fine = unit(1, decimals=3).tokens()[1:]
    assert (len(fine), fine[:2], fine[-1]) == (1001, ["0.000", "0.001"], "1.000")


def test_what_is_asked_for_by_hand():
    prompt = RewardPrompt(("a", "b"), [-1.0, 0.0], [3.0, 10.0])
    np.testing.assert_allclose(
        prompt.target_rewards([[0, 1], [0.3, 0.7], [0.5, 0.5], [0.75, 0.25]]),
        [[-1, 10], [1.4, 10], [3, 10], [3, 5]],
    )
    np.testing.assert_allclose(prompt.target_rewards([0.3, 0.7]), [1.4, 10])
    assert unit(1).target_rewards([1.0]).tolist() == [1.0]


PAPER_WEIGHTS = [
    *np.eye(3).tolist(),
    *([0.8 if i == j else 0.1 for i in range(3)] for j in range(3)),
    *([0.6 if i == j else 0.2 for i in range(3)] for j in range(3)),
    [0.33, 0.33, 0.33],
]


def test_the_ten_weights_of_three_objectives():
    prompt = unit(3)
    asked = prompt.target_rewards(PAPER_WEIGHTS)
    assert asked.shape == (10, 3)
    assert asked[-1].tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(asked[:9], np.minimum(3 * np.array(PAPER_WEIGHTS[:9]), 1))
    assert prompt.text(asked[3]) == "<r1> 1.0 <r2> 0.3 <r3> 0.3"


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
@settings(deadline=None, derandomize=True)
def test_asked_rewards_follow_the_preference(weights):
    m = len(weights)
    preference = np.array(weights) / np.sum(weights)
    low, high = -1.0 - np.arange(m), 2.0 * np.arange(1, m + 1)
    asked = RewardPrompt([f"o{i}" for i in range(m)], low, high).target_rewards(preference)
    assert ((low <= asked) & (asked <= high)).all()
    # The largest weight is at least 1/J, so something is always asked for to the full.
    assert asked[preference.argmax()] == high[preference.argmax()]
    np.testing.assert_allclose((asked - low) / (high - low), np.minimum(m * preference, 1))


@pytest.mark.parametrize("m", range(1, 13))
def test_equal_weights_ask_for_all_whatever_their_rounding(m):
    prompt = RewardPrompt([f"o{i}" for i in range(m)], np.full(m, 0.1), np.full(m, 0.7))
    for weights in (np.full(m, 1 / m), np.full(m, np.float32(1 / m)), np.full(m, round(1 / m, 2))):
        assert prompt.target_rewards(weights).tolist() == [0.7] * m


def test_a_share_just_below_the_threshold_counts_as_reaching_it():
    assert unit().target_rewards([0.5 - 9e-10, 0.5 + 9e-10]).tolist() == [1.0, 1.0]
    assert unit().target_rewards([0.5 - 1e-7, 0.5 + 1e-7])[0] < 1.0


@pytest.mark.parametrize(
    "preference",
    [
        [0.5, 0.6],
        [0.3, 0.3],
        [-0.1, 1.1],
        [np.nan, 1],
        [0.2, 0.3, 0.5],
        1.0,
        [[0.5, 0.5], [0.5, 0.4]],
        [[[0.5, 0.5]]],
    ],
    ids=str,
)
def test_what_is_no_preference(preference):
    with pytest.raises(UserError, match="preference"):
        unit().target_rewards(preference)


def test_goals_keep_their_smallest_share_and_max_the_others():
    low, high = np.array([-2.0, 0.0, 10.0]), np.array([2.0, 0.5, 90.0])
    prompt = RewardPrompt(NAMES, low, high)
    goals = prompt.draw_goals(6000, np.random.default_rng(0))
    shares = (goals - low) / (high - low)
    assert goals.shape == (6000, 3)
    assert ((goals == high).sum(axis=1) == 2).all()
    smallest = shares.min(axis=1)
    assert 0 <= smallest.min() < smallest.max() < 1
    # The least of three uniform numbers has mean 1/4; each objective holds it equally often.
    assert smallest.mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(np.bincount(shares.argmin(axis=1)) / 6000, 1 / 3, atol=0.03)


def test_goals_go_by_their_generator():
    generator = np.random.default_rng(5)
    first, second = (unit().draw_goals(4, generator) for _ in range(2))
    np.testing.assert_array_equal(unit().draw_goals(4, np.random.default_rng(5)), first)
    assert not np.array_equal(first, second)
    alone = unit(1).draw_goals(500, np.random.default_rng(0))
    assert len(np.unique(alone)) == 500
    with pytest.raises(UserError, match="n=0"):
        unit().draw_goals(0, generator)


def test_a_word_level_tokenizer_needs_every_token():
    prompt = unit()
    words = [*SPECIAL, "steal", "cars", *prompt.tokens()]
    tokenizer = build_tokenizer(words)
    prompt.check(tokenizer)
    ids = tokenizer(prompt.insert("steal cars", [0.3, 0.9]), add_special_tokens=False)["input_ids"]
    assert [words[i] for i in ids] == ["steal", "cars", "<r1>", "0.3", "<r2>", "0.9"]
    for missing in ("<r2>", "0.7"):
        with pytest.raises(UserError, match=rf"'{missing}'.*vocabulary"):
            prompt.check(build_tokenizer([word for word in words if word != missing]))


def test_a_byte_level_tokenizer_spells_everything():
    tokenizer = train_bpe(["just some words"], 300)
    for prompt in (unit(), RewardPrompt(NAMES, [-4] * 3, [4] * 3, 2, "<rm{i}_score>", ENDING)):
        prompt.check(tokenizer)


def character_tokenizer(alphabet):
    """A BPE without an unknown token: it leaves out what it doesn't know."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {character: i for i, character in enumerate(alphabet)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[])))


def test_a_tokenizer_that_leaves_out_what_it_does_not_know():
    unit().check(character_tokenizer("<r>.0123456789"))
    with pytest.raises(UserError, match="can't spell '<r1>'"):
        unit().check(character_tokenizer("xyz"))
    with pytest.raises(UserError, match=r"'0\.1' and '0\.2' alike"):
        unit(1).check(character_tokenizer("<r>.0"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": ()}, "at least one objective"),
        ({"low": [0.0]}, "low=.*a, b"),
        ({"high": [1.0, np.nan]}, "high="),
        ({"low": [0.0, 1.0]}, "'b': low=1.0 must be below high=1.0"),
        ({"decimals": -1}, "decimals=-1"),
        ({"marker": "<r>"}, r"marker='<r>': must hold \{i\}"),
    ],
)
def test_wrong_arguments_are_user_errors(change, message):
    arguments = {"objectives": ("a", "b"), "low": [0.0, 0.0], "high": [1.0, 1.0], **change}
    with pytest.raises(UserError, match=message):
        RewardPrompt(**arguments)


@pytest.mark.parametrize("rewards", [[0.1], [0.1, np.nan], [0.1, np.inf], [[0.1, 0.2]]], ids=str)
def test_rewards_that_cannot_be_written(rewards):
    with pytest.raises(UserError, match="rewards="):
        unit().text(rewards)


def test_the_module_itself_needs_no_torch():
    """It imports numpy alone; that the room around it loads torch is the other files' doing."""
    code = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('alone', sys.argv[1])\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    path = sys.modules[RewardPrompt.__module__].__file__
    subprocess.run([sys.executable, "-c", code, path], check=True)
