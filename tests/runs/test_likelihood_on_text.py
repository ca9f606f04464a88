"""HaM, SCA and RiC on text: pairs of one's own and published ones, scored by a model that is trained on them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lightning_moa.methods.products import ham, ric, sca, sca_heads
from lightning_moa.runs.context import Answers, Context
from lightning_moa.runs.loading import load_base, load_data
from tests.data.support import pair_rows, write_lines
from tests.runs.likelihood import conduct, settings

TINY = (
    "sft.steps=4",
    "reward_model.steps=3",
    "likelihood.rows=40",
    "likelihood.steps=2",
    "likelihood.batch_size=8",
    "likelihood.reward=trained",
    "online.rounds=1",
    "online.generated=16",
    "online.kept=5",
    "online.steps=2",
    "evaluation.prompts=6",
    "evaluation.max_new_tokens=8",
    "data.max_length=96",
    "data.max_response_length=32",
    "tokenizer.vocab_size=320",
)


def methods_of(preferences):
    return {
        "ham": ham(2),
        "sca": sca(preferences),
        "sca_heads": sca_heads(preferences),
        "ric": ric(preferences),
    }


def study(runs, preferences, *words):
    methods = methods_of(preferences)
    return conduct(settings(*TINY, *words, methods=methods, small=False), runs, methods)


def check(plan, collected, runs, preferences, objectives):
    assert plan.objectives == objectives
    assert collected.space == "reward"
    points = collected.points
    counts = points.groupby("method").size().to_dict()
    many = len(preferences)
    assert counts == {"ham": 2, "sca": many, "sca_heads": many, "ric": many, "sft": 1}
    assert points[[f"reward_{name}" for name in objectives]].notna().all(axis=None)
    assert points.filter(like="gold_").isna().all(axis=None)
    # Where rewards stand in a prompt it is cut further, and is recorded as it was shown.
    assert collected.responses["prompt_index"].nunique() == 6
    plain = collected.responses[collected.responses["method"] != "ric"]
    assert plain["prompt"].nunique() == 6
    for name in ("ham", "ric"):
        rows = pd.read_parquet(runs / plan.seeds[0].policies[name][0].needs["rows"].key / "rows.parquet")
        assert rows["round"].value_counts().to_dict() == {0: 40, 1: 5}
        # People's replies came to their end; sampled ones of 8 tokens hardly ever.
        assert rows.groupby("round")["ended"].mean().tolist() == [1, pytest.approx(0, abs=0.4)]
        rewards = rows[[f"reward_{each}" for each in objectives]].to_numpy()
        assert ((rewards >= 0) & (rewards <= 1)).all()
        np.testing.assert_array_equal(rewards[:40].min(0), 0)
        np.testing.assert_array_equal(rewards[:40].max(0), 1)


@pytest.mark.parametrize(
    ("objectives", "preferences"),
    [
        (("good", "brief"), ((0.0, 1.0), (0.5, 0.5))),
        (("good", "brief", "kind"), ((0.0, 0.0, 1.0), (1 / 3, 1 / 3, 1 / 3))),
    ],
)
def test_pairs_of_ones_own(tmp_path, objectives, preferences):
    path = write_lines(tmp_path / "pairs.jsonl", pair_rows(90))
    columns = {"good": "good", "brief": "shorter", "kind": "kind"}
    labels = [f"data.labels.{name}={columns[name]}" for name in objectives]
    words = ("data=pairs", f"data.path={path}", *labels)
    plan, collected = study(tmp_path / "runs", preferences, *words)
    check(plan, collected, tmp_path / "runs", preferences, objectives)


def test_published_pairs(tmp_path, shared_data):
    """Their prompts end in a marker of their own, which the rewards go in front of."""
    source = shared_data / "hh-rlhf" / "harmless-base-test.jsonl.gz"
    if not source.is_file():
        pytest.skip(f"{source.name} is not here")
    preferences = ((0.0, 1.0), (0.5, 0.5))
    words = (
        "data=hh_rlhf",
        f"data.path={source}",
        "data.limit=150",
        "data.max_length=160",
        "tokenizer.vocab_size=400",
        "model.intermediate_size=32",
        'ric.before="\\n\\nAssistant:"',
    )
    plan, collected = study(tmp_path / "runs", preferences, *words)
    check(plan, collected, tmp_path / "runs", preferences, ("harmless", "concise"))
    assert collected.responses["prompt"].str.endswith("\n\nAssistant:").all(), "as they were"
    task = plan.seeds[0].policies["ric"][0]
    cpu = {"accelerator": "cpu", "precision": "fp32"}
    base, tokenizer = load_base(tmp_path / "runs" / task.needs["base"].key, cpu)
    inputs = {role: tmp_path / "runs" / need.key for role, need in task.needs.items()}
    run = Context(task.spec, inputs, Answers.of(task.spec), load_data(task.spec), tokenizer, base)
    rows = run.answers.objective.rows(run)
    encoded = rows.encoded(tokenizer)
    for row in range(0, len(encoded), 7):
        text = tokenizer.decode(encoded.prompts[row], skip_special_tokens=True)
        first, second = rows.rewards[encoded.index[row]]
        assert text.endswith(f" <r1> {first:.1f} <r2> {second:.1f} \n\nAssistant:")


def test_rows_that_carry_scores(tmp_path):
    """They are trained on with these; what is sampled is scored by a model fitted to them, on the same scale."""
    rows = [
        {
            "prompt": f"question {i}",
            "response": f"answer {i}" + " more" * (i % 5),
            "good": 100 + i % 5,
            "risk": -i,
        }
        for i in range(80)
    ]
    # Their folders are parts of the data set, one of them twice as large.
    write_lines(tmp_path / "rows" / "large" / "rows.jsonl", [row for i, row in enumerate(rows) if i % 3])
    write_lines(tmp_path / "rows" / "small" / "rows.jsonl", rows[::3])
    labels = ("data.labels.good=good", "data.labels.safe=-risk", "data.eval_fraction=0.4")
    words = (
        "data=answers",
        f"data.path={tmp_path / 'rows'}",
        *labels,
        "online.rounds=0",
        "likelihood.reward=auto",
    )
    methods = {"ham": ham(2)}
    config = settings(*TINY, *words, methods=methods, small=False)
    plan, collected = conduct(config, tmp_path / "runs", methods)
    task = plan.seeds[0].policies["ham"][0].needs["rows"]
    found = pd.read_parquet(tmp_path / "runs" / task.key / "rows.parquet")
    given = {row["response"]: [row["good"], -row["risk"]] for row in rows}
    assert found[["score_good", "score_safe"]].to_numpy().tolist() == [
        given[each] for each in found["response"]
    ]
    np.testing.assert_array_equal(found["reward_good"], (found["score_good"] - 100) / 4)
    assert collected.rewards == dict.fromkeys(("good", "safe"), "a model trained on the rows' scores")
    assert collected.points["reward_good"].between(90, 114).all(), "as the rows have it, not standardised"
    assert collected.evaluated == {"prompts": {"large": 4, "small": 2}}
    assert plan.seeds[0].evaluations["ham"].needs["rewards"].spec["learns"] == "sequences"
