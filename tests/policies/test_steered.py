"""Policies from outside whose own part reads the preference as it runs."""

from __future__ import annotations

import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.policies import SteeredPolicy, generate, load_policy, response_logps
from tests.policies.models import preferences, tiny, tokens

FIRST, SECOND = torch.eye(2)


class Scaled(SteeredPolicy):
    """The hidden states behind each block are scaled by what the preference says."""

    def __init__(self, model, m=2, by=0.5):
        super().__init__(model.requires_grad_(False))
        self.m = m
        self.strength = torch.nn.Parameter(torch.full((max(m, 1),), by) * torch.arange(1, max(m, 1) + 1))
        self.hooks = [block.register_forward_hook(self.scale) for block in model.get_decoder().layers]

    def scale(self, block, given, hidden):
        if not self.steering.enabled:
            return hidden
        asked = self.steering.preference if self.m else torch.ones(1)
        factor = 1 + asked @ self.strength
        return hidden * (factor[:, None, None] if factor.ndim else factor)

    def options(self):
        return {"m": self.m}

    def unload(self):
        for hook in self.hooks:
            hook.remove()
        return super().unload()


def test_each_row_has_its_own_preference():
    policy, rows = Scaled(tiny()), preferences(4, 2)
    ids, mask = tokens()
    together = policy(ids, mask, rows)
    for i, row in enumerate(rows):
        torch.testing.assert_close(together[i : i + 1], policy(ids[i : i + 1], mask[i : i + 1], row))
    assert (policy(ids, mask, FIRST) - policy(ids, mask, SECOND)).abs().max() > 0.01


def test_a_preference_holds_for_its_call_and_a_set_one_for_later_calls():
    policy = Scaled(tiny())
    expected = policy(*tokens(), SECOND)
    policy.set_preference(SECOND)
    policy(*tokens(), FIRST)
    assert torch.equal(policy(*tokens()), expected)
    policy.set_preference(None)
    with pytest.raises(UserError, match="none was given"):
        policy(*tokens())


@pytest.mark.parametrize("preference", [torch.tensor([0.5, 0.6]), torch.tensor([1.0]), torch.ones(3, 2) / 2])
def test_what_is_no_preference_is_refused(preference):
    policy = Scaled(tiny())
    with pytest.raises(UserError, match="preference"):
        policy(*tokens(), preference)
    with pytest.raises(UserError, match="preference"):
        policy.set_preference(preference[None, None])


def test_the_reference_needs_no_preference_and_is_the_base():
    base = tiny()
    ids, mask = tokens()
    expected = base(input_ids=ids, attention_mask=mask).logits
    policy = Scaled(base)
    with policy.reference():
        assert torch.equal(policy(ids, mask), expected)
    assert not torch.equal(policy(ids, mask, FIRST), expected)


def test_without_objectives_it_is_switched_on_and_off_and_any_preference_is_ignored():
    policy = Scaled(tiny(), m=0)
    expected = policy(*tokens())
    policy.set_preference(torch.ones(7))
    assert torch.equal(policy(*tokens(), torch.ones(7)), expected)
    with policy.reference():
        assert not torch.equal(policy(*tokens()), expected)


def test_recomputed_layers_see_the_preference_that_the_forward_pass_saw():
    ids, mask = tokens()
    response = torch.arange(ids.shape[1]).expand_as(ids) >= 4
    found = []
    for checkpointing in (False, True):
        policy = Scaled(tiny())
        if checkpointing:
            policy.enable_gradient_checkpointing()
            policy.model.enable_input_require_grads()
        logps = response_logps(policy, ids, mask, response, preferences(4, 2))
        with policy.reference(), torch.no_grad():
            policy(ids, mask)
        logps.sum().backward()
        found.append(policy.strength.grad)
    assert found[0].abs().min() > 0
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_it_is_sampled_trained_and_saved_as_ours_are(tmp_path):
    policy = Scaled(tiny())
    assert policy.decodes_by_model
    ids, mask = tokens(2, 3)
    drawn = [
        generate(policy, ids, mask, max_new_tokens=6, preference=row, temperature=0).tokens
        for row in torch.eye(2)
    ]
    assert not torch.equal(*drawn)
    assert list(policy.trained_state()) == ["strength"]
    with torch.no_grad():
        policy.strength.mul_(3)
    policy.save(tmp_path, objectives=["a", "b"])
    expected = policy(*tokens(), FIRST)
    policy.unload()
    again = load_policy(policy.model, tmp_path, kind=Scaled)
    assert torch.equal(again(*tokens(), FIRST), expected)
