"""Full fine-tuning: it starts as its reference, which stays; an update is the plain model's; it is saved."""

import copy

import pytest
import torch

from lightning_moa.policies import load_policy
from lightning_moa.policies.full import FullWeights
from tests.policies.models import tiny, tokens


def moved(policy, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for delta in policy.trainable_parameters():
            delta.copy_(0.3 * torch.randn(delta.shape, generator=generator))
    return policy


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_the_reference_is_the_model_as_it_was(family):
    base = tiny(family)
    policy = FullWeights(copy.deepcopy(base))
    ids, mask = tokens()
    with torch.no_grad():
        torch.testing.assert_close(policy(ids, mask), base(input_ids=ids, attention_mask=mask).logits)
        before = policy(ids, mask)
        moved(policy)
        assert (policy(ids, mask) - before).abs().max() > 0.1
        with policy.reference():
            torch.testing.assert_close(policy(ids, mask), before)
        with policy.held():
            torch.testing.assert_close(policy(ids, mask), policy(ids, mask))


def test_an_update_is_the_one_of_the_plain_model():
    base = tiny()
    policy, plain = FullWeights(copy.deepcopy(base)), copy.deepcopy(base)
    ids, mask = tokens()
    for module, parameters in ((policy, policy.trainable_parameters()), (plain, list(plain.parameters()))):
        optimiser = torch.optim.Adam(parameters, lr=1e-2)
        logits = policy(ids, mask) if module is policy else plain(input_ids=ids, attention_mask=mask).logits
        logits.log_softmax(-1)[..., 3].mean().backward()
        optimiser.step()
    with torch.no_grad():
        expected = plain(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(policy(ids, mask), expected, atol=1e-3, rtol=1e-3)
    assert sum(p.numel() for p in policy.trainable_parameters()) == sum(p.numel() for p in plain.parameters())


def test_it_is_saved_loaded_and_taken_out(tmp_path):
    base = tiny()
    policy = moved(FullWeights(copy.deepcopy(base)))
    policy.save(tmp_path, objectives=["helpful", "harmless"])
    again = load_policy(copy.deepcopy(base), tmp_path)
    ids, mask = tokens()
    with torch.no_grad():
        torch.testing.assert_close(again(ids, mask), policy(ids, mask))
        plain = policy.unload()(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(plain, base(input_ids=ids, attention_mask=mask).logits)
