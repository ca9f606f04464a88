"""A `Trainer` of one's own: rewards that fit the objectives, settings given in Python, and what a checkpoint holds."""

from __future__ import annotations

import pandas as pd
import pytest

import lightning_moa as moa
from lightning_moa.errors import UserError
from lightning_moa.objectives.likelihood import LikelihoodInContext
from lightning_moa.objectives.settings import GRPOConfig
from tests.methods.test_own_trainer import SMALL, data_of, model_of, trainer_of


def rewards_of(data, *names):
    gold = data.source.gold_rewards()
    return moa.RuleRewards({name: gold.get(name, gold["helpful"]) for name in names})


@pytest.mark.parametrize("kind", ["ppo", "modpo"])
def test_rewards_of_other_objectives_or_in_another_order_are_refused(tmp_path, kind):
    data = data_of()
    assert data.objectives == ("helpful", "harmless")

    def fit(*names):
        policy = moa.LoRA(model_of(data), rank=2, seed=0)
        rewards = rewards_of(data, *names)
        made = (
            moa.PPO.of(policy, rewards, data.tokenizer, max_new_tokens=4, weigh="linear_reward")
            if kind == "ppo"
            else moa.MODPO(0.1, rewards=rewards)
        )
        trainer_of(tmp_path, max_steps=1, limit_val_batches=0).fit(
            moa.DPS(policy, made, at=[0.5, 0.5], m=2), data
        )

    fit("helpful", "harmless")
    with pytest.raises(
        UserError, match="the rewards score harmless, helpful, and the objectives are helpful, harm"
    ):
        fit("harmless", "helpful")
    for names in (("helpful",), ("helpful", "harmless", "third")):
        with pytest.raises(UserError, match=rf"DPS has 2 objectives, its rewards {len(names)}: helpful"):
            fit(*names)


@pytest.mark.parametrize("kind", ["ppo", "grpo", "modpo"])
def test_rewards_may_be_functions_by_objective(tmp_path, kind):
    data = data_of()
    policy = moa.LoRA(model_of(data), rank=2, seed=0)
    rewards = {name: lambda prompts, responses: [len(text) for text in responses] for name in data.objectives}
    if kind == "ppo":
        made = moa.PPO.of(policy, rewards, data.tokenizer, max_new_tokens=4, weigh="linear_reward")
    elif kind == "grpo":
        made = moa.GRPO(rewards, data.tokenizer, GRPOConfig(max_new_tokens=4, group=2, weigh="linear_reward"))
    else:
        made = moa.MODPO(0.1, rewards=rewards)
    trainer = trainer_of(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(moa.DPS(policy, made, at=[0.5, 0.5], m=2), data)
    assert trainer.global_step == 1


def test_ppos_own_settings_are_asked_for_by_name(tmp_path):
    data = data_of()
    policy = moa.LoRA(model_of(data), rank=2, seed=0)
    for settings, said in (
        ({"kl_coef": 0.1}, r"^PPO\.of: kl_coef is no setting; allowed are kl_coeff"),
        ({"kl_coeff": -0.1}, r"^PPO\.of: kl_coeff=-0\.1: must be at least 0"),
    ):
        with pytest.raises(UserError, match=said):
            moa.PPO.of(policy, rewards_of(data, "helpful"), data.tokenizer, **settings)


def test_rewards_in_prompts_need_a_study(tmp_path):
    data = data_of()
    method = moa.RiC(moa.LoRA(model_of(data), rank=2, seed=0), LikelihoodInContext(), m=2)
    with pytest.raises(
        UserError, match=r"^LikelihoodInContext: its prompts must hold rewards, which a study"
    ):
        trainer_of(tmp_path).fit(method, data)


def test_z_is_of_the_rows_that_are_trained_on_and_in_the_checkpoint(tmp_path):
    objective = moa.RewardWeightedLikelihood(z_factor=2.0)

    def ham(data, objective):
        policy = moa.Heads(model_of(data), heads=2, rank=2, jitter=0.5, seed=0)
        return moa.HaM(policy, objective, objectives=data.objectives)

    found = []
    for rows in (48, 16):
        data = data_of(options={**SMALL, "sft_rows": rows})
        for made in (objective, moa.RewardWeightedLikelihood(z_factor=2.0)):
            trainer = trainer_of(tmp_path, max_steps=1, limit_val_batches=0)
            trainer.fit(ham(data, made), data)
            found.append(made.z)
    assert found[0] == found[1] != found[2] == found[3]
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    fresh = moa.RewardWeightedLikelihood(z_factor=2.0)
    trainer_of(tmp_path).validate(ham(data, fresh), data, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert fresh.z == made.z


def test_a_watch_that_the_checkpoint_did_not_have_begins_there(tmp_path):
    data = data_of()

    def gapo():
        policy = moa.LoRA(model_of(data), rank=2, seed=0)
        return moa.GAPO(policy, moa.DPO(beta=0.1), objectives=data.objectives, lr=0.01)

    trainer = trainer_of(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(gapo(), data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    watch = moa.WatchGradients(tmp_path / "gradients.csv", every=1)
    trainer_of(tmp_path, watch, max_steps=3, limit_val_batches=0).fit(
        gapo(), data, ckpt_path=tmp_path / "last.ckpt"
    )
    assert len(pd.read_csv(tmp_path / "gradients.csv")) > 0
