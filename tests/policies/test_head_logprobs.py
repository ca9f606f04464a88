"""Log-probs under all heads: values and gradients against the plain way, and the memory that they take."""

from __future__ import annotations

import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.policies import Heads, head_logps, head_token_logps, response_logps, token_logps
from lightning_moa.policies.head_bank import Terms
from lightning_moa.policies.head_logprobs import Room, target_logps
from tests.policies.models import tiny, tokens
from tests.policies.test_heads import KINDS, RANKS, base, masks, spread


def ragged():
    """Ids, attention and response masks of 5 rows: prompts and responses of different lengths, one row without a
    response, padding on both sides."""
    ids, attention = tokens(5, 11, seed=3)
    attention = attention.bool()
    response = torch.zeros_like(attention)
    for row, (left, start, end) in enumerate([(0, 2, 11), (2, 5, 9), (0, 4, 5), (1, 3, 3), (3, 4, 11)]):
        attention[row, :left] = attention[row, max(end, start) :] = False
        response[row, start:end] = True
    return ids, attention, response


def plain(policy, ids, attention, response):
    """(K, batch, time), with all logits of all heads at once."""
    logps = [token_logps(policy.head(k)(ids, attention), ids) for k in range(policy.heads)]
    return torch.stack(logps).masked_fill(~response, 0.0)


def exact(policy, ids, attention, response):
    """As `plain`, in float64 throughout."""
    logits = torch.stack([policy.head(k)(ids, attention) for k in range(policy.heads)])
    logps = logits[:, :, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None].expand(policy.heads, -1, -1, 1))
    return torch.nn.functional.pad(logps[..., 0], (1, 0)).masked_fill(~response, 0.0)


def gradients(policy, value):
    parameters = policy.trainable_parameters()
    return torch.autograd.grad(value, parameters, retain_graph=True)


WEIGHTS = torch.tensor([[0.3, -1.0, 2.0, 0.7, 0.0], [1.0, 0.1, 0.0, 0.0, -0.4], [0.2, 0.2, 0.9, 1.0, 1.5]])
"""(K, batch), what each log-prob weighs in a loss."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head_rank", RANKS)
@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_values_and_gradients_are_those_of_the_plain_way(kind, head_rank, chunk):
    policy = spread(Heads(base(kind), 3, 2, head_rank=head_rank)).double()
    batch = ragged()
    found = head_token_logps(policy, *batch, chunk=chunk)
    expected = exact(policy, *batch)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    summed = head_logps(policy, *batch, chunk=chunk)
    torch.testing.assert_close(summed, expected.sum(-1), atol=1e-9, rtol=1e-9)
    weights = WEIGHTS.double()
    for one, other in zip(
        gradients(policy, (weights * summed).sum()),
        gradients(policy, (weights * expected.sum(-1)).sum()),
        strict=True,
    ):
        assert other.abs().max() > 0
        # Llama's and Mistral's norm is computed in float32 whatever their weights are.
        tolerance = 1e-11 if "opt" in kind else 1e-6
        assert (one - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("low_rank", [False, True])
def test_gradients_against_finite_differences(low_rank):
    generator = torch.Generator().manual_seed(2)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    hidden, weight, bias = draw(7, 4), draw(9, 4), draw(9)
    heads = 3 if low_rank else 1
    extra = [draw(7, 2) if i % 2 == 0 else draw(9, 2) for i in range(2 * heads)] if low_rank else [None, None]
    targets = torch.randint(0, 9, (7,), generator=generator)

    def value(hidden, weight, bias, *extra):
        terms = [Terms(weight, bias, *extra[2 * k : 2 * k + 2]) for k in range(heads)]
        return target_logps(hidden, targets, terms, Room(6))

    assert value(hidden, weight, bias, *extra).shape == (heads, 7)
    assert torch.autograd.gradcheck(value, (hidden, weight, bias, *extra))


@pytest.mark.parametrize("head_rank", RANKS)
def test_each_head_agrees_with_its_own_response_logps(head_rank):
    policy = spread(Heads(tiny(), 3, 2, head_rank=head_rank))
    batch = ragged()
    found = head_logps(policy, *batch)
    assert found.dtype == torch.float32
    for k in range(3):
        torch.testing.assert_close(found[k], response_logps(policy.head(k), *batch), atol=1e-4, rtol=1e-5)
    assert torch.equal(found[:, 3], torch.zeros(3))


def test_one_pass_of_the_backbone_serves_all_heads():
    policy = spread(Heads(tiny(), 4, 2))
    passes = []
    policy.model.model.register_forward_hook(lambda *_: passes.append(1))
    head_logps(policy, *ragged())
    assert len(passes) == 1


@pytest.mark.parametrize("head_rank", RANKS)
def test_a_head_of_no_weight_gets_exactly_no_gradient(head_rank):
    policy = spread(Heads(base("with a bias"), 3, 2, head_rank=head_rank))
    logps = head_logps(policy, *ragged()).sum(-1)
    (logps * torch.tensor([1.0, 0.0, 2.0])).sum().backward()
    grads = [[p.grad for p in head.parameters() if p.requires_grad] for head in policy.bank.heads]
    assert all(grad.abs().max() == 0 for grad in grads[1])
    for k in (0, 2):
        assert all(grad.abs().max() > 0 for grad in grads[k])
    policy.zero_grad()
    head_logps(policy, *ragged()).sum(-1).amax().backward()
    assert sum(any(p.grad.abs().max() > 0 for p in h.parameters() if p.requires_grad)
               for h in policy.bank.heads) == 1  # fmt: skip


@pytest.mark.parametrize("head_rank", RANKS)
@pytest.mark.parametrize("how", ["bfloat16 base", "autocast", "all bfloat16"])
def test_reduced_precision(head_rank, how):
    policy = spread(Heads(tiny(), 2, 2, head_rank=head_rank))
    batch = ragged()
    exact_values = head_logps(policy, *batch)
    if how == "bfloat16 base":
        state = policy.trained_state()
        policy = Heads(tiny().to(torch.bfloat16), 2, 2, head_rank=head_rank)
        policy.load_trained_state(state)
        assert all(p.dtype == torch.float32 for p in policy.trainable_parameters())
    elif how == "all bfloat16":
        policy.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
        found = head_logps(policy, *batch)
        # The plain way rounds an update apart from its base.
        expected = plain(policy, *batch).sum(-1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.2, rtol=0.02)
    assert ((found - exact_values).abs() / exact_values.abs().clamp(min=1)).mean() < 0.1
    pairs = zip(gradients(policy, found.sum()), gradients(policy, expected.sum()), strict=True)
    for p, (one, other) in zip(policy.trainable_parameters(), pairs, strict=True):
        assert one.dtype == p.dtype
        distance = (one - other).float().norm() / other.float().norm()
        assert distance < 0.1


def test_padding_does_not_matter():
    policy = spread(Heads(tiny(), 2, 2))
    ids, attention, response = ragged()
    expected = head_logps(policy, ids, attention, response)
    torch.testing.assert_close(
        head_logps(policy, torch.where(attention, ids, 7), attention, response), expected,
        atol=1e-5, rtol=1e-5,
    )  # fmt: skip
    head_logps(policy, ids, attention, response).sum().backward()
    assert all(p.grad.isfinite().all() for p in policy.trainable_parameters())


def largest_saved(heads, vocabulary=3000, head_rank=None):
    """Entries of the largest tensor kept for the backward pass that is no parameter, and of all of them together."""
    policy = Heads(tiny(vocab_size=vocabulary), heads, 2, head_rank=head_rank, seed=0)
    ids, _ = tokens(4, 40)
    weights = {p.data_ptr() for p in policy.parameters()}
    kept = {}

    def pack(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = max(tensor.numel(), kept.get(tensor.data_ptr(), 0))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logps = head_logps(policy, ids, *masks(ids), chunk=16)
    logps.sum().backward()
    return max(kept.values()), sum(kept.values())


@pytest.mark.parametrize("head_rank", RANKS)
def test_nothing_of_the_size_of_the_vocabulary_is_kept(head_rank):
    one, eight = (largest_saved(heads, head_rank=head_rank) for heads in (1, 8))
    response = 4 * 37
    assert one[0] == eight[0] < response * 3000 / 50
    assert eight[1] < 1.25 * one[1]


def test_the_plain_way_keeps_all_logits():
    """Shows that the count above can fail."""
    policy = Heads(tiny(vocab_size=300), 2, 2)
    ids, attention = tokens(4, 40)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        plain(policy, ids, attention, masks(ids)[1])
    assert max(sizes) >= 4 * 39 * 300


def test_a_batch_without_responses():
    policy = spread(Heads(tiny(), 2, 2))
    ids, attention, response = ragged()
    logps = head_logps(policy, ids, attention, torch.zeros_like(response))
    assert torch.equal(logps, torch.zeros(2, 5))
    logps.sum().backward()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in policy.trainable_parameters())


def test_refusals():
    policy = Heads(tiny(), 2, 2)
    ids, attention, response = ragged()
    with pytest.raises(UserError, match="position 0"):
        head_logps(policy, ids, attention, torch.ones_like(response))
    with pytest.raises(UserError, match="chunk=0"):
        head_logps(policy, ids, attention, response, chunk=0)
    with policy.reference(), pytest.raises(UserError, match="response_logps"):
        head_logps(policy, ids, attention, response)


def test_a_model_that_bends_its_logits_is_refused():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=24, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        head_dim=8, intermediate_size=20, final_logit_softcapping=30.0,
    )  # fmt: skip
    policy = Heads(Gemma2ForCausalLM(config).eval(), 2, 2)
    with pytest.raises(UserError, match="Gemma2ForCausalLM changes its logits"):
        head_logps(policy, *ragged())
