"""What PPO maximises: settled when a study is planned, the same in training and in measuring."""

from dataclasses import replace

import pytest

from lightning_moa.data.configs import PairsConfig, SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import PANACEA_PPO
from lightning_moa.objectives.settings import PPOConfig
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study

METHODS = {"panacea": PANACEA_PPO}
TEXT = PairsConfig(labels={"good": "g", "kind": "k"})


@pytest.fixture(autouse=True, scope="module")
def rows(tmp_path_factory):
    line = '{"prompt": "p%d", "response_0": "a", "response_1": "b", "g": 0, "k": 1}\n'
    path = tmp_path_factory.mktemp("rows") / "pairs.jsonl"
    path.write_text("".join(line % i for i in range(30)))
    TEXT.path = str(path)


def planned(data, **ppo):
    config = schema_of(METHODS)(seeds=[0], data=data, ppo=PPOConfig(steps=1, **ppo))
    config.evaluation.trained_rewards = False
    return config, plan_study(config, METHODS).seeds[0]


def test_auto_is_gold_where_there_is_one():
    config, seed = planned(SyntheticConfig())
    assert config.ppo.reward == "gold"
    assert "rewards" not in seed.policies["panacea"][0].needs
    assert "rewards" not in seed.evaluations["panacea"].needs


def test_auto_is_trained_where_there_is_none():
    config, seed = planned(TEXT)
    assert config.ppo.reward == "trained"
    policy, measured = seed.policies["panacea"][0], seed.evaluations["panacea"]
    assert policy.needs["rewards"].key == measured.needs["rewards"].key


def test_scoring_by_trained_models_does_not_change_a_policy_trained_on_gold():
    _, seed = planned(SyntheticConfig())
    config = schema_of(METHODS)(seeds=[0], data=SyntheticConfig(), ppo=PPOConfig(steps=1))
    assert config.evaluation.trained_rewards
    other = plan_study(config, METHODS).seeds[0]
    assert other.policies["panacea"][0].key == seed.policies["panacea"][0].key
    assert "rewards" in other.evaluations["panacea"].needs


@pytest.mark.parametrize(
    ("data", "settings", "said"),
    [
        (
            TEXT,
            {"reward": "gold"},
            "ppo.reward=gold: data=pairs has no gold rewards; allowed is trained, or a source for each objective",
        ),
        (TEXT, {"rewards": {"good": "gold"}}, r"ppo\.rewards\.good=gold: the data has no gold rewards"),
        (
            TEXT,
            {"rewards": {"bad": "trained"}},
            r"ppo\.rewards\.bad=trained: the study's objectives are good, kind",
        ),
        (TEXT, {"rewards": {"good": "hub"}}, r"ppo\.rewards\.good=hub: the table has no such model"),
    ],
)
def test_rewards_that_nothing_gives_are_refused(data, settings, said):
    with pytest.raises(UserError, match=said):
        planned(replace(data), **settings)


def test_ptx_on_pairs_needs_rows_of_its_own():
    with pytest.raises(UserError, match=r"ppo\.ptx_path"):
        planned(TEXT, ptx=16.0)
    planned(SyntheticConfig(), ptx=16.0)
