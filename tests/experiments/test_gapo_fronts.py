"""GAPO's fronts and its multiplied rewards: both scripts from end to end at their smallest scale."""

from __future__ import annotations

import importlib.util
import io
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from lightning_moa.cli import main as moa
from lightning_moa.errors import UserError
from lightning_moa.pareto import additive_epsilon
from lightning_moa.study.planning import plan_study
from lightning_moa.world import World
from tests.conftest import REPOSITORY

SCRIPTS = REPOSITORY / "experiments" / "gapo"
QUICK = ["sft.steps=4", "reward_model.steps=1", "ppo.steps=2", "ppo.batch_size=4", "evaluation.prompts=16"]
TABLES = {"points.csv", "metrics.csv", "costs.csv", "timings.csv", "reward_models.csv", "run.yaml"}
TWO = ("helpful", "harmless")
FEW = ("linear", "mgda", "gapo_p1")
"""As many of the methods as the claims on multiplied rewards need."""


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configure(module, root: Path, *words: str):
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    words = ["scale=smoke", "workers=1", "code_in_key=false", *folders, *QUICK, *words]
    return module.STUDY.read(words)[0]


def start(name: str, root: Path, *words: str, methods: tuple[str, ...] = ()) -> Path:
    """The folder that a start leaves; with `methods`, of a study of these alone."""
    module = load(name)
    config = configure(module, root, *words)
    if methods:
        module.METHODS = {method: module.METHODS[method] for method in methods}
        config.methods = {}
    module.main(config, Console(file=io.StringIO(), width=200))
    (folder,) = (root / "results" / "gapo").glob("*/*")
    return folder


def names(folder):
    return {path.name for path in folder.iterdir()}


def value_of(claims, *words):
    """The value of the one claim that has all the words."""
    mine = claims[[all(word in text for word in words) for text in claims["claim"]]]
    (value,) = mine["value"]
    return value


@pytest.fixture(scope="module")
def pareto(tmp_path_factory):
    # At the smoke study's own rate two updates change no response, and all differences are 0.
    return start("figure_pareto", tmp_path_factory.mktemp("pareto"), "data.eval_pairs=64", "ppo.lr=0.05")


@pytest.fixture(scope="module")
def scale(tmp_path_factory):
    words = ("data.eval_pairs=64", "factors=[1,0.5]")
    words = (*words, "evaluation.draws=8")
    return start("figure_scale", tmp_path_factory.mktemp("scale"), *words, methods=FEW)


@pytest.fixture
def pairs(tmp_path):
    """A file of pairs with two labels."""
    rows = [
        {
            "prompt": f"Tell me about {word}",
            "response_0": f"{word} are fine.",
            "response_1": f"No, {word} are not my business today.",
            "better": i % 2,
            "kinder": (i + 1) % 2,
        }
        for i, word in enumerate(("cats", "dogs", "trains", "gardens", "rivers", "books") * 8)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return ["data=pairs", f"data.path={path}", "data.labels.good=better", "data.labels.kind=kinder"]


# The fronts


def test_fronts_are_compared_at_the_same_preferences(pareto):
    extra = {"claims.csv", "sensitivity.csv", "exact_front.csv", "preferences.csv"}
    extra |= {"figure_pareto.png", "figure_pareto.pdf"}
    assert names(pareto) == TABLES | extra
    points = pd.read_csv(pareto / "points.csv")
    sizes = points.groupby("method").size().to_dict()
    assert sizes == {"pgapo": 4, "morlhf": 4, "rewarded_soups": 4, "gapo_p1": 1, "sft": 1}
    known = points[points["method"].isin(["pgapo", "morlhf", "rewarded_soups"])]
    for _, rows in known.groupby("method"):
        assert sorted(rows["lambda_helpful"].round(9)) == [0.2, 0.4, 0.6, 0.8]
    assert points[points["method"] == "gapo_p1"][["lambda_helpful"]].isna().all(axis=None)


def test_preferences_hold_weighted_reward_and_regret(pareto):
    asked = pd.read_csv(pareto / "preferences.csv")
    weights, keys = [f"lambda_{name}" for name in TWO], ["method", "lambda_helpful"]
    points = pd.read_csv(pareto / "points.csv").set_index(keys)
    gold = points.loc[pd.MultiIndex.from_frame(asked[keys]), [f"gold_{name}" for name in TWO]].to_numpy()
    np.testing.assert_allclose(asked["weighted"], (asked[weights].to_numpy() * gold).sum(axis=1))
    expected = World.build().regret(asked[weights].to_numpy(), gold, asked["kl"].to_numpy(), 0.3, TWO)
    np.testing.assert_allclose(asked["regret"], expected, rtol=1e-9)


def test_the_fronts_claims_follow_from_the_tables(pareto):
    claims, asked = pd.read_csv(pareto / "claims.csv"), pd.read_csv(pareto / "preferences.csv")
    places = asked["lambda_helpful"].round(9)
    wide = asked.assign(place=places).pivot(index="place", columns="method", values=["weighted", "regret"])
    for place, words in ((0.2, "slightly"), (0.4, "above"), (0.6, "above"), (0.8, "slightly")):
        expected = wide["weighted"]["pgapo"][place] - wide["weighted"]["morlhf"][place]
        assert value_of(claims, words, f"at ({place:g}, ") == pytest.approx(expected)
    gap = (wide["regret"]["pgapo"] - wide["regret"]["morlhf"]).to_dict()
    assert value_of(claims, "less regret") == pytest.approx((gap[0.4] + gap[0.6]) / 2)
    assert value_of(claims, "more regret") == pytest.approx((gap[0.2] + gap[0.8]) / 2)
    metrics = pd.read_csv(pareto / "metrics.csv").set_index(["space", "method"])
    volume = metrics["hypervolume"]["gold"]
    assert volume[["pgapo", "morlhf", "rewarded_soups"]].is_unique, "what is compared is alive"
    points, gold = pd.read_csv(pareto / "points.csv"), [f"gold_{name}" for name in TWO]
    for method, title in (("pgapo", "P-GAPO"), ("morlhf", "MORLHF")):
        expected = volume[method] - volume["rewarded_soups"]
        assert value_of(claims, f"{title} spans") == pytest.approx(expected)
        fronts = points.groupby("method")
        mine, theirs = (fronts.get_group(name)[gold].to_numpy() for name in (method, "rewarded_soups"))
        expected = additive_epsilon(mine, theirs)
        assert value_of(claims, f"{title}'s front dominates") == pytest.approx(expected)
        mean = (wide["regret"][method] - wide["regret"]["rewarded_soups"]).mean()
        assert value_of(claims, f"{title} serves") == pytest.approx(mean)
    relations = claims["statistic"].str.extract(r" (\S+) bound$")[0]
    assert relations[:6].tolist() == ["<", ">", ">", "<", "<", ">"]


def test_balanced_is_nearer_to_equal_shares_than_to_one():
    module = load("figure_pareto")
    two = np.array([[0.2, 0.8], [0.4, 0.6], [0.6, 0.4], [0.8, 0.2]])
    assert module.is_balanced(two).tolist() == [False, True, True, False]
    three = np.array([[0.2, 0.2, 0.6], [0.1, 0.1, 0.8], [0.2, 0.4, 0.4]])
    assert module.is_balanced(three).tolist() == [True, False, True]


def test_differences_are_paired_by_seed_and_averaged_over_preferences():
    module = load("figure_pareto")
    rows = [("pgapo", 0, 1.0), ("pgapo", 0, 3.0), ("pgapo", 1, 5.0), ("morlhf", 0, 1.0), ("morlhf", 1, 7.0)]
    asked = pd.DataFrame(rows, columns=["method", "seed", "kl"])
    assert module.difference(asked, "kl", "pgapo", "morlhf") == {0: 1.0, 1: -2.0}


def test_fronts_of_three_objectives(tmp_path):
    three = "objectives=[helpful,harmless,concise]"
    folder = start("figure_pareto", tmp_path, three, "evaluation.grid_step=0.25", "data.eval_pairs=64")
    points = pd.read_csv(folder / "points.csv")
    assert points.groupby("method").size()[["pgapo", "morlhf", "rewarded_soups"]].tolist() == [3, 3, 3]
    claims = pd.read_csv(folder / "claims.csv")
    assert claims["claim"].str.contains("above MORLHF at").sum() == 3
    assert "concise rises with its preference weight" in claims["claim"].tolist()


def test_fronts_of_pairs_are_compared_by_reward(tmp_path, pairs):
    folder = start("figure_pareto", tmp_path, *pairs, "evaluation.grid_step=0.5")
    assert folder.name == "smoke-pairs"
    assert pd.read_csv(folder / "preferences.csv")["regret"].isna().all()
    claims = pd.read_csv(folder / "claims.csv")
    assert not claims["claim"].str.contains("regret").any()
    # Nothing rises along one preference.
    assert not claims["claim"].str.contains("rises with").any()
    assert (folder / "figure_pareto.png").stat().st_size > 10_000


# Multiplied rewards


def test_each_factor_leaves_its_tables(scale):
    claims = {"claims.csv", "over_prompts.csv"}
    assert names(scale) == {"m2", "m3", *claims, "run.yaml", "figure_scale.png", "figure_scale.pdf"}
    claims, over = pd.read_csv(scale / "claims.csv"), pd.read_csv(scale / "over_prompts.csv")
    assert over[["claim", "statistic"]].equals(claims[["claim", "statistic"]])
    assert over["value"].to_numpy() == pytest.approx(claims["value"].to_numpy())
    # Two updates change hardly a response.
    assert (over["ci_low"] <= over["ci_high"]).all()
    assert (over["ci_low"] < over["ci_high"]).any()
    for m in (2, 3):
        assert names(scale / f"m{m}") == {"x0.5", "x1", "scale.csv", "movement.csv"}
        assert names(scale / f"m{m}" / "x0.5") == TABLES | {"exact_front.csv"}
    assert moa(["compare", str(scale / "m2" / "x1"), str(scale / "m2" / "x0.5")]) == 0


def test_factors_are_recorded_and_change_what_is_trained(scale):
    for m, scaled in ((2, "harmless"), (3, "humorous")):
        part = scale / f"m{m}"
        records = {
            factor: yaml.safe_load((part / f"x{factor}" / "run.yaml").read_text()) for factor in ("0.5", "1")
        }
        assert records["0.5"]["config"]["ppo"]["reward_scale"] == {scaled: 0.5}
        assert records["1"]["config"]["ppo"]["reward_scale"] == {}
        rows = pd.read_csv(part / "scale.csv")
        assert rows.groupby("method")["kl"].nunique().max() == 2


def test_gains_are_over_the_sft_model_and_not_multiplied(scale):
    rows = pd.read_csv(scale / "m3" / "scale.csv")
    assert len(rows) == 2 * len(FEW)
    for factor, mine in rows.groupby("factor"):
        points = pd.read_csv(scale / "m3" / f"x{factor:g}" / "points.csv").set_index("method")
        for name in ("helpful", "harmless", "humorous"):
            gold = points[f"gold_{name}"]
            np.testing.assert_array_equal(mine[f"gold_{name}"], gold[mine["method"]])
            np.testing.assert_allclose(mine[f"gain_{name}"], gold[mine["method"]] - gold["sft"])


def test_the_movements_claims_follow_from_the_tables(scale):
    claims = pd.read_csv(scale / "claims.csv")
    assert len(claims) == 2 * (2 + 2 + 4)
    assert set(claims["whose"]) == {"ours"}
    for m, scaled in ((2, "harmless"), (3, "humorous")):
        wide = pd.read_csv(scale / f"m{m}" / "scale.csv").set_index(["method", "factor"])
        change = wide.xs(1, level="factor") - wide.xs(0.5, level="factor")[wide.filter(like="gain_").columns]
        gains = change.filter(like="gain_").astype(float)
        moved = np.sqrt((gains**2).sum(axis=1))
        mine = claims[claims["claim"].str.startswith(f"{m} objectives")]
        others = moved.drop("gapo_p1")
        least = mine[mine["claim"].str.endswith("moves least")]["value"].iloc[0]
        assert least == pytest.approx(moved["gapo_p1"] - others.min())
        # Safe RLHF is not among these few.
        assert value_of(mine, "without thresholds") == pytest.approx(moved["gapo_p1"] - others.min())
        assert value_of(mine, "than MGDA") == pytest.approx(moved["gapo_p1"] - moved["mgda"])
        own = gains.pop(f"gain_{scaled}")
        assert value_of(mine, f"MGDA loses in {scaled}") == pytest.approx(own["mgda"])
        assert value_of(mine, "linear", "loses in the others") == pytest.approx(gains.loc["linear"].mean())


def test_movement_is_the_largest_distance_between_two_factors():
    module = load("figure_scale")
    named = {"paper": "gapo", "artefact": "figure_scale", "scale": "smoke"}
    gains = {0.5: (0, 0), 1.0: (3, 4), 8.0: (-3, 4)}
    rows = [
        {**named, "factor": factor, "method": method, "seed": seed}
        | {
            f"{what}_{name}": value * size * (1 + seed / 100)
            for what in ("gain", "gold")
            for name, value in (("a", a), ("b", b))
        }
        for method, size in (("gapo_p1", 0.5), ("linear", 1), ("mgda", 2), ("gapo_p2", 1), ("safe_rlhf", 3))
        for seed in (0, 1)
        for factor, (a, b) in gains.items()
    ]
    part = module.Part(("a", "b"), "b", "gold", pd.DataFrame(rows), np.zeros(2), None)
    table = module.movement_of(part).set_index(["method", "seed"])
    apart = max(np.hypot(a - c, b - d) for (a, b), (c, d) in combinations(gains.values(), 2))
    assert table["movement"]["linear"].to_dict() == pytest.approx({0: apart, 1: 1.01 * apart})
    assert table["mean_distance"]["mgda", 0] == pytest.approx(2 * (5 + 6) / 2)
    claims = pd.DataFrame(module.judge_claims(part, "reward"))
    assert value_of(claims, "than MGDA") == pytest.approx((0.5 * 6 - 2 * 6) * 1.005)
    assert value_of(claims, "without thresholds") == pytest.approx((0.5 * 6 - 6) * 1.005)
    assert claims["verdict"].tolist()[:6] == ["holds"] * 6
    drifts = claims[claims["claim"].str.contains("linear scalarisation")].set_index("claim")["value"]
    assert drifts.tolist() == pytest.approx([4 * 1.005, -3 * 1.005])
    # With the KL term multiplied too, p = 1 stands still by its weights' very form: nothing to judge.
    still = pd.DataFrame(module.judge_claims(part, "objective"))
    assert still["claim"].tolist() == claims["claim"].tolist()[6:]


def test_factor_1_is_the_study_of_other_scripts(tmp_path):
    module = load("figure_scale")
    config = configure(module, tmp_path, "ppo.reward_scale.harmless=5")
    keys = {
        factor: [task.key for task in plan_study(own, module.METHODS).targets()]
        for factor in (1.0, 2.0)
        for own in [module.settings_for(config, TWO, "harmless", factor)]
    }
    assert keys[1.0] == [task.key for task in plan_study(config, module.METHODS).targets()]
    assert not set(keys[1.0][:5]) & set(keys[2.0][:5])
    doubled = module.settings_for(config, TWO, "harmless", 2.0)
    assert doubled.ppo.reward_scale == {"harmless": 10.0}
    whole = module.settings_for(replace(config, multiplies="objective"), TWO, "harmless", 2.0)
    assert (whole.ppo.reward_scale, whole.ppo.objective_scale) == ({"harmless": 5.0}, {"harmless": 2.0})
    assert {each.watch for each in doubled.methods.values()} == {0}
    assert config.ppo.reward_scale == {"harmless": 5.0}
    assert {each.watch for each in config.methods.values()} == {2}


def test_one_objective_is_added_where_the_world_has_one(tmp_path):
    module = load("figure_scale")

    def studies(*words):
        return module.sets_of(configure(module, tmp_path, *words))

    assert studies() == [TWO, (*TWO, "humorous")]
    three = (*TWO, "concise")
    assert studies("objectives=[helpful,harmless,concise]") == [three, (*three, "humorous")]
    assert len(studies("objectives=[helpful,harmless,concise,humorous]")) == 1
    assert studies("data=pku_saferlhf") == [TWO]


def test_gapo_p1_ignores_the_scale_of_a_whole_objective(tmp_path):
    words = ("data.eval_pairs=64", "factors=[1,8]", "multiplies=objective", "objectives=[helpful,concise]")
    folder = start("figure_scale", tmp_path, *words, methods=FEW)
    assert folder.parent.name == "figure_scale_objective"
    # A run of three updates hardly moves a reward, but the KL shows whether the policies are the same.
    spread = (
        pd.read_csv(folder / "m2" / "scale.csv").groupby("method")["kl"].agg(lambda kl: kl.max() - kl.min())
    )
    # A power of two: nothing but rounding in the gradients' lengths is left.
    assert spread["gapo_p1"] < 1e-7 < spread["linear"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["factors=[2,8]"], r"factors=\[2.0, 8.0\]: two or more different numbers above 0, 1 among them"),
        (["factors=[1]"], "two or more different numbers"),
        (["factors=[1,1,2]"], "two or more different numbers"),
        (["factors=[1,-2]"], "above 0"),
        (["scaled=humorous"], "scaled=humorous: allowed are helpful, harmless"),
    ],
)
def test_factors_and_the_objective_are_checked_before_anything_runs(tmp_path, words, message):
    module = load("figure_scale")
    with pytest.raises(UserError, match=message):
        module.main(configure(module, tmp_path, *words), Console(file=io.StringIO()))
    assert not (tmp_path / "runs").exists()


def test_pairs_are_measured_by_reward_with_their_own_objectives(tmp_path, pairs):
    words = (*pairs, "factors=[1,2]", "scaled=good")
    folder = start("figure_scale", tmp_path, *words, methods=FEW)
    assert {"m2", "claims.csv"} <= names(folder)
    assert "m3" not in names(folder)
    rows = pd.read_csv(folder / "m2" / "scale.csv")
    assert {"reward_good", "reward_kind", "gain_good", "gain_kind"} <= set(rows.columns)
    record = yaml.safe_load((folder / "m2" / "x2" / "run.yaml").read_text())
    assert record["config"]["ppo"]["reward_scale"] == {"good": 2.0}
