"""The published architectures: their totals of parameters, and that nothing is asked of the hub."""

from __future__ import annotations

import json

import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.forecast.architectures import CAUSAL, CLASSIFIER, PUBLISHED, meta_model, published_config
from lightning_moa.rewards.score_head import ScoreHead
from lightning_moa.rewards.table import MODELS, SCORE_HEAD

TOTALS = {
    # 32,000 words make LLaMA-7B's 6,738,415,616; Safe-RLHF's padding token adds a row to two matrices.
    "PKU-Alignment/alpaca-7b-reproduced": 6_738_415_616 + 2 * 4096,
    "HuggingFaceH4/mistral-7b-sft-beta": 7_241_732_096,
    "smollm2": 134_515_008,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 361_821_120,
    "facebook/opt-125m": 125_239_296,
    "facebook/opt-350m": 331_196_416,
    "facebook/opt-6.7b": 6_658_473_984,
    # The body of the first, and a head of one score.
    "PKU-Alignment/beaver-7b-v1.0-reward": 6_738_415_616 - 32000 * 4096 + 4096 + 4097,
    "PKU-Alignment/beaver-7b-v1.0-cost": 6_738_415_616 - 32000 * 4096 + 4096 + 4097,
    # GPT-2's well-known sizes and a head without bias.
    "Ray2333/gpt2-large-harmless-reward_model": 774_030_080 + 1280,
    "Ray2333/gpt2-large-helpful-reward_model": 774_030_080 + 1280,
    "Tristan/gpt2_reward_summarization": 124_439_808 + 768,
    "mohameddhiab/humor-no-humor": 66_955_010,
    "CogComp/bart-faithful-summary-detector": 139_420_416 + 768 * 768 + 768 + 2 * 768 + 2,
    "OpenAssistant/reward-model-deberta-v3-large-v2": 435_062_785,
}


def builder(name):
    kinds = {entry.id: ScoreHead if entry.kind == SCORE_HEAD else CLASSIFIER for entry in MODELS}
    return kinds.get(name, CAUSAL)


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_are_the_published_ones(name):
    model = meta_model(published_config(name), "bf16", builder(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == TOTALS[name]
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_every_reward_model_of_the_table_is_known():
    assert {entry.id for entry in MODELS} <= set(PUBLISHED)


@pytest.mark.parametrize(
    ("precision", "kind"), [("fp32", torch.float32), ("int8", torch.bfloat16), ("nf4", torch.bfloat16)]
)
def test_precision_chooses_the_type_of_what_is_not_quantised(precision, kind):
    model = meta_model(published_config("facebook/opt-125m"), precision)
    assert model.dtype == kind


def test_dropout_is_off_and_the_configuration_left_as_it_was():
    config = published_config("facebook/opt-125m")
    assert config.dropout == 0.1
    assert meta_model(config).config.dropout == 0
    assert config.dropout == 0.1


def test_a_local_folder_is_read(tmp_path):
    sizes = {
        "model_type": "llama",
        "vocab_size": 11,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
    }
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"num_attention_heads": 2}))
    model = meta_model(published_config(str(tmp_path)))
    assert model.lm_head.weight.shape == (11, 8)


def test_an_unknown_model_names_what_is_known(tmp_path):
    with pytest.raises(UserError, match=r"facebook/opt-350m.*config\.json"):
        published_config("someone/something")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        published_config(str(tmp_path))
