"""PTX: the likelihood of given responses beside PPO's rewards, against arithmetic by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_moa.aggregation import Linear
from lightning_moa.batches import PromptBatch
from lightning_moa.errors import UserError
from lightning_moa.methods.panacea import Panacea
from lightning_moa.objectives import PPO, PPOSettings
from lightning_moa.objectives.rollout import Sampling
from lightning_moa.policies import SVDLoRA, token_logps
from lightning_moa.policies.critic import Critic
from lightning_moa.rewards import RuleRewards
from tests.methods.fitting import sgd, state, train
from tests.objectives.batches import sequences
from tests.policies.models import VOCABULARY, preferences, shake, tiny


class Words:
    def batch_decode(self, rows, skip_special_tokens):
        return [" ".join(str(int(token)) for token in row) for row in rows]


def prompts(count=4):
    ids = torch.randint(3, VOCABULARY, (count, 3), generator=torch.Generator().manual_seed(5))
    return PromptBatch(ids, torch.ones_like(ids, dtype=torch.bool), ["p"] * count, torch.arange(count))


def ppo(ptx, given=None, score=0.0):
    def constant(prompts, responses):
        return np.full(len(responses), score)

    rewards = RuleRewards({"one": constant, "two": constant})
    settings = PPOSettings(ptx=ptx, kl_coeff=0.0)
    return PPO(rewards, Critic(16, 2), sgd(), Words(), Sampling(3), settings, given=given)


def policy():
    return shake(SVDLoRA(tiny(), k=2, m=2, seed=0), std=0.1)


def nll_by_hand(steered, batch, rows):
    """Mean over all response tokens of -log p, from the logits of each row by itself."""
    total, count = 0.0, 0
    for i, weights in enumerate(rows):
        length = int(batch.attention_mask[i].sum())
        ids = batch.input_ids[i : i + 1, :length]
        logps = token_logps(steered(ids, torch.ones_like(ids), weights), ids)
        total -= logps[0][batch.response_mask[i, :length]].sum()
        count += int(batch.response_mask[i].sum())
    return total / count


@pytest.mark.parametrize("groups", [1, 2])
def test_the_loss_is_the_weighted_mean_over_response_tokens_under_the_batch_s_preferences(groups):
    given, steered = sequences(None), policy()
    objective = ppo(16.0, lambda step, device: given)
    asked = preferences(groups, 2)
    part = objective.rollout(steered, prompts(), asked if groups > 1 else asked[0], 0)
    loss = objective.shared_loss(steered, part, asked if groups > 1 else asked[0])
    expected = 16.0 * nll_by_hand(steered, given, asked.repeat_interleave(4 // groups, dim=0))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    assert float(objective.logs()["ptx_loss"]) == pytest.approx(expected.item() / 16.0, rel=1e-5)


def test_without_a_weight_nothing_is_added_and_nothing_is_drawn():
    def refuse(step, device):
        raise AssertionError("drawn")

    objective, steered = ppo(0.0, refuse), policy()
    part = objective.rollout(steered, prompts(), preferences(1, 2)[0], 0)
    assert part.given is None
    assert objective.shared_loss(steered, part, None) is None


def test_a_weight_needs_given_responses():
    with pytest.raises(UserError, match=r"ppo.ptx=2.0: there are no given responses; allowed is 0"):
        ppo(2.0)


def test_an_update_is_that_of_the_likelihood_alone_where_all_rewards_are_zero():
    """With scores 0 and no KL term the advantages are 0, so one step of gradient descent is -lr ptx grad NLL."""
    given, start = sequences(None), policy()
    method = Panacea(start, ppo(2.0, lambda step, device: given), Linear(), sgd(0.1), m=2, seed=0)
    asked = method.preference(0)
    before = state(start).clone()
    grads = torch.autograd.grad(nll_by_hand(start, given, [asked] * 4), start.trainable_parameters())
    train(method, [prompts()])
    moved = torch.cat([grad.flatten() for grad in grads]) * -0.1 * 2.0
    torch.testing.assert_close(state(start) - before, moved, rtol=1e-3, atol=1e-6)
    assert moved.abs().max() > 1e-4


def test_given_responses_count_by_their_tokens_in_whichever_batch_they_are():
    given, start = sequences(None), policy()
    halves = [replace(given, **{n: v[s] for n, v in tensors(given)}) for s in (slice(0, 1), slice(1, 4))]
    assert len({float(half.response_mask.sum()) for half in halves}) == 2
    method = Panacea(
        start, ppo(2.0, lambda step, device: halves[step]), Linear(), sgd(0.1), m=2, seed=0, accumulate=2
    )
    asked = method.preference(0)
    before = state(start).clone()
    grads = torch.autograd.grad(nll_by_hand(start, given, [asked] * 4), start.trainable_parameters())
    train(method, [prompts(), prompts()])
    moved = torch.cat([grad.flatten() for grad in grads]) * -0.1 * 2.0
    torch.testing.assert_close(state(start) - before, moved, rtol=1e-3, atol=1e-6)


def tensors(batch):
    return [(name, value) for name, value in vars(batch).items() if isinstance(value, torch.Tensor)]


def test_the_rows_of_a_batch_follow_from_its_number():
    seen = []

    def given(step, device):
        seen.append(step)
        return sequences(None)

    method = Panacea(policy(), ppo(1.0, given), Linear(), sgd(), m=2, seed=0)
    train(method, [prompts(), prompts(), prompts()])
    assert seen == [0, 1, 2]
