"""The adapted layer: weights folded for a batch's preferences against base and update on their own."""

import pytest
import torch

import lightning_moa.policies.layers as layers
from lightning_moa.policies import SVDLoRA, generate
from lightning_moa.policies.steering import Steering
from tests.policies.models import preferences, shake, tiny, tokens


@pytest.fixture(params=["llama", "mistral", "opt"])
def policy(request):
    return shake(SVDLoRA(tiny(request.param), 3, 3, seed=0), std=0.3)


def logits_and_gradient(policy, ids, mask, preference):
    policy.zero_grad()
    logits = policy(ids, mask, preference)
    logits.log_softmax(-1)[..., 5].mean().backward()
    return logits.detach(), torch.cat([p.grad.flatten() for p in policy.trainable_parameters()])


@pytest.mark.parametrize("runs", [[4, 4, 4], [12], [4, 8], [5, 7], [1] * 12])
def test_folding_the_preferences_of_a_batch_changes_no_logit_and_no_gradient(policy, runs, monkeypatch):
    ids, mask = tokens(12, 6)
    rows = preferences(len(runs), 3).repeat_interleave(torch.tensor(runs), 0)
    folded = logits_and_gradient(policy, ids, mask, rows)
    monkeypatch.setattr(layers, "FOLD_LIMIT", 0)
    apart = logits_and_gradient(policy, ids, mask, rows)
    for found, expected in zip(folded, apart, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("runs", "shares"),
    [([4, 4, 4], 3), ([12], 1), ([4, 8], 3), ([5, 7], 12), ([6, 3, 3], 4), ([1, 1], 2)],
)
def test_the_distinct_preferences_are_those_of_equal_shares(runs, shares):
    steering = Steering()
    rows = preferences(len(runs), 3).repeat_interleave(torch.tensor(runs), 0)
    with steering.using(rows):
        distinct = steering.distinct()
        assert len(distinct) == shares
        assert torch.equal(distinct.repeat_interleave(len(rows) // shares, 0), rows)
    for plain in (None, rows[0]):
        with steering.using(plain):
            assert steering.distinct() is plain


def test_another_preference_has_other_shares():
    steering = Steering()
    for count in (1, 3, 6):
        with steering.using(preferences(count, 2).repeat_interleave(12 // count, 0)):
            assert len(steering.distinct()) == count


@pytest.mark.parametrize("shape", ["one", "shares", "each"])
def test_held_layers_compute_the_same_and_are_let_go(policy, shape):
    ids, mask = tokens(12, 6)
    preference = {"one": preferences(1, 3)[0], "shares": preferences(3, 3).repeat_interleave(4, 0)}.get(
        shape, preferences(12, 3)
    )
    with torch.no_grad():
        expected = policy(ids, mask, preference)
        with policy.steered(preference), policy.held():
            assert torch.equal(policy(ids, mask, preference), expected)
        for layer in policy.layers.values():
            layer.lora_B.mul_(1.5)
        moved = policy(ids, mask, preference)
    assert (moved - expected).abs().max() > 1e-2


def test_sampling_lets_its_layers_go_also_when_it_fails(policy, monkeypatch):
    ids, mask = tokens(4, 3)
    generate(policy, ids, mask, preference=preferences(1, 3)[0], max_new_tokens=2)
    assert all(layer._held is None for layer in policy.layers.values())

    def fail(*args, **kwargs):
        raise RuntimeError("no")

    monkeypatch.setattr(policy.model, "generate", fail)
    with pytest.raises(RuntimeError, match="no"):
        generate(policy, ids, mask, preference=preferences(1, 3)[0], max_new_tokens=2)
    assert all(layer._held is None for layer in policy.layers.values())


def test_the_reference_is_sampled_while_layers_are_held(policy):
    ids, mask = tokens(4, 6)
    with torch.no_grad(), policy.reference():
        expected = policy(ids, mask)
        with policy.held():
            assert torch.equal(policy(ids, mask), expected)
    with torch.no_grad(), policy.steered(preferences(1, 3)[0]), policy.held(), policy.reference():
        assert torch.equal(policy(ids, mask), expected)


def test_numbers_are_drawn_where_there_are_any():
    """A plan's heads, 50,272 x 4096 each, would take seconds and a GiB otherwise."""
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    shape = layers.normal(50_272, 4096, 0.1, torch.empty(1, device="meta"), generator)
    assert (shape.is_meta, shape.shape, shape.dtype) == (True, (50_272, 4096), torch.float32)
    assert torch.equal(generator.get_state(), before)
    drawn = layers.normal(3, 2, 0.5, torch.empty(1), generator)
    assert torch.equal(drawn, 0.5 * torch.randn(3, 2, generator=generator.set_state(before)))
