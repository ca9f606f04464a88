"""A response while it is sampled, by a model's own loop and by a policy's own forward pass."""

from __future__ import annotations

import pytest
import torch

import lightning_moa as moa
from lightning_moa.inference.watching import watching
from lightning_moa.policies import Policy, generate

SAMPLED = {"max_new_tokens": 6, "temperature": 1.0, "seed": 3}


class Twice(Policy):
    """Passes through its model twice a step."""

    def forward(self, *arguments, **options):
        super().forward(*arguments, **options)
        return super().forward(*arguments, **options)


@pytest.mark.parametrize("kind", [Policy, Twice])
def test_each_step_tells_the_tokens_before_it(kind):
    model = moa.build_model(vocab_size=40, hidden_size=16, layers=1, heads=2, intermediate_size=32)
    policy = kind(model)
    ids = torch.arange(3, 11).reshape(2, 4)
    told = []
    with watching(policy, lambda tokens: told.append(tokens.clone())):
        whole = generate(policy, ids, torch.ones_like(ids), **SAMPLED).tokens
    assert [tokens.shape[1] for tokens in told] == [1, 2, 3, 4, 5]
    assert all(torch.equal(tokens, whole[:, : tokens.shape[1]]) for tokens in told)
    generate(policy, ids, torch.ones_like(ids), **SAMPLED)
    assert len(told) == 5
