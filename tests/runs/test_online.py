"""HaM, SCA and RiC offline and then in rounds: what a finished study's frames say."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.scored import prompts_in_pairs
from lightning_moa.errors import UserError
from lightning_moa.evaluation import Decoding, sample_rewritten
from lightning_moa.policies import RewardPrompt, load_policy
from lightning_moa.run_folders import record
from lightning_moa.runs.align import align, first_policy
from lightning_moa.runs.context import Answers, Context
from lightning_moa.runs.evaluate import evaluate
from lightning_moa.runs.loading import load_base, load_data
from lightning_moa.runs.measuring import EVALUATION
from tests.runs.likelihood import METHODS, PREFERENCES, changed, conduct, rounds_of, settings

NAMES = ("helpful", "harmless")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def study(runs):
    """The plan of a finished study of two rounds, and its frames."""
    return conduct(settings("online.rounds=2", "online.steps=2"), runs)


def test_points_of_every_policy(study):
    points = study[1].points
    names = {
        "ham": ["head 0", "head 1", "head 2"],
        "sca": ["0 1", "0.3 0.7", "1 0"],
        "sca_heads": ["head 0", "head 1", "head 2"],
        "ric": ["0 1", "0.3 0.7", "1 0"],
        "sft": ["reference"],
    }
    for method, policies in names.items():
        own = points[points["method"] == method]
        assert own["policy"].tolist() == policies
        weights = own[[f"lambda_{name}" for name in NAMES]].to_numpy()
        if method in ("sca", "ric"):
            np.testing.assert_array_equal(weights, PREFERENCES)
        else:
            assert np.isnan(weights).all()
        assert (own["n"] == 12).all()
    assert points[[f"gold_{name}" for name in NAMES]].notna().all(axis=None)
    assert study[1].space == "gold"


def test_every_policy_answers_the_same_prompts(study):
    responses = study[1].responses
    asked = responses.groupby(["method", "policy"])["prompt"].agg(list)
    assert len(asked) == 13
    assert len({tuple(prompts) for prompts in asked}) == 1
    assert not responses["prompt"].str.contains("<r1>").any()


def test_costs_and_timings_count_all_rounds(study, runs):
    plan, collected = study
    costs, timings = (frame.set_index("method") for frame in (collected.costs, collected.timings))
    for name, models in {"ham": 1, "sca": 3, "sca_heads": 1, "ric": 1}.items():
        stages = [stage for task in plan.seeds[0].policies[name] for stage in rounds_of(task)]
        assert len(stages) == 3 * models
        seconds = sum(record(runs, stage.key)["seconds"] for stage in stages)
        assert timings.loc[name, "seconds"] == pytest.approx(seconds)
        assert costs.loc[name, "trained_models"] == models
        assert costs.loc[name, "training_steps"] == models * (3 + 2 + 2)
    assert costs.loc["sca", "trained_parameters"] > costs.loc["ham", "trained_parameters"]
    assert (collected.points.set_index("method").loc[list(METHODS), "step"] == 7).all()


def test_each_round_trains_on_from_the_last(study, runs):
    for task in study[0].seeds[0].policies["ham"]:
        weights = [load_file(runs / stage.key / "policy" / "policy.safetensors") for stage in rounds_of(task)]
        sizes = [
            sum(float((value - weights[0][name]).abs().sum()) for name, value in each.items())
            for each in weights
        ]
        assert 0 == sizes[0] < sizes[1]
        assert all(
            not torch.equal(weights[1][name], weights[2][name]) for name in weights[0] if "lora" in name
        )


def test_a_round_without_a_step_to_take_would_be_the_policy_before(study, runs, tmp_path):
    """Training on at a learning rate of next to nothing leaves the weights where the last round left them."""
    task = rounds_of(study[0].seeds[0].policies["ham"][0])[1]
    inputs = {role: runs / need.key for role, need in task.needs.items()}
    still = changed(task, settings={**task.spec["settings"], "lr": 1e-12})
    done = align(still.spec, inputs, tmp_path, lambda share: None)
    assert done["steps"] == 3 + 2
    before, after = (
        load_file(each / "policy" / "policy.safetensors") for each in (inputs["start"], tmp_path)
    )
    assert before.keys() == after.keys()
    for name in before:
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=1e-9)


def test_the_heads_of_ham_are_looked_at_in_every_round(study, runs):
    for stage, end in zip(rounds_of(study[0].seeds[0].policies["ham"][0]), (3, 2, 2), strict=True):
        frame = pd.read_csv(runs / stage.key / "heads.csv")
        assert frame["step"].unique().tolist() == [0, 2, 3][:end]
        assert frame.groupby("step").size().eq(3).all()
    first = rounds_of(study[0].seeds[0].policies["ham"][0])[0]
    looks = pd.read_csv(runs / first.key / "heads.csv").set_index("step")["kl"]
    # Jitter alone parts the heads from the reference, and from each other, before the first update.
    assert looks[0].nunique() == 3
    assert 0 < looks[0].min() < looks[0].max() < looks[3].max() / 10
    for name in ("sca", "ric"):
        assert not (runs / study[0].seeds[0].policies[name][0].key / "heads.csv").exists(), "one head"


def test_ric_is_asked_for_what_a_preference_asks_and_measured_from_the_plain_prompt(study, runs):
    plan, collected = study
    task = plan.seeds[0].policies["ric"][0]
    spec = plan.seeds[0].evaluations["ric"].spec
    base, tokenizer = load_base(runs / task.needs["base"].key, spec["hardware"])
    policy = load_policy(base.model, runs / task.key / "policy").head(0).eval()
    about = json.loads((runs / task.needs["rows"].key / "about.json").read_text())
    data = load_data(spec)
    goals = RewardPrompt(NAMES, about["low"], about["high"])
    prompts = data.prompt_list("eval")[:12]
    # HaM, section 4: f_j(w) is the top for a weight of 1/2 and more, else 2 w of the way there.
    for asked, text in zip(
        PREFERENCES, ("<r1> 0.0 <r2> 1.0", "<r1> 0.6 <r2> 1.0", "<r1> 1.0 <r2> 0.0"), strict=True
    ):
        assert f"{prompts[0]} {text}" == goals.insert(prompts[0], goals.target_rewards(asked))
        rewrite = partial(_behind, text)
        pairs = prompts_in_pairs(tokenizer, EncodingRules.of(data.config), prompts, rewrite, 5)
        decoding = Decoding(16, 1.0, 1.0, EVALUATION + spec["evaluation"]["sample_seed"])
        frame = sample_rewritten(policy, pairs, torch.tensor([asked]), decoding, tokenizer)
        name = " ".join(f"{value:g}" for value in asked)
        frames = (collected.responses, collected.points)
        own, point = (each[(each["method"] == "ric") & (each["policy"] == name)] for each in frames)
        assert own["response"].tolist() == frame["response"].tolist()
        np.testing.assert_allclose(own["log_ratio"], frame["log_ratio"], atol=1e-4)
        assert point["kl"].item() == pytest.approx(frame["log_ratio"].mean(), abs=1e-4)


def _behind(text, place, prompt):
    return f"{prompt} {text}"


def test_a_head_alone_is_measured_as_a_policy(study, runs, tmp_path):
    """Head 1 of HaM, taken out of its model and put in the place of a reference policy."""
    plan, collected = study
    evaluation = plan.seeds[0].evaluations["ham"]
    task = plan.seeds[0].policies["ham"][0]
    base, _ = load_base(runs / task.needs["base"].key, evaluation.spec["hardware"])
    merged = load_policy(base.model, runs / task.key / "policy").merge_head(1)
    folder = tmp_path / "base"
    (folder / "model").mkdir(parents=True)
    for path in (runs / task.needs["base"].key / "model").iterdir():
        (folder / "model" / path.name).write_bytes(path.read_bytes())
    merged.save_pretrained(folder / "model")
    (folder / "base.json").write_bytes((runs / task.needs["base"].key / "base.json").read_bytes())
    spec = {**evaluation.spec, "deployment": None}
    evaluate(spec, {"base": folder}, tmp_path, lambda share: None)
    frame = pd.read_csv(tmp_path / "responses.csv", keep_default_na=False)
    own = collected.responses.query("method == 'ham' and policy == 'head 1'")
    assert frame["response"].tolist() == own["response"].tolist()


def test_rics_base_must_have_its_words(study, runs, tmp_path):
    evaluation = study[0].seeds[0].evaluations["ric"]
    inputs = {role: runs / need.key for role, need in evaluation.needs.items()}
    sections = evaluation.spec["sections"]
    other = replace(
        evaluation,
        spec={**evaluation.spec, "sections": {**sections, "ric": {**sections["ric"], "marker": "<goal{i}>"}}},
    )
    with pytest.raises(UserError, match="can't spell '<goal1>'"):
        evaluate(other.spec, inputs, tmp_path, lambda share: None)


def test_scalarised_first_on_halves_of_batches(tmp_path):
    """Directions stand for objectives, and steps stay updates where a batch is gone through in two halves."""
    methods = {name: METHODS[name] for name in ("ham", "sca")}
    words = (
        "likelihood.weigh=scalarise_first",
        "likelihood.accumulate=2",
        "heads.directions=4",
        "online.rounds=1",
    )
    config = settings(*words, "model.gradient_checkpointing=true", methods=methods)
    plan, collected = conduct(config, tmp_path, methods)
    for stage in rounds_of(plan.seeds[0].policies["ham"][0]):
        frame = pd.read_csv(tmp_path / stage.key / "heads.csv")
        columns = ["1 0", "0.666667 0.333333", "0.333333 0.666667", "0 1"]
        assert sorted(frame.filter(like="loglik_")) == sorted(f"loglik_{name}" for name in columns)
        assert frame["step"].unique().tolist() == [0, 2] + [3] * ("start" not in stage.needs)
    costs = collected.costs.set_index("method")["training_steps"]
    assert costs.to_dict() == {"ham": 3 + 2, "sca": 3 * (3 + 2)}


def test_what_is_taken_up_keeps_its_checkpointing(study, runs):
    task = study[0].seeds[0].policies["ham"][0]
    inputs = {role: runs / need.key for role, need in task.needs.items()}
    for wanted in (False, True):
        spec = {**task.spec, "model": {**task.spec["model"], "gradient_checkpointing": wanted}}
        base, tokenizer = load_base(inputs["base"], spec["hardware"])
        run = Context(spec, inputs, Answers.of(spec), load_data(spec), tokenizer, base)
        modules = first_policy(run).model.modules()
        assert any(getattr(module, "gradient_checkpointing", False) for module in modules) == wanted
