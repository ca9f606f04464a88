"""Sampling, scoring and the reference's pass: against separate models, and whatever the padding."""

import pytest
import torch

from lightning_moa.errors import UserError
from lightning_moa.objectives.rollout import (
    Sampling,
    reference_pass,
    response_token_logps,
    sample_responses,
    score_responses,
)
from lightning_moa.policies import Policy, SVDLoRA
from lightning_moa.rewards import RuleRewards
from tests.objectives.rollouts import RULES, Words, length, prompts
from tests.policies.models import EOS, PAD, preferences, shake, tiny

FAMILIES = ("llama", "mistral", "opt")
SAMPLING = Sampling(max_new_tokens=6)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def steered(family="llama", m=2):
    return shake(SVDLoRA(tiny(family), 2, m, seed=0), std=0.3)


def sampled(policy, batch, preference, seed=3):
    responses = sample_responses(policy, batch, preference, SAMPLING, seed)
    ids = torch.cat([batch.input_ids, responses.tokens], 1)
    return responses, ids, torch.cat([batch.attention_mask, responses.mask], 1)


def test_the_reference_is_a_separate_copy_of_the_base(family):
    policy = steered(family)
    responses, ids, attention = sampled(policy, prompts(), preferences(4, 2))
    logps, hidden = reference_pass(policy, ids, attention, responses.mask)
    base = Policy(tiny(family)).requires_grad_(False)
    torch.testing.assert_close(logps, response_token_logps(base, ids, attention, responses.mask, None))
    out = base.run(ids, attention, output_hidden_states=True)
    torch.testing.assert_close(hidden, out.hidden_states[-1][:, 3:-1])
    # What a value looks at is the state before its token: the head makes that token's log-prob of it.
    by_head = base.model.lm_head(hidden).log_softmax(-1).gather(-1, responses.tokens[..., None])[..., 0]
    torch.testing.assert_close(by_head.masked_fill(~responses.mask, 0), logps, atol=1e-4, rtol=1e-4)
    policy_logps = response_token_logps(policy, ids, attention, responses.mask, preferences(4, 2))
    assert (policy_logps - logps).abs().max() > 0.1


def test_padding_on_either_side_changes_nothing(family):
    policy, rows = steered(family), preferences(4, 2)
    responses, ids, attention = sampled(policy, prompts(), rows)
    wide_responses, wide_ids, wide_attention = sampled(policy, prompts(extra=3), rows)
    assert torch.equal(responses.tokens, wide_responses.tokens)
    logps, hidden = reference_pass(policy, ids, attention, responses.mask)
    wide_logps, wide_hidden = reference_pass(policy, wide_ids, wide_attention, responses.mask)
    torch.testing.assert_close(logps, wide_logps, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(hidden[responses.mask], wide_hidden[responses.mask], atol=1e-4, rtol=1e-4)
    longer = [torch.nn.functional.pad(tensor, (0, 2)) for tensor in (ids, attention, responses.mask)]
    torch.testing.assert_close(reference_pass(policy, *longer)[0][:, :-2], logps, atol=1e-4, rtol=1e-4)


def test_a_model_that_cannot_slice_its_logits_gives_the_same():
    policy = steered()
    responses, ids, attention = sampled(policy, prompts(), preferences(4, 2))
    expected = reference_pass(policy, ids, attention, responses.mask)
    policy._slices_logits = False
    for found, wanted in zip(reference_pass(policy, ids, attention, responses.mask), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_mass_on_padding_is_paid_for():
    """A policy that moves to PAD spends KL like one that moves to any token; unsampled, it would seem to earn it."""
    policy = steered()
    with torch.no_grad():
        for layer in policy.layers.values():
            layer.lora_B.zero_()
        head = policy.layers["lm_head"]
        head.lora_B[PAD] = 3 * torch.randn(head.lora_B.shape[1], generator=torch.Generator().manual_seed(0))
    preference = preferences(256, 2)
    responses, ids, attention = sampled(policy, prompts(256), preference)
    assert (responses.tokens[responses.mask] == PAD).any()
    with torch.no_grad():
        logps = response_token_logps(policy, ids, attention, responses.mask, preference)
    ref_logps, _ = reference_pass(policy, ids, attention, responses.mask)
    spent = (logps - ref_logps).sum(1)
    assert spent.mean() > 3 * spent.std() / 256**0.5


def test_responses_end_with_the_first_eos():
    policy = steered()
    responses, _, _ = sampled(policy, prompts(64), preferences(64, 2))
    ended = responses.mask.sum(1) < SAMPLING.max_new_tokens
    assert ended.any()
    last = responses.tokens.gather(1, responses.mask.sum(1)[:, None] - 1)[:, 0]
    assert (last[ended] == EOS).all()


def test_a_batch_is_a_function_of_its_seed():
    policy, rows = steered(), preferences(4, 2)
    first = sampled(policy, prompts(), rows, seed=5)[0].tokens
    torch.rand(7)
    assert torch.equal(first, sampled(policy, prompts(), rows, seed=5)[0].tokens)
    assert not torch.equal(first, sampled(policy, prompts(), rows, seed=6)[0].tokens)


def test_scores_are_of_the_texts_and_in_the_rewards_order():
    policy = steered()
    batch = prompts()
    responses, _, _ = sampled(policy, batch, preferences(4, 2))
    scores = score_responses(RuleRewards(RULES), Words(), batch, responses)
    assert scores.shape == (4, 3)
    assert scores.dtype == torch.float32
    words = (responses.mask & (responses.tokens != EOS)).sum(1)
    assert scores[:, 0].tolist() == words.tolist()


def test_a_reward_that_is_not_finite_names_objective_and_row():
    policy, batch = steered(), prompts()
    responses, _, _ = sampled(policy, batch, preferences(4, 2))

    def broken(prompts, texts):
        values = length(prompts, texts)
        values[2] = float("nan")
        return values

    with pytest.raises(UserError, match=r"reward 'harmless' gave nan for response 2"):
        score_responses(RuleRewards({"fine": length, "harmless": broken}), Words(), batch, responses)


def test_response_log_probs_pass_a_gradient_to_the_adapter_alone():
    policy, rows = steered(), preferences(4, 2)
    responses, ids, attention = sampled(policy, prompts(), rows)
    response_token_logps(policy, ids, attention, responses.mask, rows).sum().backward()
    assert all(parameter.grad is not None for parameter in policy.trainable_parameters())
    frozen = [parameter for parameter in policy.parameters() if not parameter.requires_grad]
    assert frozen
    assert all(parameter.grad is None for parameter in frozen)
