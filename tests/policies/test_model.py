"""Base models: from scratch, and from disk."""

from __future__ import annotations

import json
from functools import partialmethod

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaForCausalLM, OPTConfig, OPTForCausalLM

from lightning_moa.data.tokenizer import load_tokenizer, train_bpe
from lightning_moa.errors import UserError
from lightning_moa.forecast.architectures import published_config
from lightning_moa.policies import build_model, load_model, save_model
from lightning_moa.policies.model import as_model
from lightning_moa.run_folders import owner
from tests.policies.models import tiny, tokens

FAMILIES = ("llama", "mistral", "opt")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_fixes_the_weights_and_the_global_generator_is_left_alone(family):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first, again, other = (build_model(family, vocab_size=20, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_has_its_own_weight_and_nothing_drops_out(family):
    model = build_model(family, vocab_size=20).train()
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    ids, mask = tokens()
    ids = ids.clamp(max=19)
    logits = [model(input_ids=ids, attention_mask=mask).logits for _ in range(2)]
    assert torch.equal(*logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_save_and_load(family, tmp_path):
    model = tiny(family)
    # What a process left that was killed: it had the number of this one.
    (tmp_path / f".model.{owner().rpartition('_')[0]}_1").mkdir()
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    ids, mask = tokens()
    assert torch.equal(
        again(input_ids=ids, attention_mask=mask).logits, model(input_ids=ids, attention_mask=mask).logits
    )
    assert (tmp_path / "model.safetensors").is_file()
    assert not list(tmp_path.glob(".*"))
    assert load_model(str(tmp_path), dtype="bfloat16", device="cpu").dtype == torch.bfloat16
    save_model(model, tmp_path)


@pytest.mark.parametrize(("before", "after"), [("1KB", "1GB"), ("1GB", "1KB")])
def test_no_weights_of_a_former_model_are_left(before, after, tmp_path, monkeypatch):
    """Those in one file would be read before those in several."""
    (tmp_path / "notes.txt").write_text("kept")
    whole = LlamaForCausalLM.save_pretrained
    for size, seed in ((before, 0), (after, 1)):
        monkeypatch.setattr(
            LlamaForCausalLM, "save_pretrained", partialmethod(whole, max_shard_size=size), raising=True
        )
        model = build_model(vocab_size=50, hidden_size=16, layers=1, heads=2, intermediate_size=32, seed=seed)
        save_model(model, tmp_path)
        again = load_model(tmp_path)
        same = (torch.equal(*each) for each in zip(again.parameters(), model.parameters(), strict=True))
        assert all(same)
    assert (tmp_path / "model.safetensors").exists() == (after == "1GB")
    assert (tmp_path / "model.safetensors.index.json").exists() == (after == "1KB")
    assert (tmp_path / "notes.txt").read_text() == "kept"


class Products(TorchDispatchMode):
    """The sizes of what is multiplied by batched products."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.bmm.default:
            self.sizes.append([tuple(each.shape) for each in args])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_row_has_a_copy_of_the_heads_weights_in_16_bits(family, tmp_path):
    """torch makes one for each row of a slice that is asked for logits."""
    save_model(tiny(family), tmp_path)
    model = load_model(tmp_path, dtype="bfloat16")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    ids, mask = tokens()
    vocabulary = model.get_output_embeddings().out_features
    with Products() as seen:
        some = model(input_ids=ids, attention_mask=mask, logits_to_keep=2).logits
    assert not [size for size in seen.sizes if vocabulary in size[1]]
    assert torch.allclose(some, model(input_ids=ids, attention_mask=mask).logits[:, -2:], atol=1e-2)


def test_a_loaded_models_dropout_is_off(tmp_path):
    config = OPTConfig(
        vocab_size=30, hidden_size=16, word_embed_proj_dim=16, ffn_dim=20, num_hidden_layers=2,
        num_attention_heads=2,
        dropout=0.5, attention_dropout=0.5, layerdrop=0.9,
    )  # fmt: skip
    OPTForCausalLM(config).save_pretrained(tmp_path)
    model = load_model(tmp_path).train()
    ids, mask = tokens()
    assert torch.equal(
        model(input_ids=ids, attention_mask=mask).logits, model(input_ids=ids, attention_mask=mask).logits
    )


@pytest.mark.parametrize(
    "options",
    [
        {"family": "gpt5"},
        {"dtype": "int3"},
        {"hidden_size": 10, "heads": 4},
        {"hidden_size": 12, "heads": 4},
        {"heads": 0},
        {"hidden_size": 0},
    ],
)
def test_refuses_what_it_cannot_build(options):
    with pytest.raises(UserError, match=r"must be|allowed"):
        build_model(**({"vocab_size": 20} | options))


def test_refuses_folders_without_a_model(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such folder"):
        load_model(tmp_path / "missing")
    with pytest.raises(UserError, match="no such folder"):
        load_model("./missing")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(tmp_path)


def test_refuses_pickled_and_torn_weights(tmp_path):
    model = tiny()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(tmp_path)
    save_model(model, tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(tmp_path)


def test_a_hub_that_cannot_be_reached_is_a_user_error(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model("nobody/there-is-no-such-model", revision="main")


def test_code_that_lies_in_a_model_s_folder_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\n")
    names = {
        "AutoConfig": "evil.Config",
        "AutoTokenizer": ["evil.Config", None],
        "AutoModelForCausalLM": "evil.Config",
    }
    for config in ({"model_type": "evil"}, {"model_type": "llama"}):
        (tmp_path / "config.json").write_text(json.dumps({**config, "auto_map": names}))
        with pytest.raises(UserError):
            load_model(tmp_path)
        with pytest.raises(UserError):
            load_tokenizer(tmp_path)
    assert not ran.exists()


def test_a_place_below_home_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tokenizer = train_bpe(["a b c"], 259)
    save_model(build_model(tokenizer=tokenizer), tmp_path / "own" / "model", tokenizer)
    short = "~/own/model"
    assert load_model(short).config.vocab_size == published_config(short).vocab_size == len(tokenizer)
    assert load_tokenizer(short).get_vocab() == tokenizer.get_vocab()
    assert as_model(short).config.vocab_size == len(tokenizer)
