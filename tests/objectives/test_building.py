"""Objectives from the settings of a study: each name leads to its class, and every setting reaches it."""

from __future__ import annotations

import json
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightning_moa.answers import load
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.data.scored import ScoredRows
from lightning_moa.data.tables import PairTable
from lightning_moa.errors import UserError
from lightning_moa.objectives import DPO, PPO, Objective, PPOSettings, RewardWeightedLikelihood
from lightning_moa.objectives.held_out import keep_reference
from lightning_moa.objectives.likelihood import LikelihoodInContext
from lightning_moa.objectives.names import OBJECTIVES
from lightning_moa.objectives.settings import DPOConfig, LikelihoodConfig, OnlineConfig, PPOConfig
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.policies import LoRA, RewardPrompt, SVDLoRA
from lightning_moa.policies.settings import HeadsConfig, RiCConfig
from lightning_moa.rewards import RuleRewards
from tests.data.test_scored import RULES, frame, text_of, tokenizer
from tests.objectives.rollouts import RULES as REWARDS
from tests.objectives.rollouts import Words
from tests.policies.models import tiny

__all__ = ["tokenizer"]

NAMES = ("kind", "brief")


class Run(SimpleNamespace):
    """What a training hands to `Objective.build`; it keeps what it was asked for."""

    def __init__(self, name, main, **changes):
        kinds = OBJECTIVES[name].sections
        values = {section: kind() for section, kind in kinds.items()} | changes.pop("sections", {})
        values[next(iter(kinds))] = main
        given = {"objectives": NAMES, "m": 2, "seed": 7, "stage": 0, "at": None, "steps": 10, "processes": 1}
        policy = changes.pop("policy", None) or LoRA(tiny(), 2, seed=0)
        super().__init__(
            **given | {"options": {}, "tokenizer": Words(), "policy": policy} | changes,
            values=values,
            settings=main,
            asked=[],
            sizes=[],
        )

    def section(self, name):
        return self.values[name]

    def rewards(self, batch_size):
        self.sizes.append(batch_size)
        return RuleRewards(dict(zip(self.objectives, list(REWARDS.values()), strict=False)))

    def optimiser(self, settings, updates):
        self.asked.append((settings, updates))
        return lambda parameters: None


# Names


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_says_what_it_is_trained_on_and_asks_for(name):
    kind = load(OBJECTIVES[name].path)
    assert issubclass(kind, Objective)
    assert set(kind.planning) < set(kind.sections)
    online = name in ("ppo", "grpo", "rloo")
    assert kind.view == ("prompts" if online else {"dpo": "pairs", "modpo": "pairs"}.get(name, "sequences"))
    assert kind.needs == (("reference",) if kind.view == "pairs" else ())
    assert kind.scores == (online or name == "modpo")
    assert kind.step_seconds > 0


def test_the_kl_is_weighed_by_what_pulls_to_the_reference():
    assert DPO.kl_weight(DPOConfig(beta=0.3)) == 0.3
    assert PPO.kl_weight(PPOConfig(kl_coeff=0.04)) == 0.04
    assert RewardWeightedLikelihood.kl_weight(LikelihoodConfig()) is None
    assert LikelihoodInContext.kl_weight(LikelihoodConfig()) is None


# DPO


def test_dpos_settings_reach_it():
    made = DPO.build(Run("dpo", DPOConfig(beta=0.3, likelihood=0.2, lr=9.0)))
    assert (made.beta, made.likelihood) == (0.3, 0.2)


class Own(Objective):
    """Built by the form's default: of the fields that it has arguments for, and what the method says."""

    sections = {"own": DPOConfig}  # noqa: RUF012

    def __init__(self, lr, beta=0.1, more=0):
        super().__init__()
        self.given = (lr, beta, more)

    def losses(self, policy, batch, preference):
        raise AssertionError("it is built here, and not trained")


def test_by_default_an_objective_is_built_of_the_fields_that_it_has_arguments_for():
    run = Run("dpo", DPOConfig(lr=0.5, beta=0.3), options={"more": "x"})
    run.values = {"own": run.settings}
    assert Own.build(run).given == (0.5, 0.3, "x")
    run.options = {"beta": 0.9}
    assert Own.build(run).given == (0.5, 0.9, 0)


def test_by_default_an_objective_is_trained_on_the_studys_data_and_plans_no_task():
    run = SimpleNamespace(data="the data")
    assert Own.rows(run) == "the data"
    assert Own.batch_inputs(run) == {}
    assert Own.files(DPOConfig()) == {}
    assert Own.vocabulary(None, NAMES) == []
    assert Own.tasks(None) == {}
    assert Own(0.1).count(3) == 3
    assert list(Own(0.1).parts(None, "batch", None, 0)) == ["batch"]


def test_dpos_batches_have_the_references_log_probs(tmp_path):
    values = np.arange(6.0).reshape(3, 2)
    table = PairTable(["a", "b", "c"], [("d", "e")] * 3, np.zeros((3, 2)), NAMES)
    data = SimpleNamespace(config=SimpleNamespace(name="mine"), table=lambda split: table)
    keep_reference(tmp_path, "train", values, data)
    run = SimpleNamespace(folder=lambda role: tmp_path, data=data)
    (given,) = DPO.batch_inputs(run).items()
    assert given[0] == "ref_logps"
    np.testing.assert_array_equal(given[1], values)
    plan = SimpleNamespace(need=lambda name: f"task of {name}")
    assert DPO.tasks(plan) == {"reference": "task of reference"}
    for rows in (["a", "c", "b"], ["a", "b"], ["ab", "c", ""]):
        table = PairTable(rows, [("d", "e")] * len(rows), np.zeros((len(rows), 2)), NAMES)
        with pytest.raises(UserError, match=r"^mine: its train rows are others than those"):
            DPO.batch_inputs(run)


# PPO


def test_ppos_settings_reach_it():
    settings = PPOConfig(
        kl_coeff=0.11, clip_ratio=0.12, clip_score=13.0, clip_value=14.0, gamma=0.9, gae_lambda=0.8,
        update_iters=3, weigh="advantages", max_kl=15.0, max_new_tokens=9, temperature=0.7, top_p=0.6,
        reward_scale={"brief": 5.0}, objective_scale={"kind": 2.0}, ideal_point=[1.0, 2.0],
    )  # fmt: skip
    made = PPO.build(Run("ppo", settings))
    assert made.settings == PPOSettings(
        **{item.name: getattr(settings, item.name) for item in fields(PPOSettings)}
    )
    assert (made.sampling.max_new_tokens, made.sampling.temperature, made.sampling.top_p) == (9, 0.7, 0.6)
    assert made.scale.tolist() == [1.0, 5.0]
    assert made.objective_scale.tolist() == [2.0, 1.0]
    assert made.ideal_point.tolist() == [1.0, 2.0]
    assert made.seed == 7
    assert made.given is None


def test_ppos_critic_has_an_optimiser_of_its_own_settings_for_every_update():
    settings = PPOConfig(
        lr=1.0, weight_decay=0.5, schedule="cosine", warmup_ratio=0.5, critic_lr=0.2, critic_weight_decay=0.3,
        critic_schedule="linear", critic_warmup_ratio=0.4, update_iters=3, beta1=0.8,
    )  # fmt: skip
    run = Run("ppo", settings, steps=10)
    PPO.build(run)
    ((own, updates),) = run.asked
    assert updates == 30
    assert isinstance(own, OptimiserConfig)
    assert (own.lr, own.weight_decay, own.schedule, own.warmup_ratio) == (0.2, 0.3, "linear", 0.4)
    assert own.beta1 == 0.8, "and else the actor's"
    assert settings.lr == 1.0


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "processes", "size"),
    [(64, 1, 1, 64), (64, 4, 1, 16), (64, 4, 8, 2), (4, 4, 8, 1)],
)
def test_ppo_scores_as_many_responses_at_a_time_as_a_process_samples(batch_size, accumulate, processes, size):
    run = Run("ppo", PPOConfig(batch_size=batch_size, accumulate=accumulate), processes=processes)
    PPO.build(run)
    assert run.sizes == [size]


@pytest.mark.parametrize(
    ("weigh", "outputs"),
    [("surrogates", 2), ("advantages", 2), ("linear_reward", 1), ("tchebycheff_reward", 1)],
)
@pytest.mark.parametrize("m", [0, 2])
def test_ppos_critic_is_as_wide_as_what_it_values_and_knows_what_the_policy_knows(weigh, outputs, m):
    policy = SVDLoRA(tiny(), 2, m, seed=0)
    made = PPO.build(Run("ppo", PPOConfig(weigh=weigh, ideal_point=[0.0, 0.0]), policy=policy))
    hidden = torch.zeros(3, 5, 16)
    values = made.critic(hidden, torch.full((3, 2), 0.5) if m else None)
    assert values.shape == (3, 5, outputs)
    assert made.critic.m == m


def test_ppo_refuses_given_responses_that_nobody_gives():
    def plan(ptx, world, path=None):
        return SimpleNamespace(settings=PPOConfig(ptx=ptx, ptx_path=path), is_world=world)

    with pytest.raises(
        UserError, match=r"ppo.ptx=0.5: ppo.ptx_path=<jsonl of prompt and response> is needed"
    ):
        PPO.check(plan(0.5, False))
    for fine in (plan(0.0, False), plan(0.5, True), plan(0.5, False, "a.jsonl")):
        PPO.check(fine)
    assert PPO.files(PPOConfig(ptx_path="a.jsonl")) == {"ptx_path": "a.jsonl"}


# Likelihood


@pytest.fixture
def rows(tmp_path):
    """A folder of scored rows, as its task leaves it."""
    ScoredRows(frame(), NAMES, RULES).write(tmp_path)
    (tmp_path / "about.json").write_text(json.dumps({"z": 12.5, "low": [0.0, -1.0], "high": [1.0, 3.0]}))
    return tmp_path


def scored(rows, tokenizer=None, at=None, sections=None, **settings):
    config = SyntheticConfig(template=RULES.template, max_length=64, max_response_length=24)
    return Run(
        "likelihood",
        LikelihoodConfig(**settings),
        folder=lambda role: {"rows": rows}[role],
        data=SimpleNamespace(config=config),
        tokenizer=tokenizer,
        at=at,
        sections=sections or {},
    )


def test_likelihoods_settings_reach_it(rows):
    made = RewardWeightedLikelihood.build(scored(rows, power=2.0))
    assert (made.z, made.power, made.directions) == (12.5, 2.0, None)
    assert made.count(2) == 2


@pytest.mark.parametrize(
    ("at", "directions", "expected"),
    [
        ([0.3, 0.7], None, [[0.3, 0.7]]),
        (None, None, [[0, 1], [0.5, 0.5], [1, 0]]),
        (None, 2, [[0, 1], [1, 0]]),
        ([0.3, 0.7], 5, [[0.3, 0.7]]),
    ],
)
def test_scalarised_first_a_policy_has_its_own_direction_and_heads_spread_over_some(
    rows, at, directions, expected
):
    heads = {"heads": HeadsConfig(directions=directions)}
    made = RewardWeightedLikelihood.build(scored(rows, at=at, sections=heads, weigh="scalarise_first"))
    torch.testing.assert_close(made.directions, torch.tensor(expected).float())
    assert made.count(2) == len(expected)


def test_heads_with_a_preference_each_are_not_scalarised_first():
    def plan(weigh, **options):
        return SimpleNamespace(
            settings=LikelihoodConfig(weigh=weigh), options={"method": options}, name="mine"
        )

    with pytest.raises(UserError, match=r"likelihood.weigh=scalarise_first: mine, whose heads each have"):
        RewardWeightedLikelihood.check(plan("scalarise_first", head_preferences=[[1, 0]]))
    RewardWeightedLikelihood.check(plan("scalarise_first"))
    RewardWeightedLikelihood.check(plan("per_objective", head_preferences=[[1, 0]]))


def test_rows_are_read_as_they_are_or_with_their_rewards_in_the_prompts(rows, tokenizer):
    ric = {"ric": RiCConfig(decimals=2)}
    goals = RewardPrompt(NAMES, [0.0, -1.0], [1.0, 3.0], decimals=2)
    run = scored(rows, tokenizer, sections=ric)

    def prompts_of(kind):
        (batch,) = kind.rows(run).batches(tokenizer, 3, limit=3)
        assert batch.rewards.shape == (3, 2)
        asked = [ids[mask & ~response] for ids, mask, response in zip(
            batch.input_ids, batch.attention_mask, batch.response_mask, strict=True
        )]  # fmt: skip
        return [text_of(tokenizer, ids) for ids in asked]

    first = [row for _, row in frame().head(3).iterrows()]
    assert prompts_of(RewardWeightedLikelihood) == [
        RULES.template.format(prompt=row["prompt"]) for row in first
    ]
    asked = [goals.insert(row["prompt"], [row["reward_kind"], row["reward_brief"]]) for row in first]
    assert prompts_of(LikelihoodInContext) == [RULES.template.format(prompt=text) for text in asked]
    assert RewardWeightedLikelihood.rewrite(run) is None
    assert (LikelihoodInContext.in_prompt, RewardWeightedLikelihood.in_prompt) == (True, False)


def test_the_words_of_rewards_are_in_every_tokenizer_that_is_made_for_such_a_study():
    ric = RiCConfig(decimals=1)
    sections = {"ric": ric, "online": OnlineConfig()}
    for kind in (RewardWeightedLikelihood, LikelihoodInContext):
        words = kind.vocabulary(sections.__getitem__, NAMES)
        assert words == ["<r1>", "<r2>", *(f"{i / 10:.1f}" for i in range(11))]
    assert DPO.vocabulary(sections.__getitem__, NAMES) == []
