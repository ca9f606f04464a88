"""The table of all methods: who stands in it, the one rule of tuning, and its measures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.figures import tuning
from lightning_moa.methods.sections import TABLES
from tests import forked

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "cross" / "table_methods.py"
OUT = {"torchjd", "hypervolume", "rewarded_soups", "gapo", "mgda", "pgapo", "tchebycheff"}
"""Short names that no row needs: a family, one that stands for itself, and methods that draw what another does too."""


@pytest.fixture(scope="module")
def cross():
    spec = importlib.util.spec_from_file_location("table_methods", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(cross):
    read, methods = cross.STUDY.read(["scale=smoke"])
    assert methods is cross.METHODS
    return read


@pytest.mark.parametrize("kind", TABLES)
def test_every_answer_of_ours_stands_in_the_table(cross, kind):
    used = {getattr(product, kind).name for product in cross.METHODS.values()}
    assert used >= set(TABLES[kind]) - OUT


@pytest.mark.parametrize("m", [2, 3, 4])
def test_its_methods_are_there_for_any_number_of_objectives(cross, m):
    for name, product in cross.methods_of(m).items():
        for row in product.trained_on.preferences(m, 0.25):
            assert row is None or len(row) == m, name


def test_every_method_has_as_many_responses_in_an_update(cross, config):
    assert set(cross.responses_of(config, cross.METHODS).values()) == {16}


def test_one_kl_weight_holds_for_all(cross, config):
    (_, _, methods) = cross.studies(config)[1]
    chosen = cross.chosen_methods(config, methods)
    weights = {each.objective.kl_weight(each.settings) for each in chosen.values()}
    assert weights - {None} == {config.exact_beta}


def test_each_rate_is_tried_on_seeds_that_are_not_reported(cross, config):
    own, tried = cross.variants(config, {"epo": cross.METHODS["epo"], "rloo": cross.METHODS["morlhf_rloo"]})
    assert own.seeds == [100]
    assert {name: each.lr for name, each in own.methods.items()} == pytest.approx(
        {"epo x 1": 0.01, "epo x 3": 0.03, "rloo x 1": 0.01, "rloo x 3": 0.03}
    )
    assert tried["epo x 3"] is cross.METHODS["epo"]
    assert config.methods == {}
    for change, message in (
        ({"tuning_seeds": [0, 7]}, "others than seeds"),
        ({"tuning_seeds": []}, "others than seeds"),
        ({"factors": [1.0, 0.0]}, "above 0"),
    ):
        wrong = SimpleNamespace(**{**vars(config), **change})
        with pytest.raises(UserError, match=message):
            cross.variants(wrong, cross.METHODS)


EXACT = SimpleNamespace(
    beta=0.5,
    grid=pd.DataFrame({"lambda_a": [1.0, 0.5, 0.0], "lambda_b": [0.0, 0.5, 1.0], "value": [3.0, 2.0, 3.0]}),
)


def collected(**gold):
    """One policy for each method and seed 100, with this reward of both objectives and a KL of 1."""
    points = pd.DataFrame(
        [
            {"method": name.replace("_x_", " x "), "seed": 100, "gold_a": at, "gold_b": at, "kl": 1.0}
            for name, at in gold.items()
        ]
    )
    return SimpleNamespace(objectives=("a", "b"), points=points, exact=EXACT)


def test_the_rate_of_the_largest_expected_utility_is_taken(cross, config, monkeypatch):
    found = collected(one_x_1=1.0, one_x_3=2.0, two_x_1=1.5, two_x_3=-1.0)
    monkeypatch.setattr(tuning, "conduct", lambda *given: found)
    methods = {"one": cross.METHODS["epo"], "two": cross.METHODS["epo"]}
    chosen, rates = cross.tuned(config, methods, None)
    assert {name: each.lr for name, each in chosen.methods.items()} == pytest.approx(
        {"one": 0.03, "two": 0.01}
    )
    assert chosen.seeds == config.seeds
    assert rates[rates["taken"]]["expected_utility"].tolist() == pytest.approx([1.5, 1.0])
    assert len(rates) == 4


def test_utilities_have_the_kl_taken_off_and_the_best_policy_chosen(cross):
    found = collected(one=2.0)
    found.points = pd.concat(
        [
            found.points,
            pd.DataFrame([{"method": "one", "seed": 100, "gold_a": 3.0, "gold_b": 0.0, "kl": 0.0}]),
        ]
    )
    utility, loss = tuning.utilities(found, "one", 100)
    assert utility == pytest.approx(np.mean([3.0, 1.5, 1.5]))
    assert loss == pytest.approx(1.5)


def test_the_page_has_the_best_first_and_no_number_where_there_is_none(cross):
    columns = {**cross.MEASURES, **cross.COSTS}
    rows = [
        {"method": name, "seed": seed, **dict.fromkeys(columns, at + seed)}
        for name, at in (("low", 1.0), ("high", 2.0))
        for seed in (0, 1)
    ]
    table = pd.DataFrame(rows)
    table.loc[table["method"] == "low", "mean_regret"] = np.nan
    lines = cross.page(table).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["method", "---", "high", "low"]
    assert "2.5" in lines[4]
    assert lines[5].split("|")[5].strip() == ""


def test_a_submission_as_the_page_has_it_stands_in_the_table(cross, tmp_path):
    page = (SCRIPT.parents[2] / "docs" / "benchmark.md").read_text()
    (printed,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "my_submission.py").write_text(printed)
    asked = "methods=[panacea_rloo,my_submission:MINE]"
    assert asked in page
    words = [
        asked,
        "scale=smoke",
        "workers=1",
        f"results_dir={tmp_path / 'r'}",
        f"runs_dir={tmp_path / 'runs'}",
    ]
    done = forked.run(SCRIPT, words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "r" / "cross" / "table_methods").iterdir()
    assert folder.name == "smoke-panacea_rloo+mine"
    table = pd.read_csv(folder / "table.csv")
    assert table["method"].tolist() == ["panacea_rloo", "mine", "sft"]
    assert table[table["method"] == "mine"][list(cross.MEASURES)].notna().all(axis=None)
    ranks = pd.read_csv(folder / "ranks.csv")
    assert ranks.groupby("measure")["rank"].sum().to_dict() == dict.fromkeys(cross.RANKED, 3.0)
    assert (folder / "ranks.png").is_file()
    rates = pd.read_csv(folder / "rates.csv")
    assert rates.groupby("method")["taken"].sum().to_dict() == {"mine": 1, "panacea_rloo": 1}


def test_all_are_all_of_the_script_s(cross):
    _, methods = cross.STUDY.read(["scale=smoke", "methods=[all]"])
    assert methods == cross.METHODS


def test_the_angle_is_that_between_the_preference_and_the_gain_in_units_of_the_front(cross):
    grid = pd.DataFrame(
        {"lambda_a": [1.0, 0.0], "lambda_b": [0.0, 1.0], "gold_a": [4.0, 0.0], "gold_b": [0.0, 2.0]}
    )
    start = {"method": "sft", "seed": 0, "gold_a": 1.0, "gold_b": 1.0}
    study = SimpleNamespace(
        objectives=("a", "b"),
        exact=SimpleNamespace(grid=grid),
        points=pd.DataFrame([start]),
        responses=pd.DataFrame([start]),
        space="gold",
    )
    gained = pd.DataFrame(
        # 4 of a and 2 of b are one unit each: along the preference, at 45 degrees to it, and away from it.
        [(1.0, 0.0, 5.0, 1.0), (1.0, 0.0, 5.0, 3.0), (0.0, 1.0, 1.0, -1.0)],
        columns=["lambda_a", "lambda_b", "gold_a", "gold_b"],
    )
    assert [cross.angle(study, gained.iloc[[i]], 0) for i in range(3)] == pytest.approx([0.0, 45.0, 180.0])
    assert cross.angle(study, gained, 0) == pytest.approx(75.0)
    assert cross.angle(study, gained.assign(gold_a=1.0, gold_b=1.0), 0) == 90.0
    assert np.isnan(cross.angle(study, gained.assign(lambda_a=np.nan, lambda_b=np.nan), 0))


def test_ranks_are_of_trained_methods_by_what_they_have(cross):
    rows = [
        {"method": name, "seed": seed, **dict.fromkeys(cross.RANKED, value)}
        for name, value in (("sft", 9.0), ("low", 1.0), ("high", 2.0), ("deaf", 0.0))
        for seed in (0, 1)
    ]
    table = pd.DataFrame(rows)
    table.loc[table["method"] == "deaf", "mean_regret"] = np.nan
    ranks = cross.ranks_of(table)
    by_utility = ranks[ranks["measure"] == "expected_utility"]
    assert by_utility["method"].tolist() == ["high", "low", "deaf"]
    assert ranks[ranks["measure"] == "mean_regret"]["method"].tolist() == ["low", "high"]
    assert cross.ranks_of(table[table["method"].isin(["sft", "low"])]).empty
