"""PPO on tiny policies: its first update, its ways of weighing, where gradients go, and what it reaches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import lightning_moa.objectives.ppo as ppo_module
from lightning_moa.aggregation import Linear
from lightning_moa.batches import PromptBatch
from lightning_moa.errors import UserError
from lightning_moa.methods.dps import DPS
from lightning_moa.methods.panacea import Panacea
from lightning_moa.objectives.ppo import Diverged
from lightning_moa.objectives.rollout import response_token_logps
from lightning_moa.policies import LoRA, Policy, Responses, SVDLoRA
from lightning_moa.rewards import RuleRewards
from tests.methods.fitting import adam, train
from tests.objectives.rollouts import length, ppo, prompts
from tests.policies.models import preferences, shake, tiny

HALF = torch.tensor([0.3, 0.7])


def steered(m=2):
    return shake(SVDLoRA(tiny(), 2, m, seed=0), std=0.3)


def gradients(policy, loss):
    policy.zero_grad()
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in policy.trainable_parameters()])


def learned(critic, seed=0):
    """Give a critic values that are not 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        critic.outer.weight.copy_(torch.randn(critic.outer.weight.shape, generator=generator))
    return critic


# The first update


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_first_surrogate_is_minus_the_mean_advantage_and_its_gradient_is_reinforces(m):
    policy, preference = steered(m), preferences(1, m)[0]
    objective = ppo(m, critic_m=m)
    learned(objective.critic)
    rollout = objective.rollout(policy, prompts(6), preference, step=0)
    losses = objective.losses(policy, rollout, preference)
    counts = rollout.mask.sum(1)
    means = torch.stack(
        [rollout.advantages[row, :count].mean(0) for row, count in enumerate(counts.tolist())]
    )
    torch.testing.assert_close(losses, -means.mean(0))
    logps = response_token_logps(policy, rollout.input_ids, rollout.attention_mask, rollout.mask, preference)
    torch.testing.assert_close(logps.detach(), rollout.logps)
    weight = (rollout.advantages * rollout.mask[..., None] / counts[:, None, None]) @ preference
    reinforce = -(weight.detach() * logps).sum(1).mean()
    found = gradients(policy, Linear()(objective.losses(policy, rollout, preference), preference))
    torch.testing.assert_close(found, gradients(policy, reinforce), atol=1e-5, rtol=1e-4)


def test_weighing_surrogates_and_advantages_agree_at_the_first_update():
    policy, batch = steered(), prompts(6)
    found = []
    for weigh in ("surrogates", "advantages"):
        objective = ppo(weigh=weigh)
        learned(objective.critic)
        rollout = objective.rollout(policy, batch, HALF, step=4)
        losses = objective.losses(policy, rollout, HALF)
        assert losses.shape == ((2,) if weigh == "surrogates" else (1,))
        found.append(gradients(policy, Linear()(losses, HALF)))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)
    assert found[0].abs().max() > 1e-3


def test_weighing_linear_rewards_is_weighing_advantages_where_the_values_are_zero():
    policy, batch = steered(), prompts(6)
    found = []
    for weigh in ("advantages", "linear_reward"):
        objective = ppo(weigh=weigh)
        rollout = objective.rollout(policy, batch, HALF, step=4)
        assert rollout.values.shape[-1] == (1 if weigh == "linear_reward" else 2)
        found.append(gradients(policy, Linear()(objective.losses(policy, rollout, HALF), HALF)))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)


def test_dropout_does_not_enter_what_a_rollout_remembers():
    policy = shake(LoRA(tiny(), 2, dropout=0.5, seed=0)).train()
    rollout = ppo().rollout(policy, prompts(), HALF, step=0)
    assert policy.training
    expected = response_token_logps(
        policy.eval(), rollout.input_ids, rollout.attention_mask, rollout.mask, None
    )
    torch.testing.assert_close(rollout.logps, expected.detach())


# Rewards


def test_one_token_answers_without_kl_have_advantage_reward_minus_value():
    objective = ppo(3, tokens=1, kl_coeff=0.0, critic_m=0)
    learned(objective.critic)
    rollout = objective.rollout(steered(3), prompts(8), preferences(1, 3)[0], step=0)
    assert rollout.values.abs().min() > 0
    torch.testing.assert_close(rollout.advantages[:, 0], rollout.scores - rollout.values[:, 0])


def test_the_scale_is_applied_to_the_scores_and_the_log_is_unscaled():
    policy, batch = steered(), prompts()
    plain = ppo(kl_coeff=0.0)
    scaled = ppo(kl_coeff=0.0, scale=[1, 5])
    first, second = (objective.rollout(policy, batch, HALF, 0) for objective in (plain, scaled))
    torch.testing.assert_close(second.scores, first.scores * torch.tensor([1.0, 5.0]))
    torch.testing.assert_close(second.advantages, first.advantages * torch.tensor([1.0, 5.0]))
    assert scaled.logs()["score/even"] == plain.logs()["score/even"]


def test_tchebycheff_rewards_by_hand():
    fixed = RuleRewards({"a": lambda p, r: np.array([1.0, 4.0]), "b": lambda p, r: np.array([3.0, 0.0])})
    objective = ppo(
        tokens=1, kl_coeff=0.0, weigh="tchebycheff_reward", ideal_point=[5.0, 6.0], scale=[1.0, 2.0]
    )
    objective.rewards = fixed
    rollout = objective.rollout(steered(), prompts(2), torch.tensor([0.25, 0.75]), step=0)
    # Scaled scores (1, 6) and (4, 0): -max(.25 * 4, .75 * 0) and -max(.25 * 1, .75 * 6).
    assert rollout.advantages[:, 0, 0].tolist() == pytest.approx([-1.0, -4.5])


def test_a_reward_that_is_not_finite_stops_the_update():
    def broken(prompts, responses):
        return np.array([0.0, np.inf, 0.0, 0.0])

    objective = ppo(rules={"helpful": length, "harmless": broken})
    with pytest.raises(UserError, match="reward 'harmless' gave inf for response 1"):
        objective.rollout(steered(), prompts(), HALF, step=0)


# Preferences


def test_many_preferences_in_a_batch_are_as_many_batches(monkeypatch):
    policy, batch, m = steered(), prompts(6), 2
    rows = preferences(3, m)
    objective = ppo(m, critic_m=m)
    learned(objective.critic)
    together = objective.rollout(policy, batch, rows, step=1)
    losses = objective.losses(policy, together, rows)
    assert losses.shape == (3, m)
    sampled = together.input_ids[:, batch.input_ids.shape[1] :]
    for g in range(3):
        share = slice(2 * g, 2 * g + 2)
        part = PromptBatch(
            batch.input_ids[share], batch.attention_mask[share], batch.prompts[share], batch.index[share]
        )
        # Noise hangs on a row's place in its batch, so the same noise is the same responses.
        same = Responses(sampled[share], together.mask[share])
        monkeypatch.setattr(ppo_module, "sample_responses", lambda *_, same=same: same)
        alone = objective.rollout(policy, part, rows[g], step=1)
        for name in ("logps", "ref_logps", "hidden", "scores", "values", "advantages", "returns"):
            torch.testing.assert_close(
                getattr(alone, name), getattr(together, name)[share], atol=1e-4, rtol=1e-4
            )
        torch.testing.assert_close(objective.losses(policy, alone, rows[g]), losses[g], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("weigh", ["advantages", "linear_reward", "tchebycheff_reward"])
def test_a_preference_is_needed_where_it_acts(weigh):
    objective = ppo(weigh=weigh, ideal_point=[0.0, 0.0])
    policy = shake(LoRA(tiny(), 2, seed=0))
    with pytest.raises(UserError, match="preference"):
        objective.losses(policy, objective.rollout(policy, prompts(), None, step=0), None)


def test_an_objective_is_multiplied_with_its_kl_term_and_the_critic_is_not():
    policy = steered()
    plain, scaled = ppo(weigh="surrogates"), ppo(weigh="surrogates", objective_scale=[1.0, 0.125])
    scaled.critic.load_state_dict(plain.critic.state_dict())
    rollout = plain.rollout(policy, prompts(), HALF, step=0)
    again = scaled.rollout(policy, prompts(), HALF, step=0)
    torch.testing.assert_close(again.returns, rollout.returns, rtol=0, atol=0)
    expected = plain.losses(policy, rollout, HALF) * torch.tensor([1.0, 0.125])
    # A power of two leaves no rounding.
    assert torch.equal(scaled.losses(policy, again, HALF), expected)


# What is refused, and when a run has diverged


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weigh": "nothing"}, "allowed are surrogates"),
        ({"weigh": "tchebycheff_reward"}, "ideal_point"),
        ({"scale": [1.0]}, "reward_scale has 1 values for 2"),
        ({"ideal_point": [1.0, 2.0, 3.0]}, "ideal_point has 3 values for 2"),
        ({"objective_scale": [2.0]}, "objective_scale has 1 values for 2"),
        ({"objective_scale": [2.0, 1.0], "weigh": "linear_reward"}, "its objectives are one already"),
    ],
)
def test_refuses_settings_that_cannot_be(options, words):
    with pytest.raises(UserError, match=words):
        ppo(**options)


def test_an_explosion_of_the_kl_says_when_and_what_to_try():
    policy = shake(SVDLoRA(tiny(), 2, 2, seed=0), std=2.0)
    with pytest.raises(Diverged, match=r"step 17: the KL .* smaller ppo.lr or a larger ppo.kl_coeff"):
        ppo(max_kl=0.5).rollout(policy, prompts(), HALF, step=17)


def test_no_finite_kl_stops_a_run_unless_one_is_named(monkeypatch):
    monkeypatch.setattr(
        "lightning_moa.objectives.sampled.kl_estimates", lambda *each: (torch.tensor(5000.0),) * 2
    )
    objective = ppo()
    objective.rollout(steered(), prompts(), HALF, step=0)
    assert float(objective.logs()["kl_k1"]) == 5000


def test_weights_that_are_not_numbers_are_a_divergence():
    policy = steered()
    with torch.no_grad():
        next(iter(policy.layers.values())).lora_B.fill_(float("nan"))
    with pytest.raises(Diverged, match="step 3"):
        ppo().rollout(policy, prompts(), HALF, step=3)


@pytest.mark.parametrize("weigh", ["surrogates", "linear_reward"])
def test_a_critic_that_begins_at_the_first_scores_takes_their_offset_out_of_the_advantages(weigh):
    """Whatever is added to all scores: the same advantages, and the same values beyond what is added."""
    found = []
    for offset in (0.0, -30.0):
        objective = ppo(weigh=weigh, critic_start="scores", gae_lambda=0.9)
        plain = objective.rewards.scores
        objective.rewards.scores = lambda prompts, responses, plain=plain, more=offset: (
            plain(prompts, responses) + more
        )
        rollouts = [objective.rollout(steered(), prompts(6), HALF, step=step) for step in (0, 0, 1)]
        first, again, later = rollouts
        total = objective._scalarised(first.scores, HALF.expand(6, 2)).mean(0)
        torch.testing.assert_close(objective.critic.outer.bias.detach(), total)
        torch.testing.assert_close(first.values, total.expand_as(first.values))
        torch.testing.assert_close(again.advantages, first.advantages)
        found.append((first.advantages, later.advantages))
    for near, far in zip(*found, strict=True):
        torch.testing.assert_close(near, far, atol=1e-4, rtol=1e-4)


def test_a_critic_begins_at_zero_unless_asked_and_keeps_what_it_has_learned():
    objective = ppo()
    objective.rollout(steered(), prompts(), HALF, step=0)
    assert not objective.critic.outer.bias.any()
    objective = ppo(critic_start="scores")
    torch.nn.init.constant_(objective.critic.outer.bias, 0.5)
    objective.rollout(steered(), prompts(), HALF, step=0)
    assert objective.critic.outer.bias.tolist() == [0.5, 0.5]


def test_values_that_are_not_finite_are_a_divergence():
    objective = ppo()
    torch.nn.init.constant_(objective.critic.outer.bias, float("inf"))
    with pytest.raises(Diverged, match=r"step 2: the critic.*critic_lr"):
        objective.rollout(steered(), prompts(), HALF, step=2)


# Whose gradients reach whom


def test_policy_and_critic_are_trained_by_their_own_losses():
    policy, objective = steered(), ppo(critic_m=2)
    learned(objective.critic)
    rollout = objective.rollout(policy, prompts(), HALF, step=0)
    own = list(objective.critic.parameters())
    Linear()(objective.losses(policy, rollout, HALF), HALF).backward()
    assert all(parameter.grad is not None for parameter in policy.trainable_parameters())
    assert all(parameter.grad is None for parameter in own)
    policy.zero_grad(set_to_none=True)
    objective.own_loss(rollout).backward()
    assert all(parameter.grad is not None for parameter in own)
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_the_critics_parameters_are_the_objectives_only_ones():
    objective = ppo()
    assert set(objective.parameters()) == set(objective.critic.parameters())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_moves_adapter_and_critic_and_leaves_the_base(accumulate):
    base = {name: value.clone() for name, value in tiny().state_dict().items()}
    policy, objective = SVDLoRA(tiny(), 2, 2, seed=0), ppo(critic_m=2, update_iters=2)
    method = Panacea(
        policy, objective, Linear(), adam(1e-2), m=2, seed=0, preferences_per_batch=2, accumulate=accumulate
    )
    critic = objective.critic.outer.weight.clone()
    train(method, [prompts(4, seed=seed) for seed in range(4)])
    assert any(layer.gate.sigma.abs().max() > 0 for layer in policy.layers.values())
    assert not torch.equal(objective.critic.outer.weight, critic)
    after = policy.unload().state_dict()
    assert after.keys() == base.keys()
    assert all(torch.equal(after[name], base[name]) for name in base)


def test_an_accumulated_update_is_the_update_of_the_whole_batch(monkeypatch):
    """Two rollouts of half a batch each, two updates on both, against one rollout of the whole."""
    whole = prompts(4)
    fixed = ppo(kl_coeff=0.1).rollout(steered(), whole, HALF, step=0)

    def trained(batches, accumulate):
        policy = steered()
        objective = ppo(kl_coeff=0.1, update_iters=2)
        monkeypatch.setattr(
            objective, "rollout", lambda policy, batch, preference, step: part(fixed, batch.index)
        )
        method = DPS(
            policy, objective, Linear(), adam(1e-2), m=2, seed=0, at=[0.3, 0.7], accumulate=accumulate
        )
        train(method, batches)
        return torch.cat([parameter.detach().flatten() for parameter in policy.trainable_parameters()])

    def part(rollout, rows):
        tensors = {
            name: value[rows]
            for name, value in vars(rollout).items()
            if isinstance(value, torch.Tensor) and name != "preference"
        }
        return replace(rollout, **tensors)

    halves = [
        PromptBatch(whole.input_ids[s], whole.attention_mask[s], whole.prompts[s], whole.index[s])
        for s in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(trained(halves, 2), trained([whole], 1), atol=2e-4, rtol=1e-3)


def test_the_reference_inside_a_rollout_is_the_base_model():
    policy = steered()
    rollout = ppo().rollout(policy, prompts(), HALF, step=0)
    base = Policy(tiny()).requires_grad_(False)
    expected = response_token_logps(base, rollout.input_ids, rollout.attention_mask, rollout.mask, None)
    torch.testing.assert_close(rollout.ref_logps, expected)
