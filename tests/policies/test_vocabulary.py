"""A pretrained folder's model and tokenizer: sizes, ends, ids without text, adapters left beside the weights."""

from __future__ import annotations

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

from lightning_moa.data.tokenizer import load_tokenizer, train_bpe
from lightning_moa.errors import UserError
from lightning_moa.policies import (
    Heads,
    LoRA,
    Policy,
    generate,
    load_model,
    load_policy,
    response_logps,
    save_model,
)
from lightning_moa.policies.base_folder import check_folder, has_chat_template
from lightning_moa.policies.model import as_model
from lightning_moa.policies.vocabulary import agree, ends_of
from tests.policies.models import shake, tiny


def saved(folder, extra=0, eos=None, family="llama"):
    tokenizer = train_bpe(["how do I bake bread", "mix flour and water"] * 3, 280)
    model = tiny(family, vocab_size=len(tokenizer) + extra)
    model.generation_config.eos_token_id = model.config.eos_token_id = eos if eos is not None else 2
    save_model(model, folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def test_a_token_without_a_row_is_refused_with_both_sizes(tmp_path):
    _, tokenizer = saved(tmp_path, extra=-2)
    highest = len(tokenizer) - 1
    with pytest.raises(
        UserError, match=f"model.path=x: its tokenizer has ids up to {highest}.* {highest - 1} rows"
    ):
        check_folder(tmp_path, "model.path=x")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=f"ids up to {highest}"):
        agree(load_model(tmp_path), tokenizer, "model x")


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("kind", ["base", "lora", "heads"])
def test_an_id_without_text_is_never_sampled_and_has_no_probability(kind, family, tmp_path):
    _, tokenizer = saved(tmp_path, extra=400, family=family)
    model = load_model(tmp_path)
    agree(model, tokenizer, "model x")
    if kind == "heads":
        policy = Heads(model, 1, rank=2).head(0)
    else:
        policy = Policy(model) if kind == "base" else shake(LoRA(model, 2), std=0.2)
    ids = torch.tensor([tokenizer("how do I")["input_ids"]] * 8)
    sampled = generate(policy, ids, torch.ones_like(ids), max_new_tokens=16, temperature=3.0)
    assert int(sampled.tokens.max()) < len(tokenizer)
    logits = policy(ids, torch.ones_like(ids)).detach()
    assert float(logits.softmax(-1)[..., len(tokenizer) :].sum()) == 0
    whole = torch.cat([ids, sampled.tokens], 1)
    response = torch.cat([torch.zeros_like(ids).bool(), sampled.mask], 1)
    assert bool(response_logps(policy, whole, torch.ones_like(whole), response).isfinite().all())


def test_a_base_whose_ids_all_have_text_is_left_as_it_is(tmp_path):
    model, tokenizer = saved(tmp_path)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    agree(model, tokenizer, "model x")
    assert model.state_dict().keys() == before.keys()
    assert model.generation_config.eos_token_id == 2


def test_the_tokenizers_eos_and_the_models_own_both_end_a_response(tmp_path):
    saved(tmp_path, eos=5)
    model, tokenizer = load_model(tmp_path), load_tokenizer(tmp_path)
    agree(model, tokenizer, "model x")
    policy = Policy(model)
    ids = torch.tensor([[10, 11]])
    for end in (5, tokenizer.eos_token_id):
        head = model.get_output_embeddings()
        bias = torch.zeros(head.out_features)
        bias[end] = 1e4
        head.bias = torch.nn.Parameter(bias)
        assert int(generate(policy, ids, torch.ones_like(ids), max_new_tokens=12).mask.sum()) == 1


@pytest.fixture
def with_adapter(tmp_path):
    """A base folder in which peft left an adapter, and the base's own logits."""
    model, _ = saved(tmp_path / "base")
    ids = torch.tensor([[10, 11, 12]])
    expected = model(input_ids=ids).logits.detach()
    tuned = get_peft_model(load_model(tmp_path / "base"), LoraConfig(r=2, init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "adapter")
    return tmp_path, ids, expected


def test_an_adapter_beside_the_weights_is_not_loaded(with_adapter):
    folder, ids, expected = with_adapter
    assert (folder / "base" / "adapter_config.json").is_file()
    check_folder(folder / "base", "model.path=x")
    model = load_model(folder / "base")
    assert torch.equal(model(input_ids=ids).logits, expected)
    assert not [name for name, _ in model.named_parameters() if "lora" in name]


def test_an_adapters_folder_is_refused_by_name(with_adapter):
    folder, _, _ = with_adapter
    named = json.loads((folder / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    for refused in (
        lambda: load_model(folder / "adapter"),
        lambda: check_folder(folder / "adapter", "model x"),
    ):
        with pytest.raises(UserError, match=r"adapter of .*: merge it first") as error:
            refused()
        assert str(named) in str(error.value)


def test_what_closes_a_turn_ends_a_response_too(tmp_path):
    _, tokenizer = saved(tmp_path, eos=7)
    model = load_model(tmp_path)
    agree(model, tokenizer, "model x", [9])
    assert ends_of(model) == [7, tokenizer.eos_token_id, 9]
    agree(model, tokenizer, "model x", [9])
    assert ends_of(model) == [7, tokenizer.eos_token_id, 9]


def test_a_folder_says_whether_its_tokenizer_has_a_chat_template(tmp_path):
    _, tokenizer = saved(tmp_path)
    assert not has_chat_template(tmp_path)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(tmp_path)
    assert has_chat_template(tmp_path)


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
)
@pytest.mark.parametrize(
    ("text", "said"), [("null", "got NoneType"), ("7", "got int"), ("", "not JSON"), ('{"a"', "not JSON")]
)
def test_a_folder_s_torn_file_is_named(tmp_path, name, text, said):
    for each in ("config.json", "tokenizer.json"):
        (tmp_path / each).write_text("{}")
    check_folder(tmp_path, "model.path=x")
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=rf"{name}: .*{said}"):
        check_folder(tmp_path, "model.path=x")


def test_a_policy_that_is_loaded_again_is_the_one_that_was_saved(tmp_path):
    """Its base comes as it was published: with ids without text, and another end than the tokenizer's."""
    _, tokenizer = saved(tmp_path / "base", extra=8, eos=5)
    policy = shake(LoRA(str(tmp_path / "base"), 2), std=0.2).eval()
    ids = torch.tensor([tokenizer("how do I")["input_ids"]] * 4)
    policy.save(tmp_path / "policy")
    told = json.loads((tmp_path / "policy" / "policy.json").read_text())["agreed"]
    assert told["silent"] == list(range(len(tokenizer), len(tokenizer) + 8))
    again = load_policy(load_model(tmp_path / "base"), tmp_path / "policy").eval()
    mask = torch.ones_like(ids)
    with torch.no_grad():
        assert torch.equal(again(ids, mask), policy(ids, mask))
    assert ends_of(again.model) == ends_of(policy.model) == [5, tokenizer.eos_token_id]
    sampled = [
        generate(each, ids, mask, max_new_tokens=12, temperature=2.0, seed=1).tokens
        for each in (policy, again)
    ]
    assert torch.equal(*sampled)
    # On a base that agrees already nothing is added twice.
    twice = load_policy(as_model(tmp_path / "base"), tmp_path / "policy").eval()
    with torch.no_grad():
        assert torch.equal(twice(ids, mask), policy(ids, mask))
    (tmp_path / "policy" / "policy.json").write_text(
        json.dumps(
            {**json.loads((tmp_path / "policy" / "policy.json").read_text()), "agreed": {"silent": ["x"]}}
        )
    )
    with pytest.raises(UserError, match=r"'agreed' is not as Policy.save wrote it"):
        load_policy(load_model(tmp_path / "base"), tmp_path / "policy")
