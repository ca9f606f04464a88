"""Log-probabilities of pairs whose prompt goes through the model once."""

from __future__ import annotations

import pytest
import torch

from lightning_moa.batches import PairBatch
from lightning_moa.errors import UserError
from lightning_moa.policies import Policy, SVDLoRA, pair_logps
from lightning_moa.policies.pairs import SHARING, share_prompts

from .models import PAD, VOCABULARY, preferences, shake, tiny
from .test_families import FAMILIES, base_of

LENGTHS = [(5, 3, 7), (2, 6, 1), (9, 4, 4)]
"""Prompt, first and second response of each pair."""


def pairs(seed: int = 0) -> PairBatch:
    """Pairs of other lengths each, padded on the right."""
    draws = torch.Generator().manual_seed(seed)
    rows: dict[int, list[list[int]]] = {0: [], 1: []}
    for prompt, *replies in LENGTHS:
        shared = torch.randint(3, VOCABULARY, (prompt,), generator=draws).tolist()
        for side, length in enumerate(replies):
            rows[side].append(shared + torch.randint(3, VOCABULARY, (length,), generator=draws).tolist())
    whole = rows[0] + rows[1]
    width = max(map(len, whole))
    ids = torch.tensor([row + [PAD] * (width - len(row)) for row in whole])
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in whole])
    starts = torch.tensor([prompt for prompt, *_ in LENGTHS] * 2)
    response = mask & (torch.arange(width) >= starts[:, None])
    return PairBatch(ids, mask, response, torch.zeros(len(LENGTHS), 2), torch.arange(len(LENGTHS)))


@pytest.mark.parametrize("tokens", [1000, 30])
@pytest.mark.parametrize(
    "family", [name for name, config in FAMILIES.items() if config.model_type in SHARING]
)
def test_the_numbers_are_those_of_two_rows(family, tokens, monkeypatch):
    monkeypatch.setattr("lightning_moa.policies.pairs.CPU_TOKENS", tokens)
    policy, batch = Policy(base_of(family)), pairs()
    apart = pair_logps(policy, batch)
    share_prompts(policy)
    assert torch.allclose(pair_logps(policy, batch), apart, atol=1e-4, rtol=1e-5)


def test_every_family_that_is_allowed_is_tried():
    assert {config.model_type for config in FAMILIES.values()} >= set(SHARING)


@pytest.mark.parametrize("tokens", [1000, 30])
def test_a_steered_policy_has_the_same_gradient(tokens, monkeypatch):
    monkeypatch.setattr("lightning_moa.policies.pairs.CPU_TOKENS", tokens)
    policy, batch = shake(SVDLoRA(tiny(), m=2, k=2)), pairs()
    each = preferences(len(LENGTHS), 2)

    def gradient():
        policy.zero_grad()
        logps = pair_logps(policy, batch, each)
        (logps * torch.arange(1.0, 7.0)).sum().backward()
        return logps.detach(), [one.grad.clone() for one in policy.trainable_parameters()]

    apart, expected = gradient()
    share_prompts(policy)
    together, found = gradient()
    assert torch.allclose(together, apart, atol=1e-4)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("tokens", "rows"), [(1000, [3 * 17]), (30, [2 * 15, 17]), (1, [9, 15, 17])])
def test_the_prompt_goes_through_once_with_little_padding(tokens, rows, monkeypatch):
    monkeypatch.setattr("lightning_moa.policies.pairs.CPU_TOKENS", tokens)
    policy, batch = Policy(tiny()), pairs()
    seen = []
    run = policy.run
    monkeypatch.setattr(
        policy, "run", lambda ids, *rest, **options: seen.append(ids.numel()) or run(ids, *rest, **options)
    )
    pair_logps(policy, batch)
    share_prompts(policy)
    pair_logps(policy, batch)
    assert sorted(map(sum, LENGTHS)) == [9, 15, 17]
    assert seen == [batch.input_ids.numel(), *rows]


def test_a_window_shorter_than_the_rows_is_kept_to():
    model = base_of("mistral")
    model.config.sliding_window = 8
    policy, batch = Policy(type(model)(model.config).eval()), pairs()
    apart = pair_logps(policy, batch)
    share_prompts(policy)
    assert torch.equal(pair_logps(policy, batch), apart)


def test_a_family_that_is_not_known_to_is_refused():
    policy = Policy(base_of("gpt2"))
    with pytest.raises(UserError, match="gpt2; allowed are llama"):
        share_prompts(policy)


def test_prompts_that_differ_are_no_pair():
    policy, batch = Policy(tiny()), pairs()
    batch.response_mask[0, LENGTHS[0][0]] = False
    share_prompts(policy)
    with pytest.raises(UserError, match="differ in length"):
        pair_logps(policy, batch)
