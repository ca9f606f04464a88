"""SVD-LoRA against the paper's formula, its steering, its start and its gradients."""

from __future__ import annotations

import copy

import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.policies import SVDLoRA, layers
from tests.policies.models import preferences, shake, tiny, tokens

FAMILIES = ("llama", "mistral", "opt")


def explicit(base, policy, scaling, preference):
    """The base model with W0 + scaling * U diag(sigma, s lambda) V' written into each weight (eq. 5)."""
    model = copy.deepcopy(base)
    for name, layer in policy.layers.items():
        entries = []
        if policy.k:
            entries.append(layer.gate.sigma)
        if policy.m:
            entries.append(layer.gate.scale * preference)
        diagonal = torch.diag(torch.cat(entries))
        weight = model.get_submodule(name).weight
        weight.data += scaling * layer.lora_B.detach() @ diagonal.detach() @ layer.lora_A.detach()
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("k", "m"), [(3, 2), (2, 3), (0, 4), (5, 0), (1, 1)])
def test_forward_is_the_papers_formula(family, k, m):
    base = tiny(family)
    policy = shake(SVDLoRA(copy.deepcopy(base), k, m, scaling=1.7))
    ids, mask = tokens()
    for preference in preferences(3, max(m, 1)):
        expected = explicit(base, policy, 1.7, preference)(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(policy(ids, mask, preference), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fold", [True, False])
def test_preferences_per_example_equal_one_by_one(family, fold, monkeypatch):
    monkeypatch.setattr(layers, "FOLD_LIMIT", 10**9 if fold else 0)
    policy = shake(SVDLoRA(tiny(family), 3, 3))
    ids, mask = tokens(5)
    rows = preferences(5, 3)
    together = policy(ids, mask, rows)
    for i, preference in enumerate(rows):
        alone = policy(ids[i : i + 1], mask[i : i + 1], preference)
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=1e-5)
    assert (policy(ids, mask, rows.flip(0)) - together).abs().max() > 0.1


def test_folding_changes_neither_logits_nor_gradients(monkeypatch):
    policy = shake(SVDLoRA(tiny(), 3, 2))
    ids, mask = tokens()
    found = []
    for limit in (0, 10**9):
        monkeypatch.setattr(layers, "FOLD_LIMIT", limit)
        policy.zero_grad()
        logits = policy(ids, mask, torch.tensor([0.25, 0.75]))
        logits.square().mean().backward()
        found.append([logits, *(parameter.grad.clone() for parameter in policy.trainable_parameters())])
    for apart, folded in zip(*found, strict=True):
        torch.testing.assert_close(apart, folded, atol=1e-3, rtol=1e-4)


def test_a_grid_of_preferences_is_one_batch():
    policy = shake(SVDLoRA(tiny(), 2, 2))
    ids, mask = tokens(2)
    grid = torch.stack([torch.linspace(0, 1, 11), 1 - torch.linspace(0, 1, 11)], -1)
    logits = policy(ids.repeat(11, 1), mask.repeat(11, 1), grid.repeat_interleave(2, 0))
    torch.testing.assert_close(logits[6:8], policy(ids, mask, grid[3]), atol=1e-4, rtol=1e-5)


def test_starts_as_its_reference_exactly():
    base = tiny()
    ids, mask = tokens()
    expected = base(input_ids=ids, attention_mask=mask).logits
    policy = SVDLoRA(base, 3, 2, seed=1)
    assert torch.equal(policy(ids, mask, preferences(4, 2)), expected)
    assert torch.equal(policy(ids, mask, torch.tensor([0.4, 0.6])), expected)


@pytest.mark.parametrize("option", [{"scale_init": 0.5}, {"fixed_scale": 0.5}])
def test_a_scale_given_at_the_start_steers_from_the_start(option):
    policy = SVDLoRA(tiny(), 3, 2, init_std=0.3, seed=1, **option)
    ids, mask = tokens()
    ends = [policy(ids, mask, corner) for corner in torch.eye(2)]
    assert (ends[0] - ends[1]).abs().max() > 0.01


def test_gradients_reach_all_four_parts_and_not_the_base():
    policy = shake(SVDLoRA(tiny(), 3, 2))
    ids, mask = tokens()
    policy(ids, mask, preferences(4, 2)).square().mean().backward()
    for name, layer in policy.layers.items():
        for parameter in (layer.lora_A, layer.lora_B, layer.gate.sigma, layer.gate.scale):
            assert parameter.grad.abs().max() > 0, name
        assert layer.base.weight.grad is None
    expected = 4 * len(policy.layers)
    assert len(policy.trainable_parameters()) == expected
    assert sum(parameter.grad is not None for parameter in policy.parameters()) == expected


def test_first_gradients_reach_sigma_and_scale():
    policy = SVDLoRA(tiny(), 3, 2, seed=0)
    ids, mask = tokens()
    policy(ids, mask, torch.tensor([0.3, 0.7])).square().mean().backward()
    for layer in policy.layers.values():
        assert layer.gate.sigma.grad.abs().max() > 0
        assert layer.gate.scale.grad.abs().max() > 0
        assert layer.lora_A.grad.abs().max() == 0


def test_a_fixed_scale_is_not_trained():
    policy = SVDLoRA(tiny(), 3, 2, fixed_scale=1e-3)
    assert len(policy.trainable_parameters()) == 3 * len(policy.layers)


def test_without_objectives_any_preference_is_ignored():
    policy = shake(SVDLoRA(tiny(), 4, 0))
    ids, mask = tokens()
    expected = policy(ids, mask)
    assert torch.equal(policy(ids, mask, torch.tensor([0.2, 0.3, 0.5])), expected)
    policy.set_preference(torch.tensor([1.0, 0.0]))
    assert torch.equal(policy(ids, mask), expected)


def test_orthogonality_penalty():
    policy = shake(SVDLoRA(tiny(), 3, 2))
    expected = 0.0
    for layer in policy.layers.values():
        for vectors in (layer.lora_B, layer.lora_A.T):
            expected += torch.linalg.matrix_norm(vectors.T @ vectors - torch.eye(5)) ** 2
    torch.testing.assert_close(policy.orthogonality(), expected)
    assert policy.penalty() is None
    policy.orthogonality_weight = 0.3
    torch.testing.assert_close(policy.penalty(), 0.3 * expected)
    with torch.no_grad():
        for layer in policy.layers.values():
            layer.lora_A.copy_(torch.eye(5, layer.lora_A.shape[1]))
            layer.lora_B.copy_(torch.eye(layer.lora_B.shape[0], 5))
    assert policy.orthogonality() == 0


def test_a_seed_fixes_the_start():
    first, again, other = (SVDLoRA(tiny(), 3, 2, seed=seed).trained_state() for seed in (5, 5, 6))
    key = next(iter(first))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first[key], other[key])


@pytest.mark.parametrize(
    "preference",
    [
        None,
        torch.tensor([1.0]),
        torch.tensor([0.2, 0.3, 0.5]),
        torch.tensor([[0.5, 0.5]]),
        torch.full((1, 4, 2), 0.5),
        torch.tensor(1.0),
        torch.tensor([0.5, 0.6]),
        torch.tensor([1.5, -0.5]),
        torch.tensor([torch.nan, 1.0]),
        torch.tensor([torch.inf, 0.0]),
        torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0], [0.9, 0.2]]),
    ],
)
def test_refuses_preferences_that_are_none(preference):
    policy = SVDLoRA(tiny(), 3, 2)
    ids, mask = tokens()
    with pytest.raises(UserError, match="preference"):
        policy(ids, mask, preference)


def test_a_preference_holds_for_its_call_and_a_set_one_for_later_calls():
    policy = shake(SVDLoRA(tiny(), 3, 2))
    ids, mask = tokens()
    first, second = torch.tensor([0.9, 0.1]), torch.tensor([0.1, 0.9])
    expected = policy(ids, mask, second)
    policy.set_preference(second)
    policy(ids, mask, first)
    assert torch.equal(policy(ids, mask), expected)
    policy.set_preference(None)
    with pytest.raises(UserError, match="none was given"):
        policy(ids, mask)


@pytest.mark.parametrize(
    "options", [{"k": -1, "m": 3}, {"k": 0, "m": 0}, {"k": 2, "m": -1}, {"init_std": 0.0}]
)
def test_refuses_sizes_that_make_no_adapter(options):
    with pytest.raises(UserError):
        SVDLoRA(tiny(), **options)


def test_an_s_for_each_objective_scales_each_preference_entry_by_itself():
    """Eq. 9; where all are alike it is the one s of eq. 6."""
    one, each = (SVDLoRA(tiny(), 2, 3, per_objective=own, seed=0) for own in (False, True))
    preference = torch.tensor([0.2, 0.3, 0.5])
    for layer in one.layers.values():
        layer.gate.scale.data.fill_(0.7)
    factors = torch.tensor([0.7, 0.0, -0.7])
    ids, mask = tokens()
    for layer in each.layers.values():
        assert layer.gate.scale.shape == (3,)
        layer.gate.scale.data.fill_(0.7)
    torch.testing.assert_close(each(ids, mask, preference), one(ids, mask, preference))
    for layer in each.layers.values():
        layer.gate.scale.data.copy_(factors)
        torch.testing.assert_close(layer.gate(preference)[-3:], factors * preference)
    assert SVDLoRA.rebuild(tiny(), each.options()).options() == each.options()
