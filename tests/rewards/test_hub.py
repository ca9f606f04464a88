import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, GPT2LMHeadModel

from lightning_moa.errors import UserError
from lightning_moa.rewards import HubRewards, hub_model
from lightning_moa.rewards.inputs import templated
from lightning_moa.rewards.loading import load_tokenizer
from lightning_moa.rewards.score_head import ScoreHead
from lightning_moa.rewards.tokens import Token

from .models import (
    PROMPTS,
    RESPONSES,
    bart_folder,
    distilbert_folder,
    gpt2_folder,
    llama_folder,
    roberta_folder,
)

HARMLESS = "Ray2333/gpt2-large-harmless-reward_model"
HUMOR = "mohameddhiab/humor-no-humor"
SUMMARY = "Tristan/gpt2_reward_summarization"
FAITHFUL = "CogComp/bart-faithful-summary-detector"
REWARD = "PKU-Alignment/beaver-7b-v1.0-reward"
COST = "PKU-Alignment/beaver-7b-v1.0-cost"
MAKERS = {
    HARMLESS: gpt2_folder,
    SUMMARY: gpt2_folder,
    HUMOR: distilbert_folder,
    FAITHFUL: bart_folder,
    REWARD: llama_folder,
    COST: llama_folder,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {maker: maker(tmp_path_factory.mktemp("model")) for maker in set(MAKERS.values())}
    return {model_id: made[maker] for model_id, maker in MAKERS.items()}


def alone(model_id, folder, rewards):
    """Scores by plain transformers calls, one unpadded input at a time."""
    entry = hub_model(model_id)
    kind = ScoreHead if entry.kind == "score head" else AutoModelForSequenceClassification
    network = kind.from_pretrained(folder).eval()
    column = 1 if entry.output else 0
    out = []
    with torch.no_grad():
        for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
            ids = torch.tensor([[token.id for token in rewards.encoder.encode(prompt, response)]])
            result = network(input_ids=ids, attention_mask=torch.ones_like(ids))
            out.append((result if entry.kind == "score head" else result.logits)[0, column].item())
    return entry.sign * np.array(out)[:, None]


@pytest.mark.parametrize("model_id", MAKERS)
@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_scores_are_the_models_own_whatever_the_batch(folders, model_id, batch_size):
    rewards = HubRewards(model_id, path=folders[model_id], batch_size=batch_size)
    scores = rewards.scores(PROMPTS, RESPONSES)
    assert scores.shape == (6, 1)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, alone(model_id, folders[model_id], rewards), atol=1e-5, rtol=0)
    assert np.ptp(scores) > 1e-2


@pytest.mark.parametrize("model_id", MAKERS)
def test_scores_do_not_depend_on_the_order(folders, model_id):
    rewards = HubRewards(model_id, path=folders[model_id], batch_size=4)
    order = np.random.default_rng(0).permutation(6)
    shuffled = rewards.scores([PROMPTS[i] for i in order], [RESPONSES[i] for i in order])
    np.testing.assert_allclose(shuffled, rewards.scores(PROMPTS, RESPONSES)[order], atol=1e-5, rtol=0)


def test_no_texts_have_no_scores(folders):
    assert HubRewards(HUMOR, path=folders[HUMOR]).scores([], []).shape == (0, 1)


def test_a_cost_is_negated(folders):
    reward = HubRewards(REWARD, path=folders[REWARD]).scores(PROMPTS, RESPONSES)
    np.testing.assert_array_equal(HubRewards(COST, path=folders[COST]).scores(PROMPTS, RESPONSES), -reward)


def test_a_model_without_a_padding_token_gets_one(folders):
    assert json.loads((folders[HARMLESS] / "config.json").read_text()).get("pad_token_id") is None
    rewards = HubRewards(HARMLESS, path=folders[HARMLESS])
    assert rewards.network.config.pad_token_id == rewards.pad_id == 0


def test_the_longest_input_is_the_smaller_of_both_limits(folders):
    assert HubRewards(HARMLESS, path=folders[HARMLESS]).encoder.longest == 96
    assert HubRewards(HUMOR, path=folders[HUMOR]).encoder.longest == 64


def test_positions_of_roberta_begin_behind_the_paddings(tmp_path):
    rewards = HubRewards(HUMOR, path=roberta_folder(tmp_path, positions=34))
    assert rewards.encoder.longest == 32
    with pytest.warns(UserWarning, match="longer than its 32 tokens"):
        rewards.scores(["p"], ["four " * 60])
    long = dataclasses.replace(hub_model(HUMOR), max_length=33)
    with pytest.raises(UserError, match="max_length=33 is more than its 32 positions"):
        HubRewards(long, path=tmp_path)


def test_an_input_without_a_token_is_scored(folders):
    entry = dataclasses.replace(hub_model(HARMLESS), form=templated("{response}"))
    rewards = HubRewards(entry, path=folders[HARMLESS])
    both = rewards.scores(["p", "q"], ["hello", ""])
    np.testing.assert_allclose(rewards.scores(["p"], [""]), both[1:], atol=1e-5)
    bos = [token.id for token in rewards.encoder.encode("p", "")]
    assert bos == [rewards.encoder.tokenizer.bos_token_id]


def test_a_long_prompt_is_counted_and_does_not_hide_the_response(folders):
    rewards = HubRewards(HARMLESS, path=folders[HARMLESS])
    good, bad = rewards.scores(["word " * 300] * 2, ["Mix flour and water.", "A man walks into a bar."])[:, 0]
    assert abs(good - bad) > 1e-3
    assert dict(+rewards.cut) == {"prompts cut at their start": 2}


def test_a_cut_response_is_warned_of(folders):
    rewards = HubRewards(HUMOR, path=folders[HUMOR])
    with pytest.warns(UserWarning, match="1 of 2 responses are longer than its 64 tokens"):
        rewards.scores(["p", "p"], ["ha", "zq" * 90])
    assert rewards.cut["responses cut at their end"] == 1


@pytest.mark.parametrize(("labels", "column"), [(("HUMOR", "NO_HUMOR"), 0), (("no humor", "humor"), 1)])
def test_the_output_is_found_by_its_name(tmp_path, labels, column):
    rewards = HubRewards(HUMOR, path=distilbert_folder(tmp_path, labels))
    assert rewards.column == column
    other = dataclasses.replace(hub_model(HUMOR), output=labels[1 - column])
    inputs = [[token.id for token in rewards.encoder.encode("p", "ha ha")]]
    with torch.no_grad():
        logits = rewards.network(input_ids=torch.tensor(inputs)).logits[0]
    assert rewards.scores(["p"], ["ha ha"])[0, 0] == pytest.approx(logits[column].item(), abs=1e-5)
    against = HubRewards(other, path=tmp_path).scores(["p"], ["ha ha"])[0, 0]
    assert against == pytest.approx(logits[1 - column].item(), abs=1e-5)


@pytest.mark.parametrize("labels", [("LABEL_0", "LABEL_1"), ("humor", "HUMOR")])
def test_an_ambiguous_label_lists_the_labels(tmp_path, labels):
    with pytest.raises(UserError, match=f"0: {labels[0]}, 1: {labels[1]}"):
        HubRewards(HUMOR, path=distilbert_folder(tmp_path, labels))


def test_a_label_of_ones_own_can_be_named(tmp_path):
    entry = dataclasses.replace(hub_model(HUMOR), output="LABEL_1")
    assert HubRewards(entry, path=distilbert_folder(tmp_path, ("LABEL_0", "LABEL_1"))).column == 1


def test_two_outputs_where_one_is_expected_are_a_user_error(tmp_path):
    with pytest.raises(UserError, match="a single output is expected, its labels are 0: LABEL_0, 1: LABEL_1"):
        HubRewards(HARMLESS, path=gpt2_folder(tmp_path, labels=2))


def test_an_objective_can_have_the_papers_word(folders):
    assert HubRewards(SUMMARY, path=folders[SUMMARY]).objectives == ("summary",)
    assert HubRewards(SUMMARY, objective="faithful", path=folders[SUMMARY]).objectives == ("faithful",)


def test_a_record_says_what_was_loaded(folders):
    about = HubRewards(COST, path=folders[COST]).about
    assert (about["model"], about["path"], about["revision"]) == (COST, str(folders[COST]), None)
    assert about["sign"] == -1
    assert json.loads(json.dumps(about)) == about


def test_half_precision_is_close(folders):
    full = HubRewards(REWARD, path=folders[REWARD]).scores(PROMPTS, RESPONSES)
    half = HubRewards(REWARD, path=folders[REWARD], dtype="bfloat16")
    assert next(half.network.parameters()).dtype == torch.bfloat16
    assert abs(half.scores(PROMPTS, RESPONSES) - full).max() < 0.2 * np.ptp(full)


@pytest.mark.parametrize("wrong", [{"dtype": "int8"}, {"batch_size": 0}])
def test_wrong_options_are_user_errors(folders, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        HubRewards(HUMOR, path=folders[HUMOR], **wrong)


def test_a_missing_score_layer_is_a_user_error(tmp_path, folders):
    network = AutoModelForSequenceClassification.from_pretrained(folders[HARMLESS])
    body = GPT2LMHeadModel(network.config)
    body.save_pretrained(tmp_path)
    HubRewards(HARMLESS, path=folders[HARMLESS]).encoder.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"has no weight score\.weight"):
        HubRewards(HARMLESS, path=tmp_path)


def test_an_unknown_weight_is_a_user_error_and_an_old_mask_is_not(tmp_path):
    folder = gpt2_folder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    mask = {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4),
        "transformer.h.0.attn.masked_bias": torch.ones(1),
    }
    save_file(weights | mask, folder / "model.safetensors", metadata={"format": "pt"})
    HubRewards(HARMLESS, path=folder)
    save_file(
        weights | {"extra.weight": torch.ones(1)}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(UserError, match=r"unknown weight extra\.weight"):
        HubRewards(HARMLESS, path=folder)


def test_a_padding_token_that_the_model_does_not_know_is_a_user_error(tmp_path):
    folder = gpt2_folder(tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": "<new>"}))
    with pytest.raises(UserError, match="outside its vocabulary of 320"):
        HubRewards(HARMLESS, path=folder)


@pytest.mark.parametrize("published", [None, "eos"])
def test_an_input_that_ends_in_eos_is_scored_where_the_model_itself_does(tmp_path, published):
    """A network that was published without a padding token looks at the last one, EOS or not; one that was told to
    pad with EOS looks before it."""
    folder = gpt2_folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    eos = config["eos_token_id"] = load_tokenizer(folder).eos_token_id
    config["pad_token_id"] = None if published is None else eos
    (folder / "config.json").write_text(json.dumps(config))
    rewards = HubRewards(HARMLESS, path=folder, batch_size=4)
    encode = rewards.encoder.encode
    rewards.encoder.encode = lambda *texts: [*encode(*texts), Token(eos, 0, "control")]
    np.testing.assert_allclose(
        rewards.scores(PROMPTS, RESPONSES), alone(HARMLESS, folder, rewards), rtol=1e-4, atol=1e-6
    )
