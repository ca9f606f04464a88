"""Methods of several objectives in one study: one base for all, and for each what its objective needs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lightning_moa.config import parse
from lightning_moa.errors import UserError
from lightning_moa.methods.products import PANACEA_LS_DPO, PANACEA_PPO, ham
from lightning_moa.methods.sections import all_sections
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.collect import collect
from lightning_moa.study.execute import execute
from lightning_moa.study.planning import REFERENCE, plan_study
from lightning_moa.study.tasks import in_order
from tests.conftest import REPOSITORY

METHODS = {"by_dpo": PANACEA_LS_DPO, "by_ppo": PANACEA_PPO, "ham": ham(2)}
CONFIG = REPOSITORY / "experiments" / "panacea" / "config" / "dpo"
SMALL = (
    *(
        "scale=smoke",
        "seeds=[0]",
        "code_in_key=false",
        "data.pairs=40",
        "data.eval_pairs=24",
        "data.sft_rows=300",
    ),
    *(
        "sft.steps=4",
        "reward_model.steps=2",
        "dpo.steps=2",
        "ppo.steps=1",
        "ppo.batch_size=8",
        "ppo.max_new_tokens=4",
    ),
    *("likelihood.steps=2", "likelihood.rows=60", "likelihood.batch_size=8", "online.rounds=0"),
    # Heads stand in the place of the output head, which this configuration would adapt.
    "methods.ham.settings.adapter.targets=all-linear",
    *("evaluation.prompts=6", "evaluation.grid_step=1", "evaluation.max_new_tokens=4"),
)


def settings(*words):
    return parse(schema_of(METHODS), [*SMALL, *words], CONFIG, METHODS, all_sections())


def planned(*words):
    return plan_study(settings("exact_beta=0.5", *words), METHODS)


def needs(task):
    return {role for role in task.needs if not role.startswith("policy")}


def test_one_base_and_for_each_method_what_its_objective_needs():
    plan = planned()
    tasks = in_order(plan.targets())
    functions = [task.function.rpartition(":")[2] for task in tasks]
    counts = {name: functions.count(name) for name in set(functions)}
    assert counts == {
        **{"base": 1, "reference": 1, "reward_model": 1, "offline_rows": 1},
        **{"align": 3, "evaluate": 4, "exact": 1},
    }
    seed = plan.seeds[0]
    trained = {name: needs(policies[0]) for name, policies in seed.policies.items()}
    # The world's own rewards are learnt from; the trained ones are measured by.
    assert trained == {"by_dpo": {"base", "reference"}, "by_ppo": {"base"}, "ham": {"base", "rows"}}
    measured = {name: needs(task) for name, task in seed.evaluations.items()}
    assert measured == {
        "by_dpo": {"base", "reference", "rewards"},
        "by_ppo": {"base", "rewards"},
        "ham": {"base", "rows", "rewards"},
        REFERENCE: {"base", "rewards"},
    }
    trained = planned("ppo.reward=trained", "likelihood.reward=trained").seeds[0]
    assert needs(trained.policies["by_ppo"][0]) == {"base", "rewards"}
    assert "rewards" in trained.policies["ham"][0].needs["rows"].needs


def test_a_setting_of_one_objective_leaves_the_others_runs_as_they_are():
    def keys(*words):
        return {name: tasks[0].key for name, tasks in planned(*words).seeds[0].policies.items()}

    before = keys()
    for word, changes in (
        ("dpo.beta=0.7", {"by_dpo"}),
        ("ppo.kl_coeff=0.7", {"by_ppo"}),
        ("likelihood.power=2", {"ham"}),
        ("heads.rank=3", {"ham"}),
        ("online.kept=3", set()),
        ("methods.by_ppo.steps=3", {"by_ppo"}),
        ("methods.by_dpo.settings.adapter.rank=3", {"by_dpo"}),
    ):
        after = keys(word)
        assert {name for name in before if before[name] != after[name]} == changes, word


def test_alone_or_together_a_method_is_the_same_run():
    """But for the words that RiC's prompts would need: a base that knows them is another base."""
    together = planned().seeds[0]
    for name, product in METHODS.items():
        alone = {name: product}
        schema = schema_of(alone)
        told = [word for word in SMALL if is_about(schema, alone, word)]
        config = parse(schema, [*told, "exact_beta=0.5"], CONFIG, alone, all_sections())
        (task,) = plan_study(config, alone).seeds[0].policies[name]
        (other,) = together.policies[name]
        assert {**task.spec, "tokens": other.spec["tokens"]} == other.spec
        assert set(task.needs) == set(other.needs)


def is_about(schema, methods, word):
    """Whether a word tells such a study anything."""
    section, _, rest = word.partition("=")[0].partition(".")
    return rest.split(".")[0] in methods if section == "methods" else hasattr(schema(), section)


def test_which_exact_front_is_shown_must_be_said_where_the_weights_of_the_kl_differ():
    with pytest.raises(
        UserError, match=r"^exact_beta: the methods are trained under .*by_dpo 0\.3, by_ppo 0\.2"
    ):
        plan_study(settings("dpo.beta=0.3", "ppo.kl_coeff=0.2"), METHODS)
    equal = plan_study(settings("dpo.beta=0.3", "ppo.kl_coeff=0.3"), METHODS)
    said = plan_study(settings("dpo.beta=0.3", "ppo.kl_coeff=0.2", "exact_beta=0.2"), METHODS)
    assert (equal.exact.spec["beta"], said.exact.spec["beta"]) == (0.3, 0.2)


def test_what_is_measured_is_scored_by_one_thing():
    function = f"{__name__}:scored"
    words = (f"ppo.rewards.helpful='{function}'", "likelihood.rewards.helpful=trained")
    with pytest.raises(UserError, match=r"another method of this study scores helpful by something else"):
        planned(*words)
    agreed = planned(words[0], f"likelihood.rewards.helpful='{function}'")
    assert agreed.rewards == {"helpful": function, "harmless": "a model trained on the pairs"}


def scored(prompts, responses):
    return [float(len(response)) for response in responses]


def test_it_runs(tmp_path):
    plan = planned()
    execute(plan.targets(), tmp_path, workers=1, fresh=False, console=Console(file=io.StringIO()))
    collected = collect(plan, tmp_path)
    points = collected.points
    assert points.groupby("method").size().to_dict() == {"by_dpo": 2, "by_ppo": 2, "ham": 2, REFERENCE: 1}
    for name in plan.objectives:
        assert points[[f"gold_{name}", f"reward_{name}"]].notna().all(axis=None)
    assert set(collected.accuracies["method"]) == {"by_dpo"}
    assert points.set_index("method").loc[["by_dpo", "by_ppo", "ham"], "step"].tolist() == [2, 2, 1, 1, 2, 2]
    assert collected.exact.beta == 0.5
    assert set(collected.responses["method"]) == {*METHODS, REFERENCE}
