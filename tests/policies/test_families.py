"""Families of base models: each is adapted, trained, sampled, merged, saved, exported to stock peft, and loaded."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GPTNeoXJapaneseConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PhiConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from lightning_moa.aggregation import Linear
from lightning_moa.errors import UserError
from lightning_moa.methods import Panacea
from lightning_moa.objectives import DPO
from lightning_moa.policies import (
    LoRA,
    Policy,
    RewardedSoup,
    SVDLoRA,
    generate,
    load_model,
    load_policy,
    save_model,
)
from lightning_moa.policies.layers import output_name, resolve_targets
from lightning_moa.policies.probes import last_layer
from tests.methods.fitting import adam, train
from tests.objectives.batches import pairs

from .models import BOS, EOS, PAD, VOCABULARY, shake, tokens

V = 24
IDS = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS, "vocab_size": V}
SIZES = {
    **IDS,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}
GROUPED = {**SIZES, "num_key_value_heads": 1, "intermediate_size": 20}
GEMMA = {**GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8}

FAMILIES = {
    "llama": LlamaConfig(**GROUPED, tie_word_embeddings=True),
    "mistral": MistralConfig(**GROUPED, head_dim=8),
    "opt": OPTConfig(**SIZES, ffn_dim=20, word_embed_proj_dim=16, dropout=0.0, attention_dropout=0.0),
    "qwen2": Qwen2Config(**GROUPED, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**GROUPED, head_dim=8),
    "gemma2": Gemma2Config(**GEMMA, attn_implementation="eager"),
    "gemma3": Gemma3TextConfig(**GEMMA, sliding_window=8),
    "gpt_neox": GPTNeoXConfig(**SIZES, intermediate_size=20, tie_word_embeddings=False),
    "gpt2": GPT2Config(
        **IDS, n_embd=16, n_layer=2, n_head=2, n_positions=32, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    ),
}
AT = torch.tensor([0.3, 0.7])


def base_of(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(FAMILIES[family], dtype=torch.float32)
    return model.eval()


def logits_of(model, ids, mask):
    return model(input_ids=ids, attention_mask=mask).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_goes_all_the_way(family, tmp_path):
    model, (ids, mask) = base_of(family), tokens(3, 7)
    head = output_name(model)
    assert head is not None
    assert set(resolve_targets(model, "all-linear-and-head")) - set(resolve_targets(model, "all-linear")) == {
        head
    }
    with torch.no_grad():
        before = logits_of(model, ids, mask)
    policy = shake(SVDLoRA(model, k=2, m=2, seed=0), std=0.3)
    assert len(policy.layers) >= 9
    assert head in policy.layers

    with torch.no_grad(), policy.reference():
        batch = pairs([[0.0, 1.0], [1.0, 1.0]], 0, policy)
    start = [each.detach().clone() for each in policy.trainable_parameters()]
    train(Panacea(policy, DPO(0.1), Linear(), adam(0.01), m=2, seed=0), [batch] * 2)
    policy.eval()
    assert all((now != then).any() for now, then in zip(policy.trainable_parameters(), start, strict=True))
    assert 0 < len(last_layer(policy)) < len(policy.trainable_parameters())
    with torch.no_grad():
        steered = policy(ids, mask, AT)
        assert (steered - before).abs().max() > 1e-3
        with policy.reference():
            torch.testing.assert_close(policy(ids, mask, AT), before, atol=1e-5, rtol=1e-5)
        found = generate(policy, ids, mask, max_new_tokens=5, preference=AT, temperature=0)
        assert found.tokens[:, 0].tolist() == steered[:, -1].argmax(-1).tolist()

        merged = policy.merge(AT)
        torch.testing.assert_close(logits_of(merged, ids, mask), steered, atol=1e-4, rtol=1e-4)
        save_model(merged, tmp_path / "merged")
        again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
        torch.testing.assert_close(logits_of(again, ids, mask), steered, atol=1e-4, rtol=1e-4)

        policy.export(AT, tmp_path / "peft")
        policy.save(tmp_path / "policy")
        loaded = load_policy(base_of(family), tmp_path / "policy")
        torch.testing.assert_close(loaded(ids, mask, AT), steered, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(logits_of(policy.unload(), ids, mask), before, atol=0, rtol=0)

    from peft import PeftModel

    stock = PeftModel.from_pretrained(base_of(family), tmp_path / "peft").eval()
    with torch.no_grad():
        torch.testing.assert_close(logits_of(stock, ids, mask), steered, atol=1e-5, rtol=1e-5)


def test_a_soup_of_transposed_layers_is_saved_and_loaded(tmp_path):
    ids, mask = tokens(3, 7)
    for member in (0, 1):
        shake(SVDLoRA(base_of("gpt2"), k=2, seed=member), seed=member).save(tmp_path / str(member))
    soup = RewardedSoup.from_folders(base_of("gpt2"), [tmp_path / "0", tmp_path / "1"])
    soup.save(tmp_path / "soup")
    loaded = load_policy(base_of("gpt2"), tmp_path / "soup")
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids, mask, AT), soup(ids, mask, AT))


def test_targets_may_be_several_parts_of_names():
    model = base_of("llama")
    expected = [f"model.layers.{i}.self_attn.{name}" for i in (0, 1) for name in ("q_proj", "v_proj")]
    for given in ("[q_proj,v_proj]", "[q_proj, v_proj]", ["v_proj", "q_proj"], expected):
        assert resolve_targets(model, given) == expected
    with pytest.raises(UserError, match="no linear layer's name of LlamaForCausalLM contains 'query'"):
        resolve_targets(model, "[q_proj,query]")
    with pytest.raises(UserError, match="contains ''"):
        resolve_targets(model, [])


def test_a_head_may_have_any_name():
    torch.manual_seed(0)
    config = GPTNeoXJapaneseConfig(
        **SIZES, tie_word_embeddings=True, hidden_dropout=0.0, attention_dropout=0.0
    )
    model, (ids, mask) = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval(), tokens(3, 7)
    assert output_name(model) == "embed_out"
    assert "embed_out" not in resolve_targets(model, "all-linear")
    policy = shake(SVDLoRA(model, k=2, m=2, seed=0))
    with torch.no_grad():
        merged = policy.merge(AT)
        assert not merged.config.tie_word_embeddings
        torch.testing.assert_close(logits_of(merged, ids, mask), policy(ids, mask, AT), atol=1e-4, rtol=1e-4)


DROPPING = {
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64),
    "opt": OPTConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, ffn_dim=32,
        word_embed_proj_dim=16, max_position_embeddings=64, attention_dropout=0.1, layerdrop=0.1,
    ),
    "phi": PhiConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        resid_pdrop=0.1, embd_pdrop=0.1, attention_dropout=0.1,
    ),
}  # fmt: skip
"""Families as they are published, which drop a tenth in training, whatever they call it."""


@pytest.mark.parametrize("kind", ["folder", "object"])
@pytest.mark.parametrize("family", DROPPING)
def test_a_base_drops_nothing_in_training(family, kind, tmp_path):
    """Log-ratios compare two passes: at its start a policy is its reference to the digit."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(DROPPING[family], dtype=torch.float32)
    if kind == "folder":
        model.save_pretrained(tmp_path)
        model = load_model(tmp_path)
    policy = LoRA(model, 2, dropout=0.5, seed=0)
    ids, mask = tokens(3, 7)
    with torch.no_grad():
        at_rest = policy.eval()(ids, mask)
        torch.testing.assert_close(policy.train()(ids, mask), at_rest)
        # The adapters' own dropout is the user's wish.
        shake(policy, std=0.3).train()
        assert not torch.equal(policy(ids, mask), policy(ids, mask))
        # Another policy on the same base leaves it alone.
        Policy(model).train()
        assert not torch.equal(policy.train()(ids, mask), policy(ids, mask))
