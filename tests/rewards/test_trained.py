"""A reward model read back from its folder: scores of texts, alone and in batches, long and short."""

import json
import shutil

import numpy as np
import pytest
import torch

from lightning_moa.data.encoding import encode
from lightning_moa.errors import UserError
from lightning_moa.rewards import TrainedRewards
from lightning_moa.turns import joined
from tests.chat_templates import SMOLLM2

from .models import trained_folder

TEMPLATE = "Q: {prompt} A:"
PROMPTS = ["what is red", "why", "how large is a small square", "who"]
RESPONSES = ["blue", "because it is round and green and slow", "odd", "a calm one"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained_folder(tmp_path_factory.mktemp("rewards"), PROMPTS + RESPONSES, TEMPLATE)


def test_scores_are_the_networks_own(folder):
    rewards = TrainedRewards(folder)
    assert rewards.objectives == ("a", "b", "c")
    scores = rewards.scores(PROMPTS, RESPONSES)
    assert scores.shape == (4, 3)
    assert scores.dtype == np.float64
    tokenizer = rewards.tokenizer
    for prompt, response, row in zip(PROMPTS, RESPONSES, scores, strict=True):
        texts = TEMPLATE.format(prompt=prompt), response
        prefix, reply = (tokenizer.encode(text, add_special_tokens=False) for text in texts)
        ids = torch.tensor([[tokenizer.bos_token_id, *prefix, *reply, tokenizer.eos_token_id]])
        with torch.no_grad():
            np.testing.assert_allclose(row, rewards.network(input_ids=ids).logits[0], atol=1e-5)


def test_a_model_that_was_saved_in_16_bits_is_read_out_in_32(folder, tmp_path):
    whole = TrainedRewards(folder)
    shutil.copytree(folder, tmp_path / "half")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "half" / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    whole.network.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    half = TrainedRewards(tmp_path / "half")
    assert half.network.base_model.dtype == torch.bfloat16
    scores = half.scores(PROMPTS, RESPONSES)
    np.testing.assert_allclose(scores, TrainedRewards(folder).scores(PROMPTS, RESPONSES), rtol=0.1, atol=0.02)
    coarse = torch.tensor(scores).to(torch.bfloat16).double().numpy()
    assert (scores != coarse).mean() > 0.9


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_score_does_not_depend_on_its_batch(folder, batch_size):
    together = TrainedRewards(folder).scores(PROMPTS, RESPONSES)
    apart = TrainedRewards(folder, batch_size=batch_size).scores(PROMPTS, RESPONSES)
    np.testing.assert_allclose(apart, together, atol=1e-5)
    order = [2, 0, 3, 1]
    shuffled = TrainedRewards(folder).scores([PROMPTS[i] for i in order], [RESPONSES[i] for i in order])
    np.testing.assert_allclose(shuffled, together[order], atol=1e-5)


def test_long_and_empty_responses_are_scored_too(folder):
    scores = TrainedRewards(folder).scores(["why", "why"], ["green " * 400, ""])
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("prompt", ["why \U0001f600", "\u4e3a\u4ec0\u4e48", "caf\u00e9 \u00e9"])
def test_a_prompt_whose_end_takes_several_tokens_shortens_the_response(folder, prompt):
    rewards = TrainedRewards(folder)
    reply = "green " * 400
    asked, replies = ["why", prompt, "who", prompt], [reply, reply, "odd", "odd"]
    scores = rewards.scores(asked, replies)
    for row, texts in enumerate(zip(asked, replies, strict=True)):
        np.testing.assert_allclose(rewards.scores(*([text] for text in texts)), scores[[row]], atol=1e-5)
    assert abs(scores[1] - scores[0]).max() > 1e-4


def test_a_folder_without_a_reward_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no reward model .*rewards\.json"):
        TrainedRewards(tmp_path)


def test_weights_that_are_not_numbers_are_named(folder):
    rewards = TrainedRewards(folder)
    with torch.no_grad():
        rewards.network.score.weight[1].fill_(float("nan"))
    with pytest.raises(UserError, match="reward 'b' of response 0 is nan"):
        rewards.scores(PROMPTS, RESPONSES)


def test_outputs_of_a_model_that_was_fitted_to_scores_are_taken_back_to_them(folder, tmp_path):
    texts = PROMPTS + RESPONSES
    moved = trained_folder(tmp_path, texts, TEMPLATE, shift=[1.0, 0.0, -5.0], scale=[2.0, 1.0, 0.5])
    expected = TrainedRewards(folder).scores(PROMPTS, RESPONSES) * [2, 1, 0.5] + [1, 0, -5]
    np.testing.assert_allclose(TrainedRewards(moved).scores(PROMPTS, RESPONSES), expected, atol=1e-5)


@pytest.mark.parametrize("made", SMOLLM2)
def test_with_a_chat_template_it_reads_the_conversation_s_own_tokens(made, tmp_path):
    rewards = TrainedRewards(trained_folder(tmp_path, template="chat", tokenizer=made(), max_length=300))
    talk = [("user", "hi"), ("assistant", "yes?"), ("user", "and how?")]
    seen = []
    rewards.network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True
    )
    rewards.scores([joined(talk)], ["mix flour"])
    said = [{"role": role, "content": text} for role, text in [*talk, ("assistant", "mix flour")]]
    expected = rewards.tokenizer.apply_chat_template(said, return_dict=False)
    # What follows the end of the turn, a line's end, is no part of the reply.
    closing = len(expected) - expected[::-1].index(rewards.tokenizer.eos_token_id)
    assert seen[0][0].tolist() == expected[:closing]


def test_it_reads_a_long_response_as_it_was_trained_to(folder, tmp_path):
    """Cut at one length, and ended as a short one is."""
    moved = shutil.copytree(folder, tmp_path / "moved")
    about = json.loads((moved / "rewards.json").read_text())
    (moved / "rewards.json").write_text(json.dumps({**about, "max_response_length": 8}))
    words = "green and slow, it is round"
    rewards = TrainedRewards(moved)
    (cut, longer) = rewards.scores(["why"] * 2, [words, f"{words} odd"])
    np.testing.assert_array_equal(cut, longer)
    whole, ahead = TrainedRewards(folder).scores(["why"] * 2, [words, f"{words} odd"])
    assert not np.allclose(whole, ahead)
    rules = rewards.rules
    assert (rules.max_response_length, rules.close_cut) == (8, True)
    (tokens,) = encode(rewards.tokenizer, ["why"], [(words,)], rules).responses[0]
    assert len(tokens) == 8
    assert tokens[-1] == rewards.tokenizer.eos_token_id
