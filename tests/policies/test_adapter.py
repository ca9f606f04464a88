"""What all adapters share: the reference inside the policy, targets, bases, checkpointing, merging."""

from __future__ import annotations

import copy

import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.policies import LoRA, Policy, SVDLoRA, save_model
from tests.policies.models import EOS, PAD, VOCABULARY, preferences, shake, tiny, tokens


def test_reference_is_the_base_and_needs_no_preference():
    base = tiny()
    ids, mask = tokens()
    expected = base(input_ids=ids, attention_mask=mask).logits
    policy = shake(SVDLoRA(base, 3, 2))
    with policy.reference():
        assert torch.equal(policy(ids, mask), expected)
    assert (policy(ids, mask, torch.tensor([0.5, 0.5])) - expected).abs().max() > 0.1
    assert all(parameter.requires_grad for parameter in policy.layers["lm_head"].gate.parameters())


def test_lora_starts_as_its_reference_and_trains_only_its_factors():
    base = tiny()
    ids, mask = tokens()
    expected = base(input_ids=ids, attention_mask=mask).logits
    policy = LoRA(base, 3)
    assert torch.equal(policy(ids, mask), expected)
    policy(ids, mask).square().mean().backward()
    assert all(layer.lora_B.grad.abs().max() > 0 for layer in policy.layers.values())
    assert len(policy.trainable_parameters()) == 2 * len(policy.layers)


def test_a_plain_policy_has_no_reference_unless_it_is_frozen():
    policy = Policy(tiny())
    ids, mask = tokens()
    with pytest.raises(UserError, match="frozen copy"), policy.reference():
        pass
    policy.requires_grad_(False)
    with policy.reference():
        assert torch.equal(policy(ids, mask, torch.tensor([0.5, 0.5])), policy(ids, mask))
    assert policy.penalty() is None


@pytest.mark.parametrize(
    ("targets", "head", "count"), [("all-linear-and-head", True, 15), ("all-linear", False, 14)]
)
def test_targets_of_llama(targets, head, count):
    policy = LoRA(tiny(), 2, targets=targets)
    assert len(policy.layers) == len(policy.targets) == count
    assert ("lm_head" in policy.layers) == head


def test_targets_by_a_part_of_the_name_or_by_name():
    assert len(LoRA(tiny(), 2, targets="layers.").layers) == 14
    assert len(LoRA(tiny(), 2, targets="q_proj").layers) == 2
    assert list(LoRA(tiny(), 2, targets=["lm_head"]).layers) == ["lm_head"]


@pytest.mark.parametrize("targets", ["nowhere", "", [], ["model.layers.0.self_attn.q_proj", "nowhere"]])
def test_refuses_targets_that_match_nothing(targets):
    with pytest.raises(UserError, match="targets"):
        LoRA(tiny(), 2, targets=targets)


def test_refuses_a_second_adapter_and_unload_frees_the_model():
    base = tiny()
    names = [name for name, _ in base.named_modules()]
    ids, mask = tokens()
    expected = base(input_ids=ids, attention_mask=mask).logits
    policy = shake(LoRA(base, 2))
    with pytest.raises(UserError, match="unload"):
        LoRA(base, 2)
    assert policy.unload() is base
    assert [name for name, _ in base.named_modules()] == names
    assert torch.equal(base(input_ids=ids, attention_mask=mask).logits, expected)
    LoRA(base, 2)


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_bfloat16_base(family):
    base = tiny(family)
    policy = shake(SVDLoRA(copy.deepcopy(base), 3, 2))
    half = shake(SVDLoRA(copy.deepcopy(base).to(torch.bfloat16), 3, 2))
    ids, mask = tokens()
    rows = preferences(4, 2)
    logits = half(ids, mask, rows)
    assert logits.dtype == torch.bfloat16
    logits.float().square().mean().backward()
    for layer in half.layers.values():
        assert layer.lora_A.dtype == torch.float32
        assert layer.gate.scale.grad.abs().max() > 0
    exact = policy(ids, mask, rows).log_softmax(-1)
    assert (logits.float().log_softmax(-1) - exact).abs().mean() < 0.2


def test_bfloat16_autocast_and_a_wholly_bfloat16_policy():
    policy = shake(SVDLoRA(tiny(), 3, 2))
    ids, mask = tokens()
    rows = preferences(4, 2)
    exact = policy(ids, mask, rows).log_softmax(-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = [
            policy(ids, mask, rows),
            torch.stack([policy(ids, mask, row)[i] for i, row in enumerate(rows)]),
        ]
    policy.to(torch.bfloat16)
    for logits in (*cast, policy(ids, mask, rows)):
        assert (logits.float().log_softmax(-1) - exact).abs().mean() < 0.2


def test_dropout_acts_in_training_only():
    policy = shake(LoRA(tiny(), 2, dropout=0.5))
    ids, mask = tokens()
    policy.eval()
    assert torch.equal(policy(ids, mask), policy(ids, mask))
    policy.train()
    assert not torch.equal(policy(ids, mask), policy(ids, mask))


def test_recomputed_layers_are_steered_as_in_their_forward_pass():
    ids, mask = tokens()
    gradients = []
    for checkpointing in (False, True):
        policy = shake(SVDLoRA(tiny(), 3, 2))
        if checkpointing:
            policy.enable_gradient_checkpointing()
        first = policy(ids, mask, torch.tensor([0.9, 0.1])).square().mean()
        second = policy(ids, mask, preferences(4, 2)).square().mean()
        with policy.reference():
            policy(ids, mask)
        (first + second).backward()
        gradients.append([parameter.grad for parameter in policy.trainable_parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral", "opt"])
def test_merge_is_a_plain_model_with_the_same_logits(family):
    policy = shake(SVDLoRA(tiny(family), 3, 2))
    ids, mask = tokens()
    preference = torch.tensor([0.3, 0.7])
    before = policy(ids, mask, preference)
    merged = policy.merge(preference)
    torch.testing.assert_close(
        merged(input_ids=ids, attention_mask=mask).logits, before, atol=1e-4, rtol=1e-5
    )
    assert not any("lora" in name for name in merged.state_dict())
    assert torch.equal(policy(ids, mask, preference), before)


def test_merge_into_a_tied_head_leaves_the_embedding_alone(tmp_path):
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=20,
        tie_word_embeddings=True, pad_token_id=PAD, eos_token_id=EOS,
    )  # fmt: skip
    policy = shake(LoRA(AutoModelForCausalLM.from_config(config), 2))
    ids, mask = tokens()
    merged = policy.merge()
    assert not merged.config.tie_word_embeddings
    merged.save_pretrained(tmp_path)
    for model in (merged, AutoModelForCausalLM.from_pretrained(tmp_path)):
        found = model(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(found, policy(ids, mask), atol=1e-4, rtol=1e-4)


def test_a_base_in_16_bits_is_merged_into_float32(tmp_path):
    """A weight near 1 has steps of 2^-8 in bfloat16, and an update of a hundredth of that is as good as none."""
    from transformers import AutoModelForCausalLM

    policy = shake(SVDLoRA(tiny().to(torch.bfloat16), 3, 2))
    merged, preference = policy.merge(preferences(1, 2)[0]), preferences(1, 2)[0]
    assert {each.dtype for each in merged.parameters()} == {torch.float32}
    with torch.no_grad(), policy.fixed(preference):
        for name, layer in policy.layers.items():
            expected = layer.base.weight.float() + layer.delta()
            assert torch.equal(merged.get_submodule(name).weight, expected)
            assert not torch.equal(expected, expected.bfloat16().float())
    assert {each.dtype for each in policy.model.parameters() if not each.requires_grad} == {torch.bfloat16}
    save_model(merged, tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert all(torch.equal(a, b) for a, b in zip(merged.parameters(), again.parameters(), strict=True))


def test_merge_wants_one_preference():
    policy = shake(SVDLoRA(tiny(), 3, 2))
    with pytest.raises(UserError, match="one vector"):
        policy.merge(preferences(4, 2))
    with pytest.raises(UserError, match="none was given"):
        policy.merge()
