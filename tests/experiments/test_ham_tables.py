"""HaM's tables: Table 5 against what the paper prints, and Tables 1 to 4 from end to end at the smallest scale."""

from __future__ import annotations

import importlib.util
import io
import sys

import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.figures.panels import methods_of, panel_study, settings_of
from lightning_moa.rewards import models_of
from lightning_moa.rewards.inputs import ASSISTANT
from lightning_moa.study.planning import plan_study
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "experiments" / "ham" / "tables.py"
TABLE_5 = {
    "Architecture": "Transformer",
    "Pre-training, small model": "facebook/opt-350m",
    "Pre-training, large model": "facebook/opt-6.7b",
    "Fine-tuning strategy": "LoRA",
    "LoRA r": 64,
    "LoRA alpha": 128,
    "LoRA dropout": 0.05,
    "Optimizer": "Adam",
    "Batch size": 8,
    "Inference tokens for evaluation, helpful assistant": 128,
    "Inference tokens for evaluation, Reddit summary": 48,
    "Offline fine-tuning steps": 5000,
    "Initial learning rate, offline": 1.41e-4,
    "Initial learning rate, online": 1e-5,
    "Learning rate scheduler, offline": "linear",
    "Learning rate scheduler, online": "constant",
    "Threshold for MORS, quantile of each reward": 0.7,
    "Online generation sample size per iteration": 5000,
    "Online fine-tuning steps per iteration": 400,
    "Helpful assistant: prompt": "{prompt}",
    "Helpful assistant: dataset": "hh_rlhf",
    "Helpful assistant: harmless reward": "Ray2333/gpt2-large-harmless-reward_model",
    "Helpful assistant: helpful reward": "Ray2333/gpt2-large-helpful-reward_model",
    "Helpful assistant: humor reward": "mohameddhiab/humor-no-humor",
    "Reddit summary: dataset": "summarize_from_feedback",
    "Reddit summary: faithful reward": "Tristan/gpt2_reward_summarization",
    "Reddit summary: hallucination reward": "CogComp/bart-faithful-summary-detector",
    "Section 4: policies K": 5,
    "Section 4: offline prompts": 5000,
    "Section 4: online iterations": 2,
    "Section 4: prompts added per iteration": 500,
    "Section 4: evaluation prompts": 200,
}
OTHERWISE = {
    "Hardware": "the paper: NVIDIA Tesla V100 40 GB",
    "Quantization for training": "the paper: 8 bit",
    "Reddit summary: prompt": "data.template of config/summary",
}
"""Rows whose value isn't the paper's: their sources. The prompt's instruction stands in RiC's form."""
INSTRUCTION = "Generate a one-sentence summary of this post."


def load():
    spec = importlib.util.spec_from_file_location("ham_tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tables = load()


def settings_for(family, scale):
    """What scripts of panels read of a family's file."""
    return panel_study(str(SCRIPT), family, ["one", "two"]).read([f"scale={scale}"])[0]


def generate(root, *words):
    """Folder that a start leaves."""
    folders = [
        f"results_dir={root / 'results'}",
        f"runs_dir={root / 'runs'}",
        "workers=1",
        "code_in_key=false",
    ]
    config = tables.STUDY.read([*folders, *words])[0]
    tables.main(config, Console(file=io.StringIO()))
    return root / "results" / "ham" / "tables" / config.scale


def number_or_text(value):
    try:
        return float(value)
    except ValueError:
        return value


def settings(folder):
    frame = pd.read_csv(folder / "table5.csv", dtype=str, keep_default_na=False).set_index("hyper_parameter")
    assert frame.index.is_unique
    assert (frame["source"] != "").all()
    return frame


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("paper"), "scale=paper", "responses=false")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("smoke"), "scale=smoke", "seeds=[1,0]", "summary=[sft.steps=5]")


def test_every_value_is_the_papers(paper):
    found = settings(paper)
    assert set(found.index) == {*TABLE_5, *OTHERWISE}
    for name, value in TABLE_5.items():
        assert number_or_text(found["value"][name]) == value, name
    for name, words in OTHERWISE.items():
        assert words in found["source"][name]
    assert INSTRUCTION in found["value"]["Reddit summary: prompt"]
    assert (found["value"] == found["paper_scale"]).all()
    assert [path.name for path in sorted(paper.iterdir())] == ["run.yaml", "table5.csv", "tables.md"]


def test_a_changed_setting_is_seen_beside_the_papers(tmp_path):
    changed = ["likelihood.lr=0.5", "likelihood.weight_decay=0.1", "adapter.rank=8", "large.path=other/model"]
    words = ["scale=paper", "responses=false", *changed, "summary=[evaluation.max_new_tokens=7]"]
    found = settings(generate(tmp_path, *words))
    differs = found[found["value"] != found["paper_scale"]]
    assert differs["value"].to_dict() == {
        "Pre-training, large model": "other/model",
        "LoRA r": "8",
        "LoRA alpha": "16",
        "Optimizer": "AdamW",
        "Inference tokens for evaluation, Reddit summary": "7",
        "Initial learning rate, offline": "0.5",
    }


@pytest.mark.parametrize("family", ["assistant", "summary"])
@pytest.mark.parametrize("scale", ["gpu", "paper"])
def test_objectives_are_scored_by_the_models_that_ham_calls_so(family, scale):
    """What HaM calls faithful and hallucination, RiC calls summary and faithful."""
    config = settings_for(family, scale)
    known = models_of("HaM")
    expected = {
        "assistant": {"harmless": "harmless", "helpful": "helpful", "humorous": "humor"},
        "summary": {"faithful": "faithful", "hallucination": "hallucination"},
    }[family]
    assert config.likelihood.rewards == {name: {"model": known[word].id} for name, word in expected.items()}
    # Their signs: both of the summaries' rewards are higher for the better summary.
    assert known["hallucination"].output == "FAITHFUL"
    assert known["humor"].output == "HUMOR", "by its name in id2label, not by its place"
    assert all(known[word].sign == 1 for word in expected.values())


@pytest.mark.parametrize("scale", ["gpu", "paper"])
@pytest.mark.parametrize(
    ("family", "objectives"),
    [
        ("assistant", ["harmless", "helpful"]),
        ("assistant", ["harmless", "humorous"]),
        ("assistant", ["harmless", "helpful", "humorous"]),
        ("summary", ["faithful", "hallucination"]),
    ],
)
def test_every_panel_can_be_planned_for_the_papers_models(family, objectives, scale):
    config = settings_for(family, scale)
    for panel in ({}, {"large": True}, {"online": True}):
        own = settings_of(config, objectives, **panel)
        plan = plan_study(own, methods_of(len(objectives)))
        assert plan.objectives == tuple(objectives)
        assert set(own.likelihood.rewards) == set(objectives)
        assert not own.evaluation.trained_rewards, "no reward model is trained"
        base = plan.seeds[0].policies["ham"][0].needs["base"].spec["model"]["path"]
        assert base == (config.large.path if panel.get("large") else config.model.path)


def test_prompts_end_where_rewards_go_in_front():
    """RiC's rewards stand before the last "Assistant:", which ends every prompt of hh-rlhf; else at the end."""
    for scale in ("gpu", "paper"):
        assistant = settings_for("assistant", scale)
        assert assistant.ric.before == ASSISTANT
        assert assistant.data.template == "{prompt}"
        summary = settings_for("summary", scale)
        assert summary.ric.before == ""


@pytest.mark.parametrize(
    ("name", "objectives", "prompts"),
    [
        ("table1", ["harmless", "helpful"], 4),
        ("table2", ["harmless", "humorous"], 4),
        ("table3", ["faithful", "hallucination"], 1),
        ("table4", ["faithful", "hallucination"], 1),
    ],
)
def test_two_heads_answer_the_same_prompts(smoke, name, objectives, prompts):
    frame = pd.read_csv(smoke / f"{name}.csv", keep_default_na=False)
    assert len(frame) == 2 * prompts
    assert frame.groupby("number")["prompt"].nunique().eq(1).all()
    assert frame["prompt"].nunique() == prompts
    assert frame["best_for"].tolist() == objectives * prompts
    assert frame["seed"].eq(1).all(), "the first of the seeds"
    assert frame.groupby("best_for")["head"].nunique().eq(1).all()
    assert frame["head"].nunique() == 2
    for objective in objectives:
        above = frame[f"gold_{objective}"] > frame[f"mean_{objective}"]
        assert frame[f"arrow_{objective}"].tolist() == ["up" if each else "down" for each in above]


def test_prompts_are_the_first_at_odds_and_table_4s_is_the_second(smoke):
    from lightning_moa.world import World

    first = pd.read_csv(smoke / "table1.csv")["prompt"]
    assert World.build().is_risky(first.tolist()).all()
    assert first.tolist() == pd.read_csv(smoke / "table2.csv")["prompt"].tolist()
    third, fourth = (pd.read_csv(smoke / f"{name}.csv") for name in ("table3", "table4"))
    assert (set(third["number"]), set(fourth["number"])) == ({1}, {2})
    assert third["head"].tolist() == fourth["head"].tolist()


def test_the_page_shows_what_the_tables_hold(smoke):
    page = (smoke / "tables.md").read_text()
    assert page.count("## Table") == 5
    row = pd.read_csv(smoke / "table1.csv").iloc[1]
    arrow = {"up": "↑", "down": "↓"}[row["arrow_helpful"]]
    assert f"| {arrow} {row['gold_helpful']:.2f} | {row['response']} ({row['mode']}) |" in page
    assert page.count("best for harmless |") == 2 * 4


def test_more_prompts_than_there_are_is_a_user_error(tmp_path, smoke):
    runs = smoke.parents[3] / "runs"
    words = ["scale=smoke", "seeds=[1]", f"runs_dir={runs}"]
    with pytest.raises(UserError, match="shown=99: the held-out prompts have 8 to show"):
        generate(tmp_path, *words, "shown=99")


def test_one_head_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"heads\.number=1: a head for each of harmless, helpful is needed"):
        generate(tmp_path, "scale=smoke", "heads.number=1", "sft.steps=2")


def test_tables_that_are_not_made_are_taken_away_and_those_of_other_settings_kept(tmp_path):
    words = ["scale=smoke", "responses=false"]
    folder = generate(tmp_path, *words)
    (folder / "table1.csv").write_text("of another start")
    generate(tmp_path, *words)
    assert {path.name for path in folder.iterdir()} == {"table5.csv", "tables.md", "run.yaml"}
    with pytest.raises(UserError, match=r"another configuration \(seeds was"):
        generate(tmp_path, *words, "seeds=[3]")
