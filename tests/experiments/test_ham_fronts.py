"""HaM's Figures 3 to 7 from end to end at their smallest scale."""

from __future__ import annotations

import importlib.util
import io
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from lightning_moa import pareto
from lightning_moa.errors import UserError
from lightning_moa.figures.panels import ShownConfig, settings_of
from lightning_moa.reporting.schema import CLAIMS, COSTS, METRICS, POINTS, TIMINGS
from lightning_moa.study.planning import plan_study
from lightning_moa.task_files import DONE
from tests.conftest import REPOSITORY

SCRIPTS = REPOSITORY / "experiments" / "ham"
SAMPLED = ["evaluation.prompts=24", "evaluation.max_new_tokens=4", "evaluation.grid_step=0.5"]
QUICK = ["sft.steps=4", "likelihood.steps=2", "likelihood.rows=60", "online.rounds=1", "online.steps=1"]
TABLES = {"points.csv", "metrics.csv", "costs.csv", "timings.csv", "run.yaml", "exact_front.csv"}
OWN = {"clusters.csv", "dominations.csv", "heads.csv"}
BASELINES = ("ric", "sca")
LABELS = {"ham": "HaM", "ric": "RiC", "sca": "SCA"}
CROSSING = ("of HaM, RiC and SCA none dominates another", list(permutations(LABELS, 2)), False)
WORDS = {"a": "small model, offline", "b": "large model, offline", "c": "small model, online"}


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configure(name: str, root: Path, *words: str, scale: str = "smoke") -> ShownConfig:
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    words = [f"scale={scale}", "workers=1", "code_in_key=false", *folders, *words]
    return load(name).STUDY.read(words)[0]


def start(name: str, root: Path, *words: str) -> Path:
    """The folder that a start leaves."""
    config = configure(name, root, *SAMPLED, *QUICK, *words)
    load(name).main(config, Console(file=io.StringIO(), width=200))
    (folder,) = (root / "results" / "ham" / name).iterdir()
    return folder


def runs_of(root: Path) -> dict[str, int]:
    """Key of each finished run -> when it was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (root / "runs").glob(f"*/{DONE}")}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def values_in(claims: pd.DataFrame, *words: str) -> list[float]:
    """The values of the claims that have all the words."""
    return claims[[all(word in text for word in words) for text in claims["claim"]]]["value"].tolist()


@pytest.fixture(scope="module")
def figure3(tmp_path_factory):
    return start("figure3", tmp_path_factory.mktemp("figure3"))


@pytest.fixture(scope="module")
def figure5(tmp_path_factory):
    return start("figure5", tmp_path_factory.mktemp("figure5"))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Folders of figures 6 and 7, and the runs that there were before and after figure 7."""
    root = tmp_path_factory.mktemp("three")
    surfaces = start("figure6", root)
    before = runs_of(root)
    return surfaces, start("figure7", root), before, runs_of(root)


def over(winner: str, loser: str) -> tuple[str, list[tuple[str, str]], bool]:
    return f"{LABELS[winner]} dominates {LABELS[loser]}", [(winner, loser)], True


def check_claims(folder: Path, objectives: tuple[str, ...], statements: dict, highest: dict) -> None:
    """Every claim of a front figure, worked out again from the CSVs alone."""
    claims, number = CLAIMS.read(folder / "claims.csv"), 0
    gold = [f"gold_{name}" for name in objectives]
    for letter, words in WORDS.items():
        part = folder / letter
        assert names(part) == TABLES | OWN
        points, clusters = POINTS.read(part / "points.csv"), pd.read_csv(part / "clusters.csv")
        metrics = METRICS.read(part / "metrics.csv").set_index(["method", "space"])["hypervolume"]
        TIMINGS.read(part / "timings.csv")
        assert set(clusters["method"]) == set(LABELS)
        assert set(clusters["cluster"]) == {0, 1, 2}
        fronts = {name: rows[gold].to_numpy() for name, rows in clusters.groupby("method")}
        for text, pairs, holds in statements[letter]:
            mine = claims[claims["claim"] == f"{words}: {text}"]
            assert mine["where"].tolist() == [f"Figure {folder.parent.name[-1]}{letter}"]
            # A front and all its points need the same lift. Of several pairs one stands for all.
            lifts = [pareto.additive_epsilon(fronts[winner], fronts[loser]) for winner, loser in pairs]
            assert mine["value"].item() == pytest.approx(max(lifts) if holds else min(lifts))
            assert mine["statistic"].item().endswith(f"{'<=' if holds else '>'} bound")
        for name in highest.get(letter, ()):
            best = clusters.groupby("method")[f"gold_{name}"].max()
            (value,) = values_in(claims, words, "highest", name)
            assert value == pytest.approx(best["ham"] - best[list(BASELINES)].max())
        for other in BASELINES:
            (value,) = values_in(claims, words, f"spans more than {LABELS[other]}")
            assert value == pytest.approx(metrics["ham", "gold"] - metrics[other, "gold"])
        heads = pd.read_csv(part / "heads.csv")
        assert heads["head"].tolist() == list(range(5))
        values = heads.filter(like="loglik_").to_numpy()
        apart = [[(one - other).max() for other in np.delete(values, k, 0)] for k, one in enumerate(values)]
        assert values_in(claims, words, "heads") == [pytest.approx(np.min(apart))]
        trained = POINTS.read(part / "points.csv").groupby("method").size()
        assert trained.to_dict() == {"ham": 5, "ric": len_of(objectives), "sca": len_of(objectives), "sft": 1}
        costs = COSTS.read(part / "costs.csv").set_index("method")
        assert costs["trained_models"].to_dict() == {"ham": 1, "ric": 1, "sca": len_of(objectives)}
        number += len(statements[letter]) + len(highest.get(letter, ())) + 3
        # Each policy's mean over its clusters, weighted by their prompts, is its mean over all prompts.
        weighted = clusters[gold].mul(clusters["n"], axis=0).groupby(clusters["method"]).sum()
        counts = clusters.groupby("method")["n"].sum()
        means = points.groupby("method")[gold].mean()
        np.testing.assert_allclose(weighted.loc["ham"] / counts["ham"], means.loc["ham"])
    lifts = [pd.read_csv(folder / letter / "dominations.csv") for letter in WORDS]
    mean = pd.concat(lifts).groupby("winner")["epsilon"].mean()
    best = values_in(claims, "nearest to dominating")
    assert best == [pytest.approx(mean["ham"] - mean[["ric", "sca"]].min())] * len(best)
    assert len(claims) == number + len(best)


def len_of(objectives: tuple[str, ...]) -> int:
    """The paper's preferences for so many objectives."""
    return {2: 5, 3: 10}[len(objectives)]


def test_figure_3_judges_the_papers_statements(figure3):
    pictures = {"figure3.png", "figure3.pdf"}
    assert names(figure3) == {"a", "b", "c", "claims.csv", "sensitivity.csv", *pictures}
    statements = {
        "a": [over("ham", "ric"), over("ric", "sca")],
        "b": [over("ham", "sca"), ("HaM doesn't dominate RiC", [("ham", "ric")], False)],
        "c": [CROSSING],
    }
    highest = {letter: ["helpful"] for letter in "abc"}
    check_claims(figure3, ("harmless", "helpful"), statements, highest)


def test_panels_are_studies_of_their_own_models_and_phases(figure3):
    records = {letter: yaml.safe_load((figure3 / letter / "run.yaml").read_text()) for letter in "abc"}
    widths = {letter: each["config"]["model"]["hidden_size"] for letter, each in records.items()}
    rounds = {letter: each["config"]["online"]["rounds"] for letter, each in records.items()}
    assert widths == {"a": 16, "b": 24, "c": 16}
    assert rounds == {"a": 0, "b": 0, "c": 1}


def test_one_panel_alone_has_a_folder_and_claims_of_its_own(figure3):
    root = figure3.parents[3]
    before = runs_of(root)
    config = configure("figure3", root, *SAMPLED, *QUICK, "panels=[a]")
    load("figure3").main(config, Console(file=io.StringIO(), width=200))
    alone = figure3.with_name("smoke-a")
    assert runs_of(root) == before
    assert names(alone) == {"a", "claims.csv", "sensitivity.csv", "figure3.png", "figure3.pdf"}
    assert names(alone / "a") == names(figure3 / "a")
    mine, all_of = (CLAIMS.read(folder / "claims.csv") for folder in (alone, figure3))
    theirs = all_of[all_of["claim"].str.startswith(WORDS["a"])]
    assert mine["claim"].tolist() == theirs["claim"].tolist()
    assert mine["value"].tolist() == pytest.approx(theirs["value"].tolist())
    assert set(pd.read_csv(alone / "a" / "points.csv")["scale"]) == {"smoke-a"}


def test_clusters_are_the_same_for_all_methods(figure3):
    clusters = pd.read_csv(figure3 / "a" / "clusters.csv")
    sizes = clusters.groupby("cluster")["n"].agg(["min", "max"])
    assert (sizes["min"] == sizes["max"]).all()
    assert sizes["min"].sum() == 24
    wins = pd.read_csv(figure3 / "a" / "dominations.csv")
    assert len(wins) == 6
    # Domination needs a front that no lift is needed for.
    assert (wins["dominates"] <= (wins["epsilon"] <= 0)).all()


def test_figure_5_is_about_summaries(figure5):
    assert figure5.name == "smoke"
    dominated = [over("ham", "ric"), over("sca", "ric")]
    statements = {"a": dominated, "b": dominated, "c": [over("ham", "sca")]}
    highest = {"a": ["hallucination"], "b": ["hallucination", "faithful"], "c": ["faithful"]}
    check_claims(figure5, ("faithful", "hallucination"), statements, highest)


def test_figure_6_has_three_objectives_and_ten_preferences(three):
    surfaces, *_ = three
    ahead = ("HaM dominates RiC and SCA", [("ham", "ric"), ("ham", "sca")], True)
    statements = {"a": [ahead], "b": [CROSSING], "c": [ahead]}
    check_claims(surfaces, ("harmless", "helpful", "humorous"), statements, {})
    assert (surfaces / "figure6.png").stat().st_size > 50_000


def test_figure_7_is_made_of_figure_6s_runs(three):
    surfaces, radar, before, after = three
    assert before == after
    for letter in "abc":
        assert names(radar / letter) == TABLES | OWN | {"front_means.csv"}
        shown, same = (pd.read_csv(folder / letter / "clusters.csv") for folder in (radar, surfaces))
        pd.testing.assert_frame_equal(shown.drop(columns="artefact"), same.drop(columns="artefact"))


def test_figure_7s_claims_follow_from_the_means_of_the_fronts(three):
    _, radar, *_ = three
    claims = CLAIMS.read(radar / "claims.csv").set_index("claim")
    assert len(claims) == 3
    gaps = {other: [] for other in BASELINES}
    gold, units = (
        [f"{kind}_{name}" for name in ("harmless", "helpful", "humorous")] for kind in ("gold", "unit")
    )
    for letter in WORDS:
        clusters = pd.read_csv(radar / letter / "clusters.csv")
        means = pd.read_csv(radar / letter / "front_means.csv").set_index("method")
        expected = clusters[clusters["front"]].groupby("method")[gold].mean()
        np.testing.assert_allclose(means[gold].loc[list(LABELS)], expected.loc[list(LABELS)])
        assert (means[units] > 0).all(axis=None)
        for other, (g, u) in product(BASELINES, zip(gold, units, strict=True)):
            gaps[other].append((means[g]["ham"] - means[g][other]) / means[u]["ham"])
    for other in BASELINES:
        median = claims["value"][f"HaM generally outperforms {LABELS[other]}"]
        assert median == pytest.approx(np.median(gaps[other]))
    comparable = claims.loc["HaM is better than SCA or comparable"]
    assert (comparable["value"], comparable["bound"]) == (pytest.approx(min(gaps["sca"])), -0.1)


def test_units_make_the_radars_claims_blind_to_a_rewards_scale(three):
    module = load("figure7")
    _, radar, *_ = three
    means = pd.read_csv(radar / "a" / "front_means.csv")

    class Of:
        space, objectives = "gold", ("harmless", "helpful", "humorous")

    larger = means.assign(gold_helpful=7 * means["gold_helpful"], unit_helpful=7 * means["unit_helpful"])
    for objective in Of.objectives:
        mine, same = (module.gap(Of, each, "ric", objective) for each in (larger, means))
        assert mine == pytest.approx(same)


@pytest.mark.parametrize("name", ["figure4", "figure5", "figure6"])
def test_every_panel_of_the_tiny_scale_can_be_planned(name, tmp_path):
    module = load(name)
    config = configure(name, tmp_path, scale="tiny")
    for online in (False, True):
        own = settings_of(config, module.OBJECTIVES, large=True, online=online)
        assert plan_study(own, module.STUDY.methods).objectives == module.OBJECTIVES


@pytest.mark.parametrize(("name", "scale"), [("figure5", "smoke"), ("figure6", "smoke"), ("figure6", "tiny")])
def test_rewards_fit_into_every_prompt(name, scale, tmp_path):
    """Else encoding would cut the prompt's beginning, and RiC's alone."""
    from lightning_moa.data import build
    from lightning_moa.data.encoding import EncodingRules, encode
    from lightning_moa.policies import RewardPrompt

    objectives = load(name).OBJECTIVES
    config = configure(name, tmp_path, scale=scale)
    data = build(config.data, objectives)
    m = len(objectives)
    rewards, tokenizer = RewardPrompt(objectives, np.zeros(m), np.ones(m)), data.world_tokenizer()
    tokenizer.add_tokens(rewards.tokens())
    prompts = [
        rewards.insert(prompt, np.full(m, 0.5))
        for prompt in [*data.distinct_prompts("train"), *data.distinct_prompts("eval")]
    ]
    encoded = encode(tokenizer, prompts, None, EncodingRules.of(config.data))
    assert not encoded.changed["prompt cut at its start"]
    assert not encoded.dropped


def test_figure_4_says_the_same_of_all_panels():
    module = load("figure4")
    assert module.DOMINATIONS == {letter: [("ham", ["ric", "sca"], True)] for letter in "abc"}
    assert module.CROSSING == {letter: ("ric", "sca") for letter in "abc"}


def test_a_radar_chart_of_two_objectives_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="a radar chart needs three or more"):
        start("figure7", tmp_path, "objectives=[helpful,humorous]")
    assert not (tmp_path / "runs").exists()
