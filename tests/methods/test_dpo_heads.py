"""DPO with a head for each objective: its losses are those of that head as a policy, and each head learns its own."""

import pytest
import torch

from lightning_moa.aggregation import Linear
from lightning_moa.methods import HeadwiseSCA
from lightning_moa.methods.products import dpo_heads
from lightning_moa.objectives import DPO
from lightning_moa.policies import Heads, Policy, response_logps
from tests.methods.fitting import adam, train
from tests.methods.heads import heads_of
from tests.objectives.batches import NAN, pairs
from tests.policies.models import tiny

LABELS = [[1.0, 0.0], [0.0, 1.0], [1.0, NAN], [0.0, 1.0]]


@pytest.mark.parametrize("likelihood", [0.0, 0.3])
def test_each_row_is_the_loss_of_that_head_alone(likelihood):
    policy, batch = heads_of(3), pairs(LABELS, reference=Policy(tiny()))
    found = DPO(0.4, likelihood).losses(policy, batch, torch.eye(3)[:, :2])
    assert found.shape == (3, 2)
    for k in range(3):
        torch.testing.assert_close(found[k], DPO(0.4, likelihood).losses(policy.head(k), batch, None))


def test_each_head_learns_to_rank_as_its_own_objective_does():
    policy = Heads(tiny(), heads=2, rank=2, seed=0)
    batch = pairs([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], reference=Policy(tiny()))
    product = dpo_heads(2)
    method = HeadwiseSCA(policy, DPO(0.4), Linear(), adam(2e-2), m=2, seed=0, **product.method.options)
    train(method, [batch] * 30)
    for k in range(2):
        inputs = (batch.input_ids, batch.attention_mask, batch.response_mask)
        with torch.no_grad():
            first, second = (response_logps(policy.head(k), *inputs) - batch.ref_logps).chunk(2)
        assert ((second > first) == (batch.labels[:, k] == 1)).all()


def test_it_has_as_many_heads_as_objectives():
    product = dpo_heads(3)
    assert product.policy.options == {"number": 3}
    assert product.method.options["head_preferences"] == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
