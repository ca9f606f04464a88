"""Heads on one backbone: each a policy, its reference inside, on disk and as a plain model."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig, OPTForCausalLM

from lightning_moa.errors import UserError
from lightning_moa.policies import (
    Heads,
    LoRA,
    Policy,
    generate,
    head_logps,
    load_policy,
    read_sidecar,
    response_logps,
    save_model,
)
from lightning_moa.task_files import SIDECAR
from tests.policies.models import EOS, PAD, VOCABULARY, shake, tiny, tokens

KINDS = ("llama", "mistral", "opt", "opt with project_out", "with a bias")
RANKS = (None, 3)


def base(kind="llama"):
    """A tiny model; `opt with project_out` is built as OPT-350m is, its head narrower than its layers."""
    if kind == "with a bias":
        model = tiny("llama")
        model.lm_head = torch.nn.Linear(16, VOCABULARY)
        weights = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in model.lm_head.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=weights) / 2)
        return model
    if kind != "opt with project_out":
        return tiny(kind)
    config = OPTConfig(
        vocab_size=VOCABULARY, hidden_size=16, word_embed_proj_dim=12, ffn_dim=20, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=64, do_layer_norm_before=False, dropout=0.0,
        attention_dropout=0.0, init_std=0.2, pad_token_id=PAD, eos_token_id=EOS,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return OPTForCausalLM(config).eval()


def spread(policy, seed=0):
    """Give everything that is trained values that no initialisation has."""
    shake(policy, seed, std=0.3)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in policy.bank.heads.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return policy


def masks(ids):
    """All tokens are there, and the responses start at position 3."""
    response = torch.zeros_like(ids, dtype=torch.bool)
    response[:, 3:] = True
    return torch.ones_like(ids), response


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head_rank", RANKS)
def test_all_heads_start_as_the_reference(kind, head_rank):
    model = base(kind)
    ids, mask = tokens()
    expected = model(input_ids=ids, attention_mask=mask).logits
    policy = Heads(model, 3, 2, head_rank=head_rank)
    for k in range(3):
        assert torch.equal(policy.head(k)(ids, mask), expected)
        assert torch.equal(policy.head(k)(ids, mask, torch.tensor([0.5, 0.5]), last=2), expected[:, -2:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head_rank", RANKS)
def test_the_reference_stays_inside_a_trained_policy(kind, head_rank):
    model = base(kind)
    ids, mask = tokens()
    expected = model(input_ids=ids, attention_mask=mask).logits
    policy = spread(Heads(model, 2, 2, head_rank=head_rank))
    assert policy.bank.base.in_features == (12 if kind == "opt with project_out" else 16)
    for inside in (policy, policy.head(1)):
        with inside.reference():
            assert torch.equal(inside(ids, mask), expected)
    logits = [policy.head(k)(ids, mask) for k in range(2)]
    for one, other in ((logits[0], expected), (logits[1], expected), (logits[0], logits[1])):
        assert (one - other).abs().max() > 0.1


def test_the_backbone_alone_is_adapted_and_all_that_is_trained_is_listed():
    policy = Heads(tiny(), 3, 2)
    assert "lm_head" not in policy.targets
    assert len(policy.layers) == 14
    trained = policy.trainable_parameters()
    assert len(trained) == 2 * 14 + 3
    assert [p.shape for p in trained[-3:]] == [(VOCABULARY, 16)] * 3
    assert len(policy.head(0).trainable_parameters()) == 2 * 14 + 1
    ids, mask = tokens()
    policy.head(1)(ids, mask).square().mean().backward()
    assert [head.weight.grad is not None for head in policy.bank.heads] == [False, True, False]
    assert policy.bank.base.weight.grad is None


def test_low_rank_heads_share_one_frozen_weight():
    policy = Heads(tiny(), 4, 2, head_rank=3)
    assert len({id(head.base) for head in policy.bank.heads}) == 1
    per_head = 3 * (VOCABULARY + 16)
    assert sum(p.numel() for p in policy.bank.heads.parameters() if p.requires_grad) == 4 * per_head
    assert not any(p.requires_grad for p in policy.bank.base.parameters())


def test_one_full_head_trains_as_lora_with_its_head():
    ids, mask = tokens()
    attention, response = masks(ids)
    policy = Heads(tiny(), 1, 2, scaling=1.5, seed=4)
    plain = LoRA(tiny(), 2, scaling=1.5, targets="all-linear", seed=4)
    plain.model.lm_head.requires_grad_(True)
    optimisers = [torch.optim.SGD(p.trainable_parameters(), lr=0.05) for p in (policy, plain)]
    for _ in range(3):
        losses = (
            -head_logps(policy, ids, attention, response)[0].mean(),
            -response_logps(plain, ids, attention, response).mean(),
        )
        for loss, optimiser in zip(losses, optimisers, strict=True):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    torch.testing.assert_close(*losses, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(policy.head(0)(ids, mask), plain(ids, mask), atol=1e-3, rtol=1e-4)
    assert (plain.model.lm_head.weight - tiny().lm_head.weight).abs().max() > 1e-3


@pytest.mark.parametrize("head_rank", RANKS)
def test_a_single_head_has_no_jitter(head_rank):
    plain, noisy = (Heads(tiny(), 1, 2, head_rank=head_rank, jitter=each, seed=1) for each in (0.0, 0.1))
    for name, value in plain.trained_state().items():
        assert torch.equal(value, noisy.trained_state()[name]), name


@pytest.mark.parametrize("head_rank", RANKS)
def test_jitter_breaks_the_tie_and_a_seed_fixes_it(head_rank):
    first, again, other = (
        Heads(tiny(), 2, 2, head_rank=head_rank, jitter=0.1, seed=seed).trained_state() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    key = "weight" if head_rank is None else "lora_B"
    one, two = (first[f"lm_head.heads.{k}.{key}"] for k in range(2))
    assert (one - two).std() == pytest.approx(0.1 * 2**0.5, rel=0.2)
    assert not torch.equal(one, other[f"lm_head.heads.0.{key}"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head_rank", RANKS)
def test_each_head_samples_its_own_responses(kind, head_rank):
    policy = spread(Heads(base(kind), 2, 2, head_rank=head_rank))
    ids, mask = tokens(6)
    sampled = [
        generate(policy.head(k), ids, mask, max_new_tokens=8, temperature=temperature, seed=3).tokens
        for k in (0, 1, 0)
        for temperature in (1.0, 0.0)
    ]
    assert torch.equal(sampled[0], sampled[4])
    assert torch.equal(sampled[1], sampled[5])
    assert not torch.equal(sampled[1], sampled[3])
    plain = Policy(policy.merge_head(1))
    greedy = generate(plain, ids, mask, max_new_tokens=8, temperature=0.0).tokens
    assert torch.equal(greedy, sampled[3])
    with policy.head(1).reference():
        reference = generate(policy.head(1), ids, mask, max_new_tokens=8, temperature=0.0).tokens
    assert torch.equal(
        reference, generate(Policy(base(kind)), ids, mask, max_new_tokens=8, temperature=0.0).tokens
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head_rank", RANKS)
def test_a_merged_head_is_a_plain_model(kind, head_rank, tmp_path):
    policy = spread(Heads(base(kind), 2, 2, head_rank=head_rank))
    ids, mask = tokens()
    before = policy.head(1)(ids, mask)
    merged = policy.merge_head(1)
    torch.testing.assert_close(
        merged(input_ids=ids, attention_mask=mask).logits, before, atol=1e-4, rtol=1e-4
    )
    assert not any("heads" in name or "lora" in name for name in merged.state_dict())
    assert merged.get_output_embeddings().weight is not merged.get_input_embeddings().weight
    assert torch.equal(policy.head(1)(ids, mask), before)
    if kind != "with a bias":
        save_model(merged, tmp_path)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
        again = loaded(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(again, before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("head_rank", RANKS)
def test_a_single_head_merges_to_a_plain_model_too(head_rank):
    policy = spread(Heads(base(), 1, 2, head_rank=head_rank))
    ids, mask = tokens()
    before = policy(ids, mask)
    merged = policy.merge()
    assert type(merged.get_output_embeddings()) is torch.nn.Linear
    logits = merged(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(logits, before, atol=1e-4, rtol=1e-4)
    assert torch.equal(policy(ids, mask), before)
    with pytest.raises(UserError, match="2 models"):
        Heads(base(), 2, 2, head_rank=head_rank).merge()


@pytest.mark.parametrize("head_rank", RANKS)
def test_a_tied_embedding_stays_as_it_is(head_rank):
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=20, tie_word_embeddings=True, pad_token_id=PAD, eos_token_id=EOS,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    embedding = model.get_input_embeddings().weight
    before = embedding.clone()
    policy = Heads(model, 2, 2, head_rank=head_rank)
    assert not embedding.requires_grad
    ids, _ = tokens()
    optimiser = torch.optim.SGD(policy.trainable_parameters(), lr=0.1)
    head_logps(policy, ids, *masks(ids)).sum().backward()
    optimiser.step()
    assert torch.equal(embedding, before)
    merged = policy.merge_head(0)
    assert not merged.config.tie_word_embeddings
    assert torch.equal(merged.get_input_embeddings().weight, before)
    assert policy.unload() is model
    assert model.lm_head.weight is embedding


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_k_heads_stand_beside_the_models_own(family):
    """HaM, section 3.5, counts m - dL + dKL; here the model's own head, the reference's, stays: m + dKL."""
    model = tiny(family)
    m, head = sum(each.numel() for each in model.parameters()), model.get_output_embeddings().weight.numel()
    policy = Heads(model, 5, rank=1)
    adapters = sum(each.numel() for name, each in policy.named_parameters() if "lora" in name)
    assert sum(each.numel() for each in policy.parameters()) - adapters == m + 5 * head


def test_unload_frees_the_model():
    model = tiny()
    names = [name for name, _ in model.named_modules()]
    ids, mask = tokens()
    expected = model(input_ids=ids, attention_mask=mask).logits
    assert spread(Heads(model, 2, 2)).unload() is model
    assert [name for name, _ in model.named_modules()] == names
    assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, expected)
    Heads(model, 2, 2)


def test_all_heads_at_once_are_no_policy_to_ask(tmp_path):
    policy = Heads(tiny(), 2, 2)
    ids, mask = tokens()
    with pytest.raises(UserError, match=r"head\(k\)"):
        policy(ids, mask)
    with pytest.raises(UserError, match=r"merge_head\(k\)"):
        policy.merge()
    with pytest.raises(UserError, match=r"merge_head\(k\)"):
        policy.export(None, tmp_path)
    for k in (-1, 2):
        for ask in (policy.head, policy.merge_head):
            with pytest.raises(UserError, match="allowed are 0 to 1"):
                ask(k)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"heads": 0}, "heads=0"),
        ({"heads": -1}, "heads=-1"),
        ({"rank": 0}, "rank=0"),
        ({"head_rank": 0}, "head_rank=0"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": float("nan")}, "jitter"),
        ({"targets": "all-linear-and-head"}, "lm_head"),
        ({"targets": "nowhere"}, "nowhere"),
    ],
)
def test_refuses_what_makes_no_sense_and_leaves_the_model_alone(options, match):
    model = tiny()
    names = [name for name, _ in model.named_modules()]
    with pytest.raises(UserError, match=match):
        Heads(model, **({"heads": 2, "rank": 2} | options))
    assert [name for name, _ in model.named_modules()] == names


def test_refuses_a_model_without_a_linear_head():
    model = tiny()
    model.lm_head = torch.nn.Identity()
    with pytest.raises(UserError, match="output head"):
        Heads(model, 2, 2)


@pytest.mark.parametrize("options", [{}, {"head_rank": 3}, {"jitter": 0.2, "seed": 1}])
@pytest.mark.parametrize("kind", ["llama", "opt with project_out", "with a bias"])
def test_round_trip(kind, options, tmp_path):
    policy = spread(Heads(base(kind), 3, 2, dropout=0.1, **options)).eval()
    ids, mask = tokens()
    policy.save(tmp_path, objectives=["helpful", "harmless"])
    assert read_sidecar(tmp_path)["kind"] == "lightning_moa.policies.heads:Heads"
    again = load_policy(base(kind), tmp_path).eval()
    assert isinstance(again, Heads)
    assert again.options() == policy.options()
    saved = policy.trained_state()
    assert len([name for name in saved if ".heads." in name]) > 2
    assert all(torch.equal(saved[name], value) for name, value in again.trained_state().items())
    for k in range(3):
        assert torch.equal(again.head(k)(ids, mask), policy.head(k)(ids, mask))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"heads": 2}, "unexpected"),
        ({"heads": 4}, "missing"),
        ({"heads": 0}, "heads=0"),
        ({"heads": "3"}, "options do not describe"),
        ({"head_rank": 3}, "missing"),
        ({"rank": 3}, "has shape"),
    ],
)
def test_refuses_a_file_that_does_not_fit(options, match, tmp_path):
    policy = Heads(tiny(), 3, 2)
    policy.save(tmp_path)
    sidecar = json.loads((tmp_path / SIDECAR).read_text())
    sidecar["options"] |= options
    (tmp_path / SIDECAR).write_text(json.dumps(sidecar))
    model = tiny()
    names = [name for name, _ in model.named_modules()]
    with pytest.raises(UserError, match=match):
        load_policy(model, tmp_path)
    assert [name for name, _ in model.named_modules()] == names


def test_a_deep_copy_is_a_policy_of_its_own():
    view = spread(Heads(tiny(), 2, 2)).head(1)
    ids, mask = tokens()
    expected = view(ids, mask)
    twin = copy.deepcopy(view)
    assert twin.policy.model is twin.model
    spread(view.policy, seed=8)
    assert torch.equal(twin(ids, mask), expected)
    assert not torch.equal(view(ids, mask), expected)


@pytest.mark.parametrize("of_the_view", [True, False])
def test_recomputed_layers_give_the_same_gradients(of_the_view):
    ids, _ = tokens()
    gradients = []
    for checkpointing in (False, True):
        policy = spread(Heads(tiny(), 2, 2))
        if checkpointing:
            (policy.head(0) if of_the_view else policy).enable_gradient_checkpointing()
        logps = head_logps(policy, ids, *masks(ids))
        with policy.reference():
            policy(ids, torch.ones_like(ids))
        (logps.sum() + policy.head(1)(ids, torch.ones_like(ids)).mean()).backward()
        gradients.append([p.grad for p in policy.trainable_parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("head_rank", RANKS)
def test_one_head_is_a_policy_itself(head_rank):
    """What is asked of a policy of one head is answered by that head."""
    policy = shake(Heads(base(), heads=1, rank=2, head_rank=head_rank, seed=0))
    with torch.no_grad():
        for name, parameter in policy.bank.heads.named_parameters():
            if ".base." not in name:
                parameter += 0.3
    ids, mask = tokens()
    response = torch.arange(ids.shape[1]).expand_as(ids) >= 4
    with torch.no_grad():
        assert torch.equal(policy(ids, mask), policy.head(0)(ids, mask))
        logps = response_logps(policy, ids, mask, response)
        torch.testing.assert_close(logps, head_logps(policy, ids, mask, response)[0])
        sampled = [
            generate(each, ids[:, :4], mask[:, :4], max_new_tokens=5, seed=2, row_keys=torch.arange(4)).tokens
            for each in (policy, policy.head(0))
        ]
        assert torch.equal(*sampled)
        assert not torch.allclose(policy(ids, mask), base()(input_ids=ids, attention_mask=mask).logits)


def test_several_heads_are_not(tmp_path):
    policy = Heads(base(), heads=2, rank=2, seed=0)
    with pytest.raises(UserError, match="head"):
        policy(*tokens())
