"""From a configuration to tasks: how many, what they need, and what makes them other tasks."""

import json
import sys
from dataclasses import replace

import pytest

from lightning_moa.answers import use
from lightning_moa.config import MethodConfig, StudyConfig, parse
from lightning_moa.data.base import RowData
from lightning_moa.data.configs import (
    AnswersConfig,
    BeaverTailsConfig,
    PairsConfig,
    PromptsConfig,
    SyntheticConfig,
    SyntheticSummariesConfig,
)
from lightning_moa.data.files import read_local, texts
from lightning_moa.data.registry import data_entry
from lightning_moa.errors import UserError
from lightning_moa.methods.products import (
    DPS_DPO,
    LINEAR_PPO,
    PANACEA_LS_DPO,
    PANACEA_TCHE_DPO,
    REWARDED_SOUPS_DPO,
)
from lightning_moa.policies import build_model
from lightning_moa.study import planning, tasks
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import REFERENCE, plan_study
from lightning_moa.study.tasks import in_order

METHODS = {
    "ls": PANACEA_LS_DPO,
    "tche": PANACEA_TCHE_DPO,
    "soups": REWARDED_SOUPS_DPO,
    "dps": DPS_DPO,
}


DPOStudyConfig = schema_of(METHODS)


def config(**changes) -> StudyConfig:
    made = DPOStudyConfig(data=SyntheticConfig(), seeds=[0], **changes)
    made.evaluation.grid_step = 0.25
    return made


def keys(made) -> set[str]:
    return {task.key for task in in_order(plan_study(made, METHODS).targets())}


@pytest.mark.parametrize(
    ("objectives", "grid"), [(["helpful", "harmless"], 5), (["helpful", "harmless", "concise"], 15)]
)
def test_the_policies_of_each_method(objectives, grid):
    plan = plan_study(config(objectives=objectives), METHODS)
    m = len(objectives)
    policies = {name: len(tasks) for name, tasks in plan.seeds[0].policies.items()}
    assert policies == {"ls": 1, "tche": 1, "soups": m, "dps": grid}
    assert set(plan.seeds[0].evaluations) == {*METHODS, REFERENCE}
    assert [task.spec["at"] for task in plan.seeds[0].policies["soups"]] == [
        [float(i == j) for j in range(m)] for i in range(m)
    ]
    for name, evaluation in plan.seeds[0].evaluations.items():
        members = [task for role, task in sorted(evaluation.needs.items()) if role.startswith("policy")]
        assert members == plan.seeds[0].policies.get(name, [])
        assert len(evaluation.spec["grid"]) == grid


def test_one_reference_policy_and_reward_model_serve_all_methods():
    tasks = in_order(plan_study(config(), METHODS).targets())
    functions = [task.function.rpartition(":")[2] for task in tasks]
    counts = {name: functions.count(name) for name in set(functions)}
    assert counts == {"base": 1, "reference": 1, "reward_model": 1, "align": 9, "evaluate": 5, "exact": 1}


def test_seeds_share_nothing_but_the_exact_front():
    one, two = keys(config()), keys(replace(config(), seeds=[1]))
    assert {key.partition("-")[0] for key in one & two} == {"exact"}
    assert keys(replace(config(), seeds=[0, 1])) == one | two


def test_where_and_how_it_runs_changes_no_key():
    other = replace(config(), scale="smoke", results_dir="a", runs_dir="b", fresh=True, workers=7)
    assert keys(other) == keys(config())


def test_a_setting_changes_what_hangs_on_it_and_nothing_else():
    changed = config()
    changed.dpo.lr = 0.5
    gone = {key.partition("-")[0] for key in keys(config()) - keys(changed)}
    assert gone == {"align", "evaluate"}
    changed = config()
    changed.sft.lr = 0.5
    gone = {key.partition("-")[0] for key in keys(config()) - keys(changed)}
    assert gone == {"base", "reference", "reward_model", "align", "evaluate"}
    changed = config()
    changed.evaluation.prompts = 7
    gone = {key.partition("-")[0] for key in keys(config()) - keys(changed)}
    assert gone == {"evaluate"}


def test_a_method_may_have_steps_of_its_own():
    plan = plan_study(config(methods={"ls": MethodConfig(steps=9)}), METHODS)
    steps = {
        name: [task.spec["settings"]["steps"] for task in tasks]
        for name, tasks in plan.seeds[0].policies.items()
    }
    assert steps == {"ls": [9], "tche": [None], "soups": [None] * 2, "dps": [None] * 5}


def test_other_rows_in_the_same_file_are_other_runs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"p{i}", "response_0": "a", "response_1": "b", "a": i % 2, "b": 1} for i in range(30)]

    def made():
        made = DPOStudyConfig(data=PairsConfig(path=str(path), labels={"a": "a", "b": "b"}), seeds=[0])
        return keys(made)

    path.write_text("\n".join(map(json.dumps, rows)))
    first = made()
    assert made() == first
    path.write_text("\n".join(map(json.dumps, rows[1:])))
    assert not made() & first


def test_a_mistake_in_the_rows_or_the_base_is_found_before_anything_runs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"p{i}", "response_0": "a", "response_1": "b", "a": i % 2, "b": "left"} for i in range(30)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    made = DPOStudyConfig(data=PairsConfig(path=str(path), labels={"a": "a", "b": "b"}), seeds=[0])
    with pytest.raises(UserError, match=r"pairs.jsonl, row 1, column 'b': allowed are 0, 1"):
        plan_study(made, METHODS)
    path.write_text("\n".join([json.dumps(rows[0]), '{"prompt": "p1", "resp']))
    with pytest.raises(UserError, match=r"pairs.jsonl, line 2: not valid JSON"):
        plan_study(made, METHODS)
    made = DPOStudyConfig(data=SyntheticConfig(), seeds=[0])
    made.model.path = str(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 7}')
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 7}]}')
    with pytest.raises(
        UserError, match=r"model.path=.*: its tokenizer has ids up to 7, its embedding only 7 rows"
    ):
        plan_study(made, METHODS)


def test_an_objective_without_a_label_is_named_with_those_that_have_one():
    made = DPOStudyConfig(data=PairsConfig(path="x", labels={"a": "a", "b": "b"}), objectives=["a", "c"])
    with pytest.raises(
        UserError, match=r"objective 'c' has no entry in data.labels, which names a, b: give data.lab"
    ):
        plan_study(made, METHODS)


def test_what_would_score_no_response_is_found_before_anything_runs(tmp_path):
    made = DPOStudyConfig(data=PairsConfig(path=str(tmp_path), labels={"a": "a", "b": "b"}))
    made.evaluation.trained_rewards = False
    with pytest.raises(UserError, match=r"evaluation.trained_rewards=false: data=pairs has no gold rewards"):
        plan_study(made, METHODS)


def test_layers_that_a_model_at_hand_does_not_have_are_found_before_anything_runs(tmp_path):
    made = config()
    made.adapter.targets = "[q_proj,gate]"
    plan_study(made, METHODS)
    made.adapter.targets = "nothing"
    with pytest.raises(UserError, match="no linear layer's name of LlamaForCausalLM contains 'nothing'"):
        plan_study(made, METHODS)
    build_model("opt", vocab_size=8).save_pretrained(tmp_path)
    made.model.path = str(tmp_path)
    made.adapter.targets = "[q_proj,gate]"
    with pytest.raises(UserError, match="no linear layer's name of OPTForCausalLM contains 'gate'"):
        plan_study(made, METHODS)


def test_what_no_run_can_be_made_of_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"methods\.other: this figure's methods are ls, tche, soups, dps"):
        plan_study(config(methods={"other": MethodConfig()}), METHODS)
    with pytest.raises(
        UserError, match=r"data=beavertails has 1 labelled objectives \(harmless\): two or more"
    ):
        plan_study(DPOStudyConfig(data=BeaverTailsConfig()), METHODS)
    uneven = config()
    uneven.evaluation.grid_step = 0.3
    with pytest.raises(UserError, match=r"step is 0\.3, allowed are steps that divide 1"):
        plan_study(uneven, METHODS)
    with pytest.raises(UserError, match=r"data\.path=.*missing: missing cannot be read"):
        plan_study(
            DPOStudyConfig(data=PairsConfig(path=str(tmp_path / "missing"), labels={"a": "a", "b": "b"})),
            METHODS,
        )


def test_own_classes_are_part_of_a_policy_s_key(tmp_path, monkeypatch):
    module = tmp_path / "my_method.py"
    module.write_text("class Worst:\n    def __call__(self, losses, preference, parameters=()): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    worst = {"worst": replace(DPS_DPO, aggregation="my_method:Worst")}

    def found() -> set[str]:
        tasks._digests.cache_clear()
        return {task.key for task in plan_study(config(), worst).seeds[0].policies["worst"]}

    before = found()
    assert found() == before
    with module.open("a") as file:
        file.write("    x = 1\n")
    assert not found() & before


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Worst: ...", r"aggregation=my_answer:Worst: not an answer .*it has no __call__"),
        ("Worst = 1", r"aggregation=my_answer:Worst: not an answer .*it is no class"),
    ],
)
def test_what_is_no_answer_is_named(tmp_path, monkeypatch, source, said):
    (tmp_path / "my_answer.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_answer", raising=False)
    with pytest.raises(UserError, match=said):
        plan_study(config(), {"worst": replace(DPS_DPO, aggregation="my_answer:Worst")})


def test_a_class_that_is_nowhere_is_named():
    with pytest.raises(UserError, match="no_such_module"):
        plan_study(config(), {"worst": replace(DPS_DPO, aggregation="no_such_module:Worst")})


def test_the_world_of_summaries_has_objectives_gold_rewards_and_exact_optima_of_its_own():
    methods = {"linear": LINEAR_PPO}
    made = schema_of(methods)(data=SyntheticSummariesConfig(), seeds=[0])
    plan = plan_study(made, methods)
    assert plan.objectives == ("faithful", "hallucination")
    assert made.ppo.reward == "gold"
    assert plan.exact is not None
    assert plan.exact.spec["data"]["name"] == "synthetic_summaries"


def test_what_scores_a_methods_responses_may_be_said_of_it_alone():
    """Of the first, of a later one, and of none: the study's own value is the others', and is what is recorded."""
    trained = replace(LINEAR_PPO, objective=use(LINEAR_PPO.objective, reward="trained"))
    methods = {"first": trained, "second": LINEAR_PPO, "third": trained}
    made = schema_of(methods)(data=SyntheticConfig(), seeds=[0])
    made.ppo.reward = "gold"
    plan = plan_study(made, methods)
    kinds = {
        name: {source["kind"] for task in tasks for source in task.spec["rewards"].values()}
        for name, tasks in plan.seeds[0].policies.items()
    }
    assert kinds == {"first": {"trained"}, "second": {"gold"}, "third": {"trained"}}
    assert ["rewards" in tasks[0].needs for tasks in plan.seeds[0].policies.values()] == [True, False, True]
    assert made.ppo.reward == "gold"


def test_prompts_alone_serve_methods_that_sample_and_no_others(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"prompt": f"q{i}"}) + "\n" for i in range(40)))
    methods = {"ppo": LINEAR_PPO}
    made = schema_of(methods)(
        data=PromptsConfig(path=str(tmp_path)), objectives=["words", "brief"], seeds=[0]
    )
    made.evaluation.grid_step = 0.5
    with pytest.raises(UserError, match=r"model\.path is empty: .* has prompts alone"):
        plan_study(made, methods)
    made.model.path = "hub/model"
    with pytest.raises(
        UserError, match="'words': its reward model would be trained on pairs or scores, and data=prompts has"
    ):
        plan_study(made, methods)
    made.evaluation.trained_rewards = False
    made.ppo.rewards = dict.fromkeys(("words", "brief"), "operator:add")
    functions = {task.function.rpartition(":")[2] for task in in_order(plan_study(made, methods).targets())}
    assert "reward_model" not in functions
    other = DPOStudyConfig(data=made.data, objectives=made.objectives, seeds=[0])
    with pytest.raises(UserError, match="ls is trained on pairs, and data=prompts has prompts alone"):
        plan_study(other, METHODS)


def test_single_responses_with_scores_serve_all_but_pairs(tmp_path):
    rows = [{"prompt": f"q{i}", "response": "a", "x": i, "y": -i} for i in range(40)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = AnswersConfig(path=str(tmp_path), labels={"x": "x", "y": "y"})
    with pytest.raises(UserError, match="ls is trained on pairs, and data=answers has sequences and prompts"):
        plan_study(DPOStudyConfig(data=data, seeds=[0]), METHODS)
    methods = {"ppo": LINEAR_PPO}
    plan = plan_study(schema_of(methods)(data=data, seeds=[0]), methods)
    assert plan.rewards == dict.fromkeys(("x", "y"), "a model trained on the rows' scores")
    (model,) = [task for task in in_order(plan.targets()) if task.function.endswith(":reward_model")]
    assert model.spec["learns"] == "sequences"
    with pytest.raises(UserError, match="data=answers has 0 labelled objectives"):
        plan_study(schema_of(methods)(data=AnswersConfig(path=str(tmp_path)), seeds=[0]), methods)


def test_a_chat_template_that_is_not_there_is_named_while_planning(tmp_path):
    made = DPOStudyConfig(data=SyntheticConfig(template="chat"), seeds=[0])
    with pytest.raises(
        UserError, match=r"data\.template=chat: a model that is made here .* give model\.path"
    ):
        plan_study(made, METHODS)
    made.model.path = str(tmp_path)
    with pytest.raises(UserError, match=r"the tokenizer in model\.path=.* has no chat template"):
        plan_study(made, METHODS)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    plan_study(made, METHODS)


def test_a_base_that_is_nowhere_on_this_machine_is_found_before_anything_runs():
    for path in ("/no/such/model", "./no/such", "~/no/such"):
        made = config()
        made.model.path = path
        with pytest.raises(UserError, match=rf"^model.path={path}: no such folder$"):
            plan_study(made, METHODS)


PUBLISHED = (
    *("hh_rlhf", "pku_saferlhf", "summarize_from_feedback", "helpsteer2", "helpsteer3", "ultrafeedback"),
    f"{__name__}:Lines",
)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "p1", "resp', "line 1: not valid JSON"),
        ('{"question": "a"}\n', "(no column|has no|lacks) .*question|has no column"),
    ],
)
def test_a_mistake_in_a_copy_of_a_published_set_or_an_own_one_is_found_before_anything_runs(
    tmp_path, name, text, said
):
    (tmp_path / "train.jsonl").write_text(text)
    (tmp_path / "test.jsonl").write_text(text)
    made = DPOStudyConfig(data=data_entry(name).config(name=name, path=str(tmp_path)), seeds=[0])
    made.data.labels = made.data.labels or {"a": "a", "b": "b"}
    with pytest.raises(UserError, match=said):
        plan_study(made, METHODS)


class Lines(RowData):
    """A data set of one's own."""

    def rows(self):
        for frame in read_local(self.config.path).values():
            for prompt, first in zip(texts(frame, "prompt"), texts(frame, "response"), strict=True):
                yield prompt, first, "no", {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.heads=3"], "hidden_size=64, heads=3: the width must be an even multiple of the heads"),
        (
            ["evaluation.max_new_tokens=24"],
            r"evaluation\.max_new_tokens=24: must be below data\.max_length, .* 24:",
        ),
        (["objectives=[helpful,nice]"], "objectives: 'nice' is unknown; allowed are helpful, harmless"),
        (
            ["data.labellers.a=[0.5,0.6]"],
            r"data\.labellers\.a=\[0\.5, 0\.6\]: a weight of at least 0 for each of",
        ),
        (["trainer.callbacks=[os:path]"], "trainer.callbacks=os:path: a class is expected"),
        (["trainer.callbacks=[no_such:Class]"], "no such module"),
        (
            ["trainer.logger=wandb"],
            r"trainer\.logger=wandb: needs wandb, which is not installed \(pip install wandb",
        ),
    ],
)
def test_settings_that_cannot_end_well_are_found_before_anything_runs(words, said, monkeypatch):
    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    made = parse(DPOStudyConfig, words, None, METHODS)
    with pytest.raises(UserError, match=said):
        plan_study(made, METHODS)
