"""Which tensors a probe names, for each family of models and each kind of policy."""

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

from lightning_moa.errors import UserError
from lightning_moa.policies import PROBES, LoRA, Policy, Probe, SVDLoRA
from lightning_moa.policies.probes import last_layer
from tests.policies.models import PAD, VOCABULARY, shake, tiny, tokens

FAMILIES = ("llama", "mistral", "opt")


def projected_opt():
    """As OPT-350m: embeddings narrower than the blocks, projected on their way in and out."""
    config = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        word_embed_proj_dim=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=20,
        max_position_embeddings=64,
        do_layer_norm_before=False,
        tie_word_embeddings=False,
        dropout=0.0,
        pad_token_id=PAD,
    )
    torch.manual_seed(0)
    return OPTForCausalLM(config).eval()


def names(policy):
    """Of the last layer's parameters, without what the adapter calls its own."""
    by_id = {id(each): name for name, each in policy.model.named_parameters()}
    return [by_id[id(each)] for each in last_layer(policy)]


# The last layer


@pytest.mark.parametrize(
    ("family", "block"),
    [("llama", "model.layers.1"), ("mistral", "model.layers.1"), ("opt", "model.decoder.layers.1")],
)
def test_the_last_block_and_the_adapted_head(family, block):
    policy = LoRA(tiny(family), 2, seed=0)
    found = names(policy)
    adapted = [name for name in policy.layers if name.startswith(block + ".")] + ["lm_head"]
    assert found == [f"{name}.lora_{factor}" for name in adapted for factor in "AB"]
    assert len(adapted) == (7 if family == "opt" else 8)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_that_is_not_adapted_has_nothing_to_probe(family):
    policy = LoRA(tiny(family), 2, targets="all-linear", seed=0)
    found = names(policy)
    assert found
    assert all(".layers.1." in name for name in found)


@pytest.mark.parametrize("targets", ["layers.0.", "q_proj"])
def test_the_last_block_is_the_last_that_is_trained(targets):
    policy = LoRA(tiny(layers=3), 2, targets=targets, seed=0)
    last = "layers.0." if targets == "layers.0." else "layers.2."
    assert all(last in name for name in names(policy))
    assert len(names(policy)) == (14 if targets == "layers.0." else 2)


def test_a_policy_that_is_trained_beside_its_model_is_told_what_to_probe():
    policy = Policy(tiny().requires_grad_(False))
    policy.beside = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"lies within its model; allowed are all, activations"):
        Probe(policy, "last_layer").tensors()


def test_gates_with_values_of_their_own_belong_to_their_layer():
    found = names(SVDLoRA(tiny(), 2, 2, seed=0))
    assert {name.rpartition(".")[2] for name in found} == {"lora_A", "lora_B", "sigma", "scale"}


def test_more_than_nine_blocks_are_counted_by_number():
    policy = LoRA(tiny(layers=11), 2, targets="q_proj", seed=0)
    assert all(".layers.10." in name for name in names(policy))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_policy_that_trains_all_weights_has_the_final_norm_and_the_head_in_its_last_layer(family):
    policy = Policy(tiny(family))
    found = names(policy)
    norm = "model.decoder.final_layer_norm" if family == "opt" else "model.norm"
    assert any(name.startswith(norm) for name in found)
    assert "lm_head.weight" in found
    assert not any("embed" in name or ".layers.0." in name for name in found)
    block = [name for name, _ in policy.model.named_parameters() if ".layers.1." in name]
    assert [name for name in found if ".layers.1." in name] == block


def test_opts_projection_into_the_blocks_is_not_of_its_last_layer_and_the_one_out_of_them_is():
    full = Policy(projected_opt())
    found = names(full)
    assert any("project_out" in name for name in found)
    assert not any("project_in" in name for name in found)
    adapted = LoRA(projected_opt(), 2, seed=0)
    assert any("project_in" in name for name in adapted.layers)
    assert any("project_out" in name for name in names(adapted))
    assert not any("project_in" in name for name in names(adapted))


def test_a_head_that_shares_its_weight_with_the_embedding_is_probed_once():
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    policy = Policy(GPT2LMHeadModel(config))
    found = names(policy)
    assert found.count("transformer.wte.weight") == 1
    assert "transformer.wpe.weight" not in found
    assert any(".h.1." in name for name in found)
    assert not any(".h.0." in name for name in found)
    assert "transformer.ln_f.weight" in found


def test_only_a_head_that_is_trained_is_all_there_is():
    assert names(LoRA(tiny(), 2, targets=["lm_head"], seed=0)) == ["lm_head.lora_A", "lm_head.lora_B"]


def test_a_policy_without_trained_parameters_is_refused():
    with pytest.raises(UserError, match="no trained parameter of the policy"):
        last_layer(Policy(tiny().requires_grad_(False)))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_the_last_layer_go_through_no_other_block(family):
    """What makes the probe cheap: the earlier block's parameters are not in its graph."""
    policy = shake(LoRA(tiny(family), 2, seed=0))
    ids, mask = tokens()
    loss = policy(ids, mask).square().mean()
    calls = []
    first = policy.layers[next(iter(policy.layers))]
    weight = first.lora_B
    weight.register_hook(lambda grad: calls.append(1))
    torch.autograd.grad(loss, last_layer(policy), retain_graph=True)
    assert not calls
    torch.autograd.grad(loss, weight)
    assert calls


# All, and activations


def test_all_are_the_trained_parameters():
    policy = LoRA(tiny(), 2, seed=0)
    for found, wanted in zip(Probe(policy, "all").tensors(), policy.trainable_parameters(), strict=True):
        assert found is wanted


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_what_goes_into_the_head(family, head):
    """d loss / d hidden of a loss of the logits, by hand: (d loss / d logits) W."""
    policy = shake(LoRA(tiny(family), 2, targets="all-linear-and-head" if head else "all-linear", seed=0))
    probe = Probe(policy, "activations")
    ids, mask = tokens()
    logits = policy(ids, mask, last=4)
    (seen,) = probe.tensors()
    assert seen.shape == (len(ids), 4, 16)
    logits.square().sum().backward(inputs=[seen])
    by_hand = 2 * logits.detach() @ policy.merge().get_output_embeddings().weight.detach()
    torch.testing.assert_close(seen.grad, by_hand, rtol=1e-4, atol=1e-3)


def test_activations_are_the_last_pass_with_gradients_and_given_out_once():
    policy = shake(LoRA(tiny(), 2, seed=0))
    probe = Probe(policy, "activations")
    ids, mask = tokens()
    with pytest.raises(UserError, match="no forward pass with gradient"):
        probe.tensors()
    policy(ids, mask)
    logits = policy(ids[:2], mask[:2])
    with torch.no_grad():
        policy(ids, mask)
    with policy.reference():
        policy(ids, mask)
    (seen,) = probe.tensors()
    assert seen.shape == (2, ids.shape[1], 16)
    assert torch.autograd.grad(logits.sum(), seen)[0].any()
    with pytest.raises(UserError, match="no forward pass with gradient"):
        probe.tensors()


def test_a_probe_stands_in_nobodys_way():
    """A policy that a probe looks at can still be merged and copied, and its state is what it was."""
    policy = shake(LoRA(tiny(), 2, seed=0))
    before = policy.trained_state()
    probe = Probe(policy, "activations")
    ids, mask = tokens()
    logits = policy(ids, mask)
    assert policy.trained_state().keys() == before.keys()
    merged = policy.merge()
    with torch.no_grad():
        torch.testing.assert_close(merged(input_ids=ids).logits, logits.detach(), rtol=1e-4, atol=1e-3)
    copied = copy.deepcopy(policy)
    # The copy's passes are not the policy's.
    copied(ids[:1], mask[:1])
    assert probe.tensors()[0].shape[0] == len(ids)


@pytest.mark.parametrize("kind", ["first_layer", "", "ALL"])
def test_another_kind_is_refused(kind):
    with pytest.raises(UserError, match=f"probe={kind}: allowed are {', '.join(PROBES)}"):
        Probe(LoRA(tiny(), 2, seed=0), kind)
