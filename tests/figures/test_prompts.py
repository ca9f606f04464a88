"""Sets of prompts: what they inherit, what is refused, and that policies are shared while measurements are not."""

from __future__ import annotations

import pytest

from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import HHRLHFConfig, PKUSafeRLHFConfig, SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.prompts import prompt_sets
from lightning_moa.methods.products import GAPO_P1_PPO, LINEAR_PPO, SAFE_RLHF_PPO
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study

METHODS = {"linear": LINEAR_PPO, "gapo": GAPO_P1_PPO, "safe": SAFE_RLHF_PPO}


def config(sets=None, **changes) -> StudyConfig:
    made = schema_of(METHODS)(**{"data": SyntheticConfig(max_length=30), "seeds": [0]} | changes)
    made.evaluation.prompt_sets = sets
    return made


def test_without_sets_the_studys_own_data_is_the_only_one():
    made = config()
    assert prompt_sets(made) == {"synthetic": made.data}


def test_a_set_differs_in_the_keys_that_it_gives():
    sets = prompt_sets(config({"risky": {"risky_share": 0.875}, "mixed": {}}))
    assert list(sets) == ["risky", "mixed"]
    assert sets["risky"] == SyntheticConfig(max_length=30, risky_share=0.875)
    assert sets["mixed"] == SyntheticConfig(max_length=30)


def test_a_set_of_another_data_set_starts_from_that_ones_defaults():
    made = config({"hh": {"name": "hh_rlhf", "limit": 5}}, data=PKUSafeRLHFConfig(max_length=300))
    assert prompt_sets(made) == {"hh": HHRLHFConfig(limit=5)}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": "nowhere"}, r"prompt_sets.x.name=nowhere: allowed are answers, beavertails"),
        ({"risk": 1}, r"prompt_sets.x: Key 'risk' not in 'SyntheticConfig'"),
        ({"risky_share": "much"}, r"prompt_sets.x: Value 'much'"),
        ({"risky_share": 2.0}, r"data.risky_share=2.0: must be at most 1"),
    ],
)
def test_what_is_no_set_of_prompts_is_refused(keys, message):
    with pytest.raises(UserError, match=message):
        prompt_sets(config({"x": keys}))


def test_policies_are_shared_by_all_sets_and_measured_on_each():
    made = config({"risky": {"risky_share": 0.875}, "mixed": {}})
    plans = [plan_study(made, METHODS, data) for data in prompt_sets(made).values()]
    for name in METHODS:
        assert len({plan.seeds[0].policies[name][0].key for plan in plans}) == 1
        assert len({plan.seeds[0].evaluations[name].key for plan in plans}) == 2
    assert len({plan.exact.key for plan in plans}) == 2


def test_gradient_based_products_say_what_they_probe():
    made = config()
    made.probe = "all"
    specs = {name: tasks[0].spec for name, tasks in plan_study(made, METHODS).seeds[0].policies.items()}
    assert {name: spec["probe"] for name, spec in specs.items()} == {
        "linear": None,
        "gapo": "all",
        "safe": None,
    }
    assert specs["gapo"]["options"]["aggregation"] == {"p": 1.0}
    assert specs["gapo"]["settings"]["weigh"] == "surrogates"
    assert specs["safe"]["settings"]["weigh"] == "advantages"
    assert specs["safe"]["sections"]["lagrangian"]["largest"] == 5.0
    assert all("lagrangian" not in specs[name]["sections"] for name in ("linear", "gapo"))
    assert specs["linear"]["settings"]["weigh"] == made.ppo.weigh
