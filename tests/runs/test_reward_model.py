"""The classifier that a reward model begins as."""

import copy
import gc
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaModel

from lightning_moa.batches import PairBatch, SequenceBatch
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.data.order import stable_hash
from lightning_moa.data.registry import build
from lightning_moa.errors import UserError
from lightning_moa.policies import build_model, save_model
from lightning_moa.rewards.trainable import plain, trained_part
from lightning_moa.runs import reward_model
from lightning_moa.runs.loading import load_data
from lightning_moa.runs.reward_model import accuracies, classifier, half_of
from tests.data.support import pair_rows, write_lines
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
    network = trained_part(network, {"train": "all"})
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


def batch_of(tokenizer):
    found = tokenizer(["a b c", "d e"], padding=True, return_tensors="pt")
    return {"input_ids": found.input_ids, "attention_mask": found.attention_mask}


def step(network, batch):
    """One update of what is trained; the scores before it."""
    trained = [each for each in network.parameters() if each.requires_grad]
    scores = network(**batch).logits
    scores.square().sum().backward()
    torch.optim.SGD(trained, lr=1.0).step()
    return scores


@pytest.mark.parametrize("train", ["lora", "head"])
def test_a_frozen_body_stays_as_it_is(base, train):
    folder, model = base
    network, tokenizer = classifier(folder, CPU, 2)
    network = trained_part(network, {"train": train, "rank": 2})
    trained = [name for name, each in network.named_parameters() if each.requires_grad]
    assert all("lora_" in name or "score" in name for name in trained)
    assert any("lora_" in name for name in trained) == (train == "lora")
    batch = batch_of(tokenizer)
    before = step(network, batch)
    assert (network(**batch).logits - before).abs().max() > 1e-3
    frozen = {name: each for name, each in network.named_parameters() if not each.requires_grad}
    for name, value in model.base_model.named_parameters():
        (same,) = [
            each
            for found, each in frozen.items()
            if found.replace(".base_layer", "").endswith(f"model.{name}")
        ]
        assert torch.equal(same, value), name


def test_what_is_saved_is_a_plain_classifier_with_the_lora_in_it(base):
    folder, _ = base
    network, tokenizer = classifier(folder, CPU, 2)
    network = trained_part(network, {"train": "lora", "rank": 2})
    batch = batch_of(tokenizer)
    for _ in range(2):
        step(network, batch)
    network.eval()
    scores = network(**batch).logits
    save_model(plain(network), folder / "rewards")
    stock, loaded = AutoModelForSequenceClassification.from_pretrained(
        folder / "rewards", output_loading_info=True
    )
    assert not loaded["missing_keys"]
    assert not loaded["unexpected_keys"]
    assert torch.allclose(stock(**batch).logits, scores, atol=1e-5)


def test_a_score_is_read_off_the_responses_end_where_padding_would_be_eos(base):
    folder, _ = base
    tokenizer = byte_level()
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder / "model")
    network, tokenizer = classifier(folder, CPU, 1)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert network.config.pad_token_id == tokenizer.pad_token_id
    ids = torch.tensor([[5, 6, tokenizer.eos_token_id, tokenizer.pad_token_id]])
    cut, mask = ids[:, :3], torch.tensor([[1, 1, 1, 0]])
    hidden = network.base_model(input_ids=cut).last_hidden_state[:, 2]
    assert torch.allclose(
        network(input_ids=ids, attention_mask=mask).logits, network.score(hidden), atol=1e-6
    )


class Held:
    """Held-out rows whose longer response is given the higher score by a model that counts tokens."""

    objectives = ("helpful", "concise")

    def batches(self, tokenizer, split, view, rows, limit):
        assert split == "eval"
        lengths = torch.tensor([[2, 1, 3, 1], [1, 2, 1, 3]] if view == "pairs" else [[2, 1, 1, 3]])
        mask = torch.arange(3) < lengths.reshape(-1)[:, None]
        if view == "sequences":
            given = torch.tensor([[0.9, 0.5], [0.1, 0.5], [0.2, 0.7], [0.8, 0.1]])
            yield SequenceBatch(mask.long(), mask, mask, given)
            return
        labels = torch.tensor([[0.0, 1.0], [1.0, torch.nan], [0.0, 1.0], [0.0, 0.0]])
        yield PairBatch(mask.long(), mask, mask, labels, torch.arange(4))


class Counting:
    device = torch.device("cpu")

    def __call__(self, input_ids, attention_mask):
        return SimpleNamespace(logits=attention_mask.sum(1, keepdim=True).float().expand(-1, 2))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("pairs", {"helpful": {"right": 3, "pairs": 4}, "concise": {"right": 0, "pairs": 3}}),
        ("sequences", {"helpful": {"right": 2, "pairs": 2}, "concise": {"right": 0, "pairs": 1}}),
    ],
)
def test_held_out_pairs_are_counted_where_one_is_better(view, expected):
    assert accuracies(Counting(), Held(), None, view, 9, 4) == expected


@pytest.mark.parametrize("score", [1.0, torch.nan])
def test_a_model_that_tells_nothing_orders_nothing(score):
    class Same(Counting):
        def __call__(self, input_ids, attention_mask):
            return SimpleNamespace(logits=torch.full((len(input_ids), 2), score))

    found = accuracies(Same(), Held(), None, "pairs", 9, 4)
    assert {name: each["right"] for name, each in found.items()} == {"helpful": 0, "concise": 0}


def test_the_halves_share_no_prompt_and_miss_none():
    data, tokenizer = build(SyntheticConfig(pairs=60, seed=0), ["helpful", "harmless"]), None
    tokenizer = data.world_tokenizer()
    first, second = (half_of(data, tokenizer, "pairs", half) for half in (0, 1))
    index = data.encoded(tokenizer, "train", "pairs").index
    prompts = np.array(data.table("train").prompts)
    assert sorted([*first, *second]) == list(range(len(index)))
    assert not set(prompts[index[first]]) & set(prompts[index[second]])
    assert min(len(first), len(second)) > len(index) / 5


def test_a_half_without_prompts_is_told():
    tokenizer: Any = None
    table = SimpleNamespace(prompts=["one prompt"] * 3)
    data = SimpleNamespace(
        table=lambda split: table, encoded=lambda *given: SimpleNamespace(index=np.arange(3))
    )
    full = stable_hash("half", "one prompt") % 2
    assert half_of(data, tokenizer, "pairs", full).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match=r"^evaluation\.judge: one half .* is empty \(1 prompts in all\)"):
        half_of(data, tokenizer, "pairs", 1 - full)


def test_what_ends_for_a_reward_model_does_not_end_for_the_tasks_after_it(tmp_path):
    """A process does many tasks, and reads a data set once."""
    path = write_lines(tmp_path / "pairs.jsonl", pair_rows(20))
    spec = {
        "data": {"name": "pairs", "path": str(path), "labels": {"good": "good"}},
        "data_class": None,
        "objectives": ["good"],
        "files": None,
    }
    closing = load_data({**spec, "close_cut": True})
    assert closing.close_cut
    assert not load_data(spec).close_cut
    assert load_data({**spec, "close_cut": False}) is load_data(spec), "a world's is read once for all tasks"
    assert load_data({**spec, "close_cut": True}) is closing
