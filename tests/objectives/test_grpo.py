"""GRPO, GDPO's normalisation and RLOO: advantages against TRL's own lines and against arithmetic, losses against
arithmetic, and the exact optimum of one-token answers."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lightning_moa.aggregation import Linear
from lightning_moa.errors import Diverged, UserError
from lightning_moa.methods.dps import DPS
from lightning_moa.objectives import GRPO, RLOO
from lightning_moa.objectives.group_advantages import above_mean, above_others, over_batch, over_deviation
from lightning_moa.objectives.rollout import repeated, response_token_logps
from lightning_moa.objectives.settings import GRPOConfig, RLOOConfig
from lightning_moa.policies import LoRA, SVDLoRA
from lightning_moa.rewards import RuleRewards
from tests.methods.fitting import adam, train
from tests.objectives.rollouts import RULES, Words, prompts
from tests.objectives.test_ppo_fits import of_token, regrets, soft
from tests.policies.models import preferences, shake, tiny

GROUP = 4
REWARDS = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10.0, 0.1])
WEIGHTS = torch.tensor([0.2, 0.3, 0.5])


def trl_branch(name):
    """TRL's own lines that turn `rewards_per_func` into advantages, run on REWARDS."""
    folder = Path(importlib.util.find_spec("trl").submodule_search_locations[0]) / "trainer"
    tree = ast.parse((folder / f"{name}_trainer.py").read_text())
    known = {"torch": torch, "Tensor": torch.Tensor}
    utilities = ast.parse((folder / "utils.py").read_text())
    own = [one for one in utilities.body if getattr(one, "name", "") in ("nanstd", "nanmin", "nanmax")]
    exec(compile(ast.Module(own, []), "utils", "exec"), known)
    return tree, known


def trls_grpo(aggregation, scale="group"):
    tree, known = trl_branch("grpo")
    ifs = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    (branch,) = [one for one in ifs if "'sum_then_normalize'" in ast.unparse(one.test)]
    known |= {
        "self": SimpleNamespace(
            multi_objective_aggregation=aggregation,
            scale_rewards=scale,
            reward_weights=WEIGHTS,
            reward_funcs=[0] * 3,
        ),
        "rewards_per_func": REWARDS.clone(),
        "unscorable_mask": torch.zeros(len(REWARDS), dtype=torch.bool),
        "num_generations": GROUP,
        "device": "cpu",
    }
    exec(compile(ast.Module([branch], []), "grpo", "exec"), known)
    return known["advantages"]


@pytest.mark.parametrize("scale", ["group", "none"])
def test_scalarised_first_the_advantages_are_trls(scale):
    rewards = (REWARDS * WEIGHTS).sum(-1, keepdim=True)
    ours = above_mean(rewards, GROUP)
    ours = over_deviation(ours, rewards, GROUP) if scale == "group" else ours
    torch.testing.assert_close(ours[:, 0], trls_grpo("sum_then_normalize", scale))


def test_normalised_each_by_its_own_group_they_are_trls_of_gdpo():
    each = over_deviation(above_mean(REWARDS, GROUP), REWARDS, GROUP)
    ours = over_batch((each * WEIGHTS).sum(-1, keepdim=True))
    torch.testing.assert_close(ours[:, 0], trls_grpo("normalize_then_sum"))


def test_a_rewards_scale_has_a_say_only_where_it_is_scalarised_first():
    """Objective 1, whose rewards are ten times as large, decides the one order and not the other."""
    each = over_deviation(above_mean(REWARDS, GROUP), REWARDS, GROUP)
    larger = REWARDS * torch.tensor([1.0, 1.0, 1000.0])
    torch.testing.assert_close(
        over_deviation(above_mean(larger, GROUP), larger, GROUP), each, rtol=2e-2, atol=1e-2
    )


def test_rloos_baseline_is_the_mean_of_the_others():
    found = above_others(REWARDS, GROUP)
    for row, reward in enumerate(REWARDS):
        others = [i for i in range(len(REWARDS)) if i // GROUP == row // GROUP and i != row]
        torch.testing.assert_close(found[row], reward - REWARDS[others].mean(0))
    torch.testing.assert_close(found, above_mean(REWARDS, GROUP) * GROUP / (GROUP - 1))


def test_a_group_of_equal_rewards_has_no_advantage():
    even = torch.ones(4, 2)
    assert not over_deviation(above_mean(even, 4), even, 4).any()


def objective(kind=GRPO, m=2, rules=None, **settings):
    config = {GRPO: GRPOConfig, RLOO: RLOOConfig}[kind]
    rules = dict(list(RULES.items())[:m]) if rules is None else rules
    return kind(
        RuleRewards(rules), Words(), config(**{"max_new_tokens": 5, "group": GROUP, **settings}), seed=3
    )


def test_each_prompt_is_answered_by_a_group_whose_noise_differs():
    rollout = objective().rollout(LoRA(tiny(), 2, seed=0), prompts(3), torch.tensor([0.5, 0.5]), 0)
    assert rollout.mask.shape == (12, 5)
    torch.testing.assert_close(rollout.input_ids[:GROUP, :4], prompts(3).input_ids[:1].expand(GROUP, -1))
    assert len({tuple(row.tolist()) for row in rollout.input_ids[:GROUP]}) > 1
    assert repeated(prompts(2), 3).prompts == ["prompt 0"] * 3 + ["prompt 1"] * 3
    torch.testing.assert_close(rollout.advantages.reshape(3, GROUP).sum(1), torch.zeros(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("weigh", "count"), [("linear_reward", 1), ("advantages", 1), ("surrogates", 3)])
@pytest.mark.parametrize("groups", [None, 2])
def test_losses_have_a_row_for_each_preference_and_the_gradient_of_their_advantages(weigh, count, groups):
    policy = shake(SVDLoRA(tiny(), k=2, m=3, seed=0))
    preference = preferences(1, 3)[0] if groups is None else preferences(groups, 3)
    made = objective(m=3, weigh=weigh, kl_coeff=0.0)
    (rollout,) = made.parts(policy, prompts(4), preference, 0)
    losses = made.losses(policy, rollout, preference)
    assert made.count(3) == count
    assert losses.shape == ((count,) if groups is None else (groups, count))
    # On what it has sampled itself the ratio is 1, and the loss the negative mean of what it goes by.
    rows = preference.expand(16, -1) if groups is None else preference.repeat_interleave(8, 0)
    advantages = rollout.advantages[:, 0]
    if weigh == "advantages":
        advantages = over_batch((advantages * rows).sum(-1, keepdim=True))
    wanted = -(advantages.mean(0) if groups is None else advantages.reshape(groups, 8, -1).mean(1))
    torch.testing.assert_close(losses, wanted, atol=1e-5, rtol=0)
    logps = response_token_logps(
        policy, rollout.input_ids, rollout.attention_mask, rollout.mask, rollout.preference
    )
    by_hand = -(advantages[:, :1] * logps.sum(1, keepdim=True) / rollout.mask.sum(1, keepdim=True)).mean()
    parameters = policy.trainable_parameters()
    first = losses.mean(0)[0] if groups else losses[0]
    for one, other in zip(
        torch.autograd.grad(first, parameters), torch.autograd.grad(by_hand, parameters), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_the_kl_in_the_loss_is_k3_a_token_by_hand():
    policy, half = shake(LoRA(tiny(), 2, seed=0)), torch.tensor([0.5, 0.5])
    without, with_kl = (objective(kl_coeff=beta) for beta in (0.0, 0.5))
    rollout = without.rollout(policy, prompts(3), half, 0)
    ratio = (rollout.ref_logps - rollout.logps).masked_fill(~rollout.mask, 0.0)
    k3 = ((ratio.exp() - ratio - 1).sum(1) / rollout.mask.sum(1)).mean()
    assert k3 > 0
    gap = with_kl.losses(policy, rollout, half) - without.losses(policy, rollout, half)
    torch.testing.assert_close(gap, 0.5 * k3[None], atol=1e-5, rtol=1e-4)


def test_rloo_takes_the_whole_kl_from_the_reward_and_one_ratio_for_a_response():
    policy, half = shake(LoRA(tiny(), 2, seed=0)), torch.tensor([0.5, 0.5])
    made = objective(RLOO, kl_coeff=0.2)
    rollout = made.rollout(policy, prompts(3), half, 0)
    reward = rollout.scores @ half - 0.2 * (rollout.logps - rollout.ref_logps).sum(1)
    torch.testing.assert_close(rollout.advantages[:, 0], above_others(reward[:, None], GROUP))
    former = replace(rollout, logps=rollout.logps - 0.03 * rollout.mask)
    ratio = (0.03 * rollout.mask.sum(1)).exp()
    advantage = rollout.advantages[:, 0, 0]
    wanted = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
    torch.testing.assert_close(made.losses(policy, former, half)[0], wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(RLOO, {}), (GRPO, {"scale": "none", "kl_in": "reward", "weigh": "surrogates"})],
)
def test_it_comes_close_to_the_exact_optimum_of_one_token_answers(kind, settings):
    policy, beta, preference = LoRA(soft(), 4, seed=0), 0.3, [0.3, 0.7]
    rules = {"first": of_token(0), "second": of_token(1)}
    made = objective(kind, rules=rules, max_new_tokens=1, group=32, kl_coeff=beta, **settings)
    grid = torch.tensor([preference])
    before = regrets(policy, prompts(4), grid, beta)
    train(DPS(policy, made, Linear(), adam(2e-2), m=2, seed=0, at=preference), [prompts(4)] * 60)
    after = regrets(policy, prompts(4), grid, beta)
    assert after < 0.05 * before


def test_what_is_told_of_held_out_prompts_and_of_rollouts():
    policy = LoRA(tiny(), 2, seed=0)
    made = objective(kl_coeff=0.1, reward_scale={"long": 2.0})
    found = made.measures(policy, prompts(3), torch.tensor([0.5, 0.5]), 0)
    torch.testing.assert_close(
        found["loss"][0], 0.1 * found["kl"][0] - found["score"][0] * torch.tensor([2.0, 1.0])
    )
    made.rollout(policy, prompts(3), torch.tensor([0.5, 0.5]), 0)
    assert {"kl_k1", "kl_k3", "length", "score/long", "score/even"} <= set(made.logs())


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match=r"grpo\.reward_scale: other is no objective"):
        objective(reward_scale={"other": 2.0})
    with pytest.raises(Diverged, match=r"rloo\.max_kl is 1e-09.*smaller rloo\.lr"):
        objective(RLOO, max_kl=1e-9).rollout(shake(LoRA(tiny(), 2, seed=0)), prompts(4), WEIGHTS[:2], 0)


def test_a_prompts_responses_have_one_preference():
    """They are compared with one another."""
    settings = GRPOConfig(group=4, max_new_tokens=3)
    made = GRPO(RuleRewards(dict(list(RULES.items())[:2])), Words(), settings)
    policy, two = SVDLoRA(tiny(), k=2, m=2, seed=0), torch.tensor([[0.4, 0.6], [0.9, 0.1]])
    rollout = made.rollout(policy, prompts(4), two, 0)
    assert rollout.preference[:, 0].tolist() == pytest.approx([0.4] * 8 + [0.9] * 8)
    with pytest.raises(UserError, match="3"):
        made.rollout(policy, prompts(3), two, 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kl_in": "rewards"}, r"grpo\.kl_in=rewards: allowed are"),
        ({"scale": "std"}, r"grpo\.scale=std: allowed are"),
        ({"group": 1}, r"grpo\.group=1: must be at least 2"),
        ({"kl_coeff": -0.1}, r"grpo\.kl_coeff=-0\.1: must be at least 0"),
    ],
)
def test_settings_that_are_given_in_python_are_checked_too(settings, said):
    with pytest.raises(UserError, match=said):
        GRPO(RuleRewards(RULES), Words(), GRPOConfig(**settings))
