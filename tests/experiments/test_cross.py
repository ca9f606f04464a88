"""The table of all methods: who stands in it, the one rule of tuning, and its measures."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.world import ThresholdWorld
from tests import forked

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "cross" / "table_methods.py"


@pytest.fixture(scope="module")
def cross():
    return loaded("table_methods")


@pytest.fixture(scope="module")
def fronts():
    return loaded("figure_fronts")


@pytest.fixture(scope="module")
def unseen():
    return loaded("figure_unseen")


@pytest.fixture(scope="module")
def budget():
    return loaded("figure_budget")


@pytest.fixture(scope="module")
def scale():
    return loaded("figure_scale")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What one script has trained is there for the next."""
    return tmp_path_factory.mktemp("runs")


def result(name, tmp_path, runs, *words):
    """The folder of a script's results at its smallest size."""
    given = ["scale=smoke", "workers=1", f"results_dir={tmp_path / 'r'}", f"runs_dir={runs}", *words]
    done = forked.run(SCRIPT.with_name(f"{name}.py"), given, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "r" / "cross" / name).iterdir()
    return folder


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPT.with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(cross):
    read, methods = cross.STUDY.read(["scale=smoke"])
    assert methods is cross.METHODS
    return read


def test_the_page_has_the_best_first_and_no_number_where_there_is_none(cross):
    columns = {**cross.MEASURES, **cross.COSTS}
    rows = [
        {"method": name, "seed": seed, **dict.fromkeys(columns, at + seed)}
        for name, at in (("low", 1.0), ("high", 2.0))
        for seed in (0, 1)
    ]
    table = pd.DataFrame(rows)
    table.loc[table["method"] == "low", "mean_regret"] = np.nan
    timings = table[["method", "seed"]].assign(seconds=7.0, peak_memory_mib=8.0)
    lines = cross.page(table, timings[timings["method"] == "high"], "Nobody.").splitlines()
    assert [cell.strip() for cell in lines[4].split("|")[-3:-1]] == ["7", "8"]
    assert [cell.strip() for cell in lines[5].split("|")[-3:-1]] == ["", ""]
    assert [line.split("|")[1].strip() for line in lines[2:6]] == ["method", "---", "high", "low"]
    assert lines[6:] == ["", "Nobody."]
    assert "2.5" in lines[4]
    assert lines[5].split("|")[5].strip() == ""


def test_who_takes_the_first_or_the_last_of_the_rates_is_named(cross):
    taken = {"low": 0.1, "middle": 1.0, "high": 10.0, "other": 10.0}
    rates = pd.DataFrame(
        {"method": name, "lr": lr, "taken": lr == best}
        for name, best in taken.items()
        for lr in (0.1, 1.0, 10.0)
    )
    assert cross.at_the_edge(rates) == (
        "The least of the rates that were tried is taken by 1 of 4 methods: low. "
        "The largest of the rates that were tried is taken by 2 of 4 methods: high, other."
    )
    assert "by 0 of 4 methods." in cross.at_the_edge(rates[rates["lr"] > 0.1]), (
        "of two rates each is at an edge"
    )


def test_a_submission_as_the_page_has_it_stands_in_the_table(cross, tmp_path, runs):
    page = (SCRIPT.parents[2] / "docs" / "benchmark.md").read_text()
    (printed,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "my_submission.py").write_text(printed)
    asked = "methods=[panacea_rloo,my_submission:MINE]"
    assert asked in page
    folder = result("table_methods", tmp_path, runs, asked)
    assert folder.name == "smoke-panacea_rloo+mine"
    table = pd.read_csv(folder / "table.csv")
    assert table["method"].tolist() == ["panacea_rloo", "mine", "sft"]
    assert table[table["method"] == "mine"][list(cross.MEASURES)].notna().all(axis=None)
    ranks = pd.read_csv(folder / "ranks.csv")
    assert ranks.groupby("measure")["rank"].sum().to_dict() == dict.fromkeys(cross.RANKED, 3.0)
    assert (folder / "ranks.png").is_file()
    assert "| mine |" in (folder / "table.md").read_text()
    rates = pd.read_csv(folder / "rates.csv")
    assert not {"seconds", "peak_memory_mib"} & set(table), "what a clock says is in timings.csv"
    assert rates.groupby("method")["taken"].sum().to_dict() == {"mine": 1, "panacea_rloo": 1}


def test_questions_are_of_methods_in_the_table_and_answered_where_both_are_asked_for(cross, tmp_path, runs):
    for question in cross.QUESTIONS:
        assert {question.mine, question.other} <= set(cross.METHODS)
    folder = result(
        "table_methods", tmp_path, runs, "methods=[panacea_rloo,soups_rloo,mod_rloo]", "factors=[1]"
    )
    claims = pd.read_csv(folder / "claims.csv").set_index("claim")
    assert claims.index.tolist() == [
        "RLOO: Panacea beats soups",
        "RLOO: corners' logits mix better than their weights",
    ]
    table = pd.read_csv(folder / "table.csv").set_index(["seed", "method"])["mean_regret"].unstack()
    gap = (table["panacea_rloo"] - table["soups_rloo"]).mean()
    assert claims["value"].iloc[0] == pytest.approx(gap)
    assert (claims["margin"] > 0).all()


def test_one_key_puts_methods_into_the_world_of_thresholds(cross, tmp_path, runs):
    words = ["data=synthetic_thresholds", "methods=[panacea_rloo,panacea_dpo]", "factors=[1]"]
    words += ["data.pairs=100", "data.eval_pairs=64", "data.sft_rows=200"]
    folder = result("table_methods", tmp_path, runs, *words)
    best = pd.read_csv(folder / "exact_front.csv")
    weights = best[["lambda_helpful", "lambda_humorous"]].to_numpy()
    exact = ThresholdWorld.build().exact_front(weights, 0.3)
    np.testing.assert_allclose(best[["gold_helpful", "gold_humorous"]], exact.rewards)
    np.testing.assert_allclose(best["value"], exact.values)
    table = pd.read_csv(folder / "table.csv").set_index("method")
    assert table.index.tolist() == ["panacea_rloo", "panacea_dpo", "sft"]
    assert table.loc[["panacea_rloo", "panacea_dpo"], list(cross.MEASURES)].notna().all(axis=None)
    points = pd.read_csv(folder / "points.csv")
    mine = points[points["method"] == "panacea_rloo"]
    each = weights_of(mine) @ mine[["gold_helpful", "gold_humorous"]].to_numpy().T
    utility = (each - 0.3 * mine["kl"].to_numpy()).max(axis=1).mean()
    assert table.loc["panacea_rloo", "expected_utility"] == pytest.approx(utility)


def weights_of(points):
    """The grid: what a steered method was asked for."""
    return points[["lambda_helpful", "lambda_humorous"]].to_numpy()


def test_the_fronts_are_those_of_the_table_s_policies(fronts, tmp_path, runs):
    folder = result("figure_fronts", tmp_path, runs, "methods=[panacea_rloo,soups_rloo]")
    bold = pd.read_csv(folder / "attained.csv")
    points = pd.read_csv(folder / "points.csv")
    assert set(bold["method"]) == {"panacea_rloo", "soups_rloo"}
    gold = set(zip(points["gold_helpful"], points["gold_harmless"], strict=True))
    assert set(zip(bold["x_value"], bold["y_value"], strict=True)) <= gold, "one seed attains its own points"
    assert (folder / "figure_fronts.png").is_file()


def test_policies_are_asked_between_the_preferences_that_they_were_tuned_at(unseen, tmp_path, runs):
    folder = result("figure_unseen", tmp_path, runs, "methods=[panacea_rloo,soups_rloo]", "fine=0.25")
    rows = pd.read_csv(folder / "following.csv")
    assert rows["method"].tolist() == ["panacea_rloo", "soups_rloo"]
    points = pd.read_csv(folder / "points.csv")
    assert sorted(points["lambda_helpful"].dropna().unique()) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert rows.drop(columns=["paper", "artefact", "scale", "method"]).notna().all(axis=None)
    assert (folder / "figure_unseen.png").is_file()


def test_a_budget_is_a_share_of_the_table_s_updates(budget, tmp_path, runs):
    folder = result("figure_budget", tmp_path, runs, "methods=[panacea_rloo,soups_rloo]", "budgets=[0.5,1]")
    rows = pd.read_csv(folder / "budget.csv").set_index(["method", "budget"])
    for method in ("panacea_rloo", "soups_rloo"):
        assert rows.loc[(method, 1.0), "responses"] == 2 * rows.loc[(method, 0.5), "responses"] > 0
    assert rows.loc[("soups_rloo", 1.0), "responses"] == 2 * rows.loc[("panacea_rloo", 1.0), "responses"]
    assert rows[["expected_utility", "mean_regret"]].notna().all(axis=None)
    assert (folder / "figure_budget.png").is_file()


def test_budgets_that_make_no_sense_are_refused(budget):
    config, methods = budget.STUDY.read(["scale=smoke"])
    assert [label for label, *_ in budget.studies(config)] == [
        *("tuning", "budget 0.25", "budget 0.5", "budget 1", "budget 2")
    ]
    for budgets in ([0.5], [1.0, 1.0], [1.0, 0.0]):
        config.budgets = budgets
        with pytest.raises(UserError, match="distinct numbers above 0 are needed, 1 among them"):
            budget.studies(config)
    config.dpo.steps = None
    with pytest.raises(UserError, match=r"dpo\.steps is empty"):
        budget.with_budget(config, {"soups_dpo": methods["soups_dpo"]}, 0.5)


def test_a_multiplied_reward_is_followed_or_not(scale, tmp_path, runs):
    words = ["methods=[gapo,morlhf_rloo]", "multiplied_by=[4,1]", "factors=[1]", "rloo.lr=0.1"]
    words.append("evaluation.grid_step=0.25")
    folder = result("figure_scale", tmp_path, runs, *words)
    rows = pd.read_csv(folder / "scale.csv")
    assert rows.groupby(["method", "factor"]).size().to_dict() == {
        ("gapo", 1.0): 1,
        ("gapo", 4.0): 1,
        ("morlhf_rloo", 1.0): 5,
        ("morlhf_rloo", 4.0): 5,
    }
    asked = pd.read_csv(folder / "asked.csv", keep_default_na=False).set_index("method")
    assert asked.loc["panacea_dpo", "why_not"] == "learns from labels alone, and hears no reward"
    assert asked["asked"].sum() == 2
    moved = pd.read_csv(folder / "movement.csv").set_index("method")["movement"]
    wide = rows.set_index(["method", "lambda_helpful", "factor"])[["gain_helpful", "gain_harmless"]]
    apart = np.linalg.norm(wide.xs(4.0, level="factor") - wide.xs(1.0, level="factor"), axis=1)
    assert moved["gapo"] == pytest.approx(apart[0])
    assert moved["morlhf_rloo"] == pytest.approx(apart[1:].mean())
    assert moved["morlhf_rloo"] > 0
    claims = pd.read_csv(folder / "claims.csv")
    assert set(claims["whose"]) == {"ours"}
    assert len(claims) == 2 + 2
    assert claims["value"].iloc[0] == pytest.approx(moved["gapo"] - moved["morlhf_rloo"])
    change = wide.loc["morlhf_rloo"].groupby("factor").mean().diff().iloc[-1]
    assert claims["value"].iloc[-2:].tolist() == pytest.approx(
        [change["gain_harmless"], change["gain_helpful"]]
    )
    assert (folder / "figure_scale.png").is_file()


def test_all_that_sample_are_asked_at_every_factor_and_no_others(scale):
    config, methods = scale.STUDY.read(["scale=smoke"])
    every = scale.methods_of(2)
    why = {name: scale.answer_of(product) for name, product in every.items()}
    assert [name for name in every if not why[name]] == list(methods)
    assert {"gapo", "morlhf_gdpo", "safe_rlhf", "panacea_ppo", "mod_rloo"} <= set(methods)
    labels = {name for name, said in why.items() if "labels alone" in said}
    assert labels == {name for name, each in every.items() if each.objective.name == "dpo"}
    assert all("given responses" in why[name] for name in ("modpo", "ham", "ric", "sca"))
    parts = {label: own for label, own, _ in scale.studies(config)}
    assert list(parts) == ["tuning", "x 0.125", "x 1", "x 8"]
    assert parts["x 1"] == scale.from_one_start(config), "at factor 1 the very study of the table"
    for section in ("ppo", "grpo", "rloo"):
        assert getattr(parts["x 8"], section).reward_scale == {"harmless": 8.0}
        assert getattr(config, section).reward_scale == {}
    config.multiplied_by = [2.0, 8.0]
    with pytest.raises(
        UserError, match=r"multiplied_by=\[2.0, 8.0\]: two or more different numbers above 0, 1 among"
    ):
        scale.studies(config)
    config.multiplied_by = [1.0, 8.0]
    with pytest.raises(UserError, match="methods=modpo: none of them hears a reward that can be multiplied"):
        scale.main(config, None, {"modpo": every["modpo"]})


def test_a_fine_grid_holds_the_coarse_one(unseen):
    config, _ = unseen.STUDY.read(["scale=smoke"])
    for fine in (0.3, config.evaluation.grid_step):
        config.fine = fine
        with pytest.raises(UserError, match="a whole number of steps, two or more"):
            unseen.main(config, None)


def test_jumps_and_rises_of_a_reward_along_its_weight(unseen):
    at = np.linspace(0, 1, 5)
    weights = np.stack([at, 1 - at], axis=1)
    assert unseen.largest_jump(weights, weights) == pytest.approx(0.25 * np.sqrt(2))
    step = np.where(at > 0.6, 1.0, 0.0)
    assert unseen.largest_jump(weights, np.stack([step, 1 - step], axis=1)) == pytest.approx(np.sqrt(2))
    assert unseen.rising(weights, weights) == 1.0
    assert unseen.rising(weights, -weights) == 0.0
    assert unseen.rising(weights, np.zeros_like(weights)) == 0.5
    # 6 of the 10 pairs lie on two sides of the step, the others tie.
    assert unseen.rising(weights, np.stack([step, 1 - step], axis=1)) == pytest.approx(0.8)


def test_any_preference_is_asked_of_policies_that_hear_one(unseen):
    assert {"panacea_ppo", "prompted_dpo", "soups_dpo", "mod_rloo"} <= set(unseen.METHODS)
    assert not {"gapo", "morlhf_ppo", "ham", "epo"} & set(unseen.METHODS)


def test_a_panel_is_for_what_its_methods_learn_from(fronts, config):
    front = SimpleNamespace(config=config, methods=fronts.METHODS)
    panels = fronts.panels_of(front, {"morlhf_gdpo", "modpo"})
    sampled = fronts.PANELS["prompts"]
    assert list(panels) == [*fronts.PANELS.values(), fronts.FOR_ALL]
    assert sorted(name for names in panels.values() for name in names) == sorted(fronts.METHODS)
    assert panels[sampled] == ["morlhf_gdpo"]
    for name, words in (
        ("modpo", fronts.PANELS["pairs"]),
        ("dpo_heads", fronts.PANELS["pairs"]),
        ("gapo", fronts.FOR_ALL),
        ("ham", fronts.PANELS["sequences"]),
    ):
        assert name in panels[words]


def test_half_of_the_seeds_attain_the_bold_front(fronts):
    rows = [
        {"method": "one", "seed": seed, "gold_a": a, "gold_b": b}
        for seed, values in enumerate([[(0, 2), (2, 0), (0, 0)], [(1, 1)], [(0, 3), (3, 0)]])
        for a, b in values
    ]
    bold = fronts.attained(pd.DataFrame(rows), ["one"], ["a", "b"])
    assert bold[["x", "y"]].drop_duplicates().to_numpy().tolist() == [["a", "b"]]
    assert bold[["x_value", "y_value"]].to_numpy().tolist() == [[0, 2], [2, 0]]


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
        # 4 of a and 2 of b are one unit each: along the preference, at 45 degrees to it, away from it, and at a corner.
        [(0.5, 0.5, 5.0, 3.0), (0.5, 0.5, 5.0, 1.0), (0.5, 0.5, -3.0, -1.0), (1.0, 0.0, 1.0, -1.0)],
        columns=["lambda_a", "lambda_b", "gold_a", "gold_b"],
    )
    assert [cross.angle(study, gained.iloc[[i]], 0) for i in range(3)] == pytest.approx(
        [0.0, 45.0, 180.0], abs=1e-4
    )
    assert cross.angle(study, gained, 0) == pytest.approx(75.0)
    assert cross.angle(study, gained.assign(gold_a=1.0, gold_b=1.0), 0) == 90.0
    assert np.isnan(cross.angle(study, gained.assign(lambda_a=np.nan, lambda_b=np.nan), 0))
    assert np.isnan(cross.angle(study, gained.iloc[3:], 0)), "no preference without a zero"


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


def test_two_scales_are_laid_side_by_side(tmp_path):
    made = SCRIPT.parents[2] / "results" / "panacea" / "figure5" / "tiny"
    for name in ("tiny", "laptop-helpsteer2"):
        shutil.copytree(made, tmp_path / "panacea" / "figure5" / name)
    file = tmp_path / "panacea" / "figure5" / "laptop-helpsteer2" / "claims.csv"
    claims = pd.read_csv(file)
    sure = claims["verdict"].isin(["holds", "fails"])
    drawn = claims[sure].drop(columns=["p", "verdict_holm", "seeds"]).assign(draws=200)
    drawn["verdict"] = drawn["verdict"].map({"holds": "fails", "fails": "holds"})
    drawn.iloc[:1].to_csv(file.with_name("over_prompts.csv"), index=False)
    done = forked.run(SCRIPT.with_name("transfer.py"), [f"results_dir={tmp_path}"], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "cross" / "transfer" / "tiny"
    compared = pd.read_csv(folder / "claims_compared.csv")
    assert len(compared) == len(claims)
    counts = compared["together"].value_counts().to_dict()
    noise = (claims["verdict"] == "within noise").sum()
    assert counts == {"unknown": noise, "agree": len(claims) - noise - 1, "disagree": 1}
    assert compared.set_index("together").loc["disagree", "other_over"] == "prompts"
    (row,) = pd.read_csv(folder / "orders.csv").to_dict("records")
    assert row["tau"] == 1 == row["highest"] > row["lowest"]


def test_without_both_scales_there_is_nothing_to_compare(tmp_path):
    done = forked.run(SCRIPT.with_name("transfer.py"), [f"results_dir={tmp_path}"], folder=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {tmp_path}: no artefact has results of both tiny and laptop\n",
    )
