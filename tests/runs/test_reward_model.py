"""The classifier that a reward model begins as."""

import copy
import gc
import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaModel

from lightning_moa.policies import build_model, save_model
from lightning_moa.runs import reward_model
from lightning_moa.runs.reward_model import classifier
from tests.small_tokenizers import byte_level

CPU = {"accelerator": "cpu", "devices": 1, "nodes": 1, "strategy": None, "precision": "int8"}


@pytest.fixture
def base(tmp_path):
    """A finished `base` task's folder, and its model."""
    tokenizer = byte_level()
    sizes = {"hidden_size": 16, "heads": 2, "intermediate_size": 16}
    ends = {"pad_id": tokenizer.pad_token_id, "eos_id": tokenizer.eos_token_id}
    model = build_model(vocab_size=len(tokenizer), **sizes, **ends)
    save_model(model, tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "base.json").write_text(json.dumps({"model": {"path": None}}))
    return tmp_path, model


def test_it_has_the_bases_body_and_a_head_of_the_seed_s_own(base):
    folder, model = base
    torch.manual_seed(5)
    network, tokenizer = classifier(folder, CPU, 2)
    for name, value in model.base_model.state_dict().items():
        assert torch.equal(network.base_model.state_dict()[name], value), name
    assert all(each.requires_grad and each.dtype == torch.float32 for each in network.parameters())
    # As transformers makes it, which begins with the body's own numbers.
    config = copy.deepcopy(model.config)
    config.num_labels = 2
    torch.manual_seed(5)
    expected = AutoModelForSequenceClassification.from_config(config)
    assert torch.equal(network.score.weight, expected.score.weight)
    assert network.config.pad_token_id == tokenizer.pad_token_id
    assert network.base_model.config is network.config


def test_no_second_body_is_held_while_the_bases_is_read(base, monkeypatch):
    folder, model = base
    del model
    load = reward_model.load_base

    def counted(folder, hardware):
        gc.collect()
        held.append(sum(type(each) is LlamaModel for each in gc.get_objects()))
        return load(folder, hardware)

    gc.collect()
    held, before = [], sum(type(each) is LlamaModel for each in gc.get_objects())
    monkeypatch.setattr(reward_model, "load_base", counted)
    classifier(folder, CPU, 2)
    assert held == [before]


def test_its_weights_are_in_the_type_that_they_are_trained_in(base, monkeypatch):
    folder, _ = base
    gpu = {**CPU, "accelerator": "gpu", "devices": 8}
    network, _ = classifier(folder, gpu, 2)
    assert {each.dtype for each in network.parameters()} == {torch.bfloat16}
    network, _ = classifier(folder, {**gpu, "precision": "fp32"}, 2)
    assert {each.dtype for each in network.parameters()} == {torch.float32}
