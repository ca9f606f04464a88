"""More objectives, and mixed labellers: both scripts from end to end at their smallest scale."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from lightning_moa.cli import main as moa
from lightning_moa.config import StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.reporting.catalogue import standings
from lightning_moa.study.collect import Exact
from lightning_moa.world import World
from tests.conftest import REPOSITORY

SCRIPTS = REPOSITORY / "experiments" / "panacea"
QUICK = ["sft.steps=4", "reward_model.steps=2", "ppo.steps=2", "evaluation.prompts=16"]


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configure(module, root: Path, *words: str) -> StudyConfig:
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    words = ["scale=smoke", "workers=1", "code_in_key=false", *folders, *QUICK, *words]
    return module.STUDY.read(words)[0]


def start(name: str, root: Path, *words: str) -> Path:
    """The folder that a start leaves."""
    module = load(name)
    config = configure(module, root, "data.eval_pairs=64", *words)
    module.main(config, Console(file=io.StringIO(), width=200))
    return root / "results" / "panacea" / name / "smoke"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("figures")


@pytest.fixture(scope="module")
def dimensions(root):
    return start("figure_dimensions", root)


@pytest.fixture(scope="module")
def misalignment(root):
    return start("misalignment", root, "seeds=[0,1]")


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_dimensions_leaves_a_folder_for_each_number_of_objectives(dimensions):
    pictures = {"figure_dimensions.png", "figure_dimensions.pdf"}
    assert names(dimensions) == {"m3", "m4", "claims.csv", "sensitivity.csv", "run.yaml", *pictures}
    for m, preferences in ((3, 6), (4, 10)):
        part = dimensions / f"m{m}"
        tables = {"points.csv", "metrics.csv", "costs.csv", "timings.csv", "exact_front.csv", "run.yaml"}
        tables.add("reward_models.csv")
        assert names(part) == {*tables, "fronts.png", "fronts.pdf"}
        points = pd.read_csv(part / "points.csv")
        assert points.groupby("method").size().to_dict() == {
            "panacea": preferences,
            "rewarded_soups": preferences,
            "panacea_as_all_of_rewarded_soups": preferences,
            "sft": 1,
        }
        assert set(points["scale"]) == {"smoke"}
        assert len(points.filter(like="gold_").columns) == m
        assert yaml.safe_load((part / "run.yaml").read_text())["rewards"]["gold"] == "the world's own"


def test_dimensions_judges_every_measure_for_each_number(dimensions):
    claims = pd.read_csv(dimensions / "claims.csv")
    # Five measures, at as many updates a policy and at equal totals.
    assert len(claims) == 2 * 2 * 5
    assert claims[claims["whose"] == "paper"]["claim"].str.contains("totals|regret").sum() == 0
    assert (claims["whose"] == "paper").sum() == 4, "of three objectives"
    for m in (3, 4):
        metrics = pd.read_csv(dimensions / f"m{m}" / "metrics.csv")
        metrics = metrics[metrics["space"] == "gold"].set_index("method")
        mine = claims[claims["claim"].str.startswith(f"{m} objectives")]
        for words, column in (("hypervolume", "hypervolume"), ("regret", "mean_regret")):
            value = mine[mine["claim"].str.contains(words)]["value"].iloc[0]
            assert value == pytest.approx(metrics[column]["panacea"] - metrics[column]["rewarded_soups"])


def test_results_of_parts_are_listed_and_compared(dimensions, capsys):
    (dimensions.parents[2].parent / "experiments").mkdir(exist_ok=True)
    found = {each.artefact.name: each for each in standings(dimensions.parents[3])}
    theirs = found["figure_dimensions"].scales["smoke"]["paper"]
    assert (theirs.alone, theirs.adjusted) == ({"one seed": 4}, {"one seed": 4})
    assert moa(["compare", str(dimensions / "m3")]) == 0
    assert "rewarded_soups" in capsys.readouterr().out
    assert moa(["compare", str(dimensions)]) == 2
    assert "fronts can only be compared over the same objectives" in capsys.readouterr().err


def test_a_policy_has_as_many_updates_as_a_baselines_and_a_second_one_as_all_of_theirs(tmp_path):
    module = load("figure_dimensions")
    config = configure(module, tmp_path, "methods.panacea.steps=6", "evaluation.grid_step=0.1")
    label, own, methods = module.studies(config)[-1]
    assert (label, len(own.objectives), own.evaluation.grid_step) == ("m = 4", 4, 0.25)
    steps = {name: own.methods[name].steps for name in methods if name in own.methods}
    assert steps == {"panacea": 6, "panacea_as_all_of_rewarded_soups": 4 * config.ppo.steps}
    assert (config.methods["panacea"].steps, config.evaluation.grid_step) == (6, 0.1)


def test_data_with_two_labels_need_a_third(tmp_path):
    module = load("figure_dimensions")
    config = configure(module, tmp_path, "data=pku_saferlhf")
    with pytest.raises(UserError, match=r"3 or more are needed; data\.labels\.concise=shorter adds one"):
        module.names_of(config)
    config = configure(module, tmp_path, "data=pku_saferlhf", "data.labels.concise=shorter")
    assert module.names_of(config) == ["helpful", "harmless", "concise"]


def test_misalignment_leaves_every_file(misalignment):
    tables = {"points.csv", "metrics.csv", "claims.csv", "costs.csv", "timings.csv", "exact_front.csv"}
    tables |= {"reward_models.csv", "run.yaml"}
    assert names(misalignment) == {*tables, "regret.csv", "misalignment.png", "misalignment.pdf"}
    points = pd.read_csv(misalignment / "points.csv")
    assert points.groupby("method").size().to_dict() == {"panacea": 22, "single_objective": 2, "sft": 2}
    single = points[points["method"] == "single_objective"]
    assert single[["lambda_helpful", "reward_helpful"]].isna().all(axis=None)
    record = yaml.safe_load((misalignment / "run.yaml").read_text())
    assert record["config"]["data"]["labellers"] == {"labeller 1": [0.9, 0.1], "labeller 2": [0.1, 0.9]}
    assert {(each["method"], each["seed"]) for each in record["policies"]} == {
        (name, seed) for name in ("panacea", "single_objective") for seed in (0, 1)
    }


def test_regret_is_the_worlds_own(misalignment):
    table = pd.read_csv(misalignment / "regret.csv")
    assert len(table) == 2 * 2 * 3
    objectives, world = ("helpful", "harmless"), World.build()
    weights, gold = (table[[f"{group}_{name}" for name in objectives]] for group in ("lambda", "gold"))
    expected = world.regret(weights.to_numpy(), gold.to_numpy(), table["kl"].to_numpy(), 0.3, objectives)
    np.testing.assert_allclose(table["regret"], expected, rtol=1e-9)
    single = table[table["method"] == "single_objective"]
    assert single.groupby("seed")["gold_helpful"].nunique().tolist() == [1, 1]


def test_the_best_policy_of_the_mixture_is_nobodys():
    """Theorem A.4 without training, against the world's own optimum: no verdict is given on it."""
    module = load("misalignment")
    objectives, world = ("helpful", "harmless"), World.build()
    asked = {"a": np.array([0.9, 0.1]), "b": np.array([0.1, 0.9]), "lambda_opt": np.array([0.5, 0.5])}
    front = world.exact_front(np.stack(list(asked.values())), 0.3, objectives)
    grid = pd.DataFrame(front.preferences, columns=[f"lambda_{name}" for name in objectives])
    grid[[f"gold_{name}" for name in objectives]] = front.rewards
    grid = grid.assign(kl=front.kl, value=front.values)
    study = SimpleNamespace(objectives=objectives, exact=Exact(0.3, grid, grid))
    best = world.optimum([0.5, 0.5], 0.3, objectives)
    for name, regret in module.regret_of_mixture(study, asked).items():
        expected = world.regret([asked[name]], best.rewards[None], [best.kl], 0.3, objectives)[0]
        assert regret == pytest.approx(expected)
        assert regret > 0.3


def test_misalignment_needs_a_world_and_preferences_on_the_grid(tmp_path):
    module = load("misalignment")
    with pytest.raises(UserError, match="its best policies are not known; allowed is synthetic"):
        module.preferences_of(configure(module, tmp_path, "data=pku_saferlhf"))
    asked = module.preferences_of(
        configure(module, tmp_path, "data.labellers.a=[1,0]", "data.labellers.b=[0.5,0.5]")
    )
    assert {name: row.tolist() for name, row in asked.items()} == {
        "a": [1, 0],
        "b": [0.5, 0.5],
        "lambda_opt": [0.75, 0.25],
    }
    off = configure(module, tmp_path, "data.labellers.a=[1,0]", "data.labellers.b=[0.5,0.5]")
    with pytest.raises(UserError, match=r"lambda_opt: the preference \[0\.75, 0\.25\] is not on the grid"):
        module.studies(off)
    three = configure(module, tmp_path, "objectives=[helpful,harmless,concise]")
    with pytest.raises(
        UserError, match=r"labeller 1: the preference \[0\.9, 0\.05, 0\.05\] is not on the grid"
    ):
        module.studies(three)
