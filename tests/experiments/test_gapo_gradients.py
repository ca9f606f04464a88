"""GAPO's looks at gradients: probe, progress and balance from end to end at their smallest scale."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.gradients import Look
from lightning_moa.pareto import min_norm_weights
from lightning_moa.reporting.plots import save_figure
from lightning_moa.study.planning import plan_study
from tests.conftest import REPOSITORY

SCRIPTS = REPOSITORY / "experiments" / "gapo"
FIGURES = ("figure_balance", "figure_progress", "figure_probe", "figure_convergence")
# Two layers, so that the last one is not all; so few updates that policies hardly leave the start.
QUICK = ["model.layers=2", "sft.steps=4", "reward_model.steps=2", "ppo.steps=2", "ppo.batch_size=8"]
WORLD = ["data.pairs=64", "data.sft_rows=256", "ppo.max_new_tokens=8"]
WORLD += ["evaluation.max_new_tokens=8", "evaluation.prompts=32"]
POWER = {"mgda": 0, "gapo_p1": 1, "gapo_p2": 2}


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configure(module, root: Path, *words: str) -> StudyConfig:
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    words = ["scale=smoke", "workers=1", "code_in_key=false", *folders, *QUICK, *words]
    return module.STUDY.read(words)[0]


def start(name: str, root: Path, *words: str) -> tuple[Path, str]:
    """The folder that a start leaves, without the PDF that takes as long as the PNG, and what it prints."""
    module, shown = load(name), io.StringIO()
    module.save_figure = lambda figure, png, pdf: save_figure(figure, png)
    config = configure(module, root, *words)
    module.main(config, Console(file=shown, width=200))
    scale = "smoke" if config.data.name == "synthetic" else f"smoke-{config.data.name}"
    return root / "results" / "gapo" / name / scale, shown.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("gapo")


@pytest.fixture(scope="module")
def folders(root):
    """All three, two objectives with a known front; what each printed."""
    return {name: start(name, root, *WORLD) for name in FIGURES}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three objectives of text without gold rewards."""
    root = tmp_path_factory.mktemp("text")
    rows = [
        {"prompt": f"What is {i}?", "response_0": f"It is {i}.", "response_1": f"Ask another, {i}"}
        | {"good": i % 2, "kind": (i // 2) % 2}
        for i in range(40)
    ]
    file = root / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    labels = ["data.labels.good=good", "data.labels.kind=kind", "data.labels.concise=shorter"]
    return {name: start(name, root, "data=pairs", f"data.path={file}", *labels)[0] for name in FIGURES}


def table(folders, figure, name):
    folder = folders[figure]
    return pd.read_csv((folder[0] if isinstance(folder, tuple) else folder) / name)


def claim(folders, figure, start_of_claim):
    claims = table(folders, figure, "claims.csv")
    (row,) = claims[claims["claim"].str.startswith(start_of_claim)].to_dict("records")
    return row


@pytest.mark.parametrize("figure", FIGURES)
def test_every_file_is_left(folders, figure):
    folder, shown = folders[figure]
    own = {
        "figure_balance": {"balance.csv", "weights.csv", "fixed.csv"},
        "figure_progress": {"progress.csv"},
        "figure_convergence": {"convergence.csv"},
        "figure_probe": {"probe.csv", "ends.csv"},
    }[figure]
    tables = {
        "points.csv",
        "metrics.csv",
        "claims.csv",
        "costs.csv",
        "timings.csv",
        "reward_models.csv",
        "exact_front.csv",
        "run.yaml",
    }
    assert {path.name for path in folder.iterdir()} == tables | own | {f"{figure}.png"}
    assert set(table(folders, figure, "claims.csv")["verdict"]) == {"one seed"}
    assert "picture:" in shown


def test_balance_leaves_the_runs_that_progress_needs_and_probe_adds_its_probes(folders):
    assert "runs to do" not in folders["figure_progress"][1]
    # Six policies and their measurements.
    assert "12 runs to do" in folders["figure_probe"][1]


def test_convergence_is_of_the_gradients_as_they_are_in_all_parameters(folders):
    seen = table(folders, "figure_convergence", "convergence.csv")
    assert "runs to do" not in folders["figure_convergence"][1]
    assert set(seen["probe"]) == {"all"}
    assert seen["share"].between(0, 1).all()
    # MGDA's own direction is the shortest mixture, wherever it probes; in all parameters it can't be longer.
    progress = table(folders, "figure_progress", "progress.csv")
    own = (
        progress[(progress["place"] == "all") & (progress["method"] == "mgda")]
        .groupby("step")["length"]
        .first()
    )
    mine = seen[seen["method"] == "mgda"].set_index("step")["shortest"]
    assert (mine[own.index] <= own * (1 + 1e-5)).all()


def test_convergence_can_hold_and_can_fail():
    module = load("figure_convergence")
    for factor, verdict in ((0.5, "holds"), (2.0, "fails")):
        gramian = np.array([[1.0, 0.2], [0.2, 1.0]])
        looks = [
            look_at(method, seed, step, gramian * (factor * (1 + 1e-3 * seed)) ** step)
            for method in module.METHODS
            for seed in range(3)
            for step in range(3)
        ]
        rows = module.judge_claims(module.measured(looks))
        lengths = [row for row in rows if "mean shortest" in row["statistic"]]
        assert {row["verdict"] for row in lengths} == {verdict}
        assert lengths[0]["value"] == pytest.approx(np.log(factor), abs=2e-3)


def test_looks_at_one_update_are_too_few():
    module = load("figure_convergence")
    with pytest.raises(UserError, match="fewer than two looks"):
        module.measured([look_at("mgda", 0, 0, np.eye(2))])


def look_at(method, seed, step, gramian):
    m = len(gramian)
    return Look(method, seed, 0, step, "all", np.full(m, 1 / m), gramian, np.ones(m), 1.0)


def test_probe_weights_are_the_methods_own_answer(folders):
    """The recorded Gramian, solved here again, gives the weights that the run was trained with."""
    seen = table(folders, "figure_probe", "probe.csv")
    own = seen[seen["probe"] == "last_layer"]
    names = ["helpful", "harmless"]
    weights, used = (own[[f"{what}_{name}" for name in names]].to_numpy() for what in ("weight", "used"))
    np.testing.assert_allclose(weights, used, rtol=1e-6)
    np.testing.assert_allclose(seen["cosine"], seen["cosine_helpful_harmless"])
    np.testing.assert_allclose(seen[seen["probe"] == "all"]["direction"], 1)
    assert (seen.groupby(["method", "seed", "step"])["probe"].nunique() == 3).all()
    # With two layers the last one sees something else than all parameters.
    assert seen.groupby(["method", "step"])["cosine"].nunique().min() == 3


def test_probe_weights_and_directions_from_gramians():
    module = load("figure_probe")
    vectors = np.random.default_rng(1).normal(size=(3, 9))
    mine, others = np.array([0.2, 0.3, 0.5]), np.array([0.0, 1.0, 0.0])
    one, other = mine @ vectors, others @ vectors
    expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert module.alignment(mine, others, vectors @ vectors.T) == pytest.approx(expected)
    assert np.isnan(module.alignment(mine, np.zeros(3), vectors @ vectors.T))


def test_probe_claims_follow_from_the_tables(folders):
    seen, ends = (table(folders, "figure_probe", name) for name in ("probe.csv", "ends.csv"))
    rows = seen[seen["method"] == "gapo_p2"].set_index(["probe", "step"])
    weights = rows["weight_helpful"]
    off = (weights["activations"] - weights["last_layer"]).abs().max()
    found = claim(
        folders, "figure_probe", "GAPO, p = 2: the last layer and activations agree in their weights"
    )
    assert found["value"] == pytest.approx(off)
    least = rows.loc["last_layer"]["direction"].min()
    found = claim(folders, "figure_probe", "GAPO, p = 2: weights from the last layer point")
    assert found["value"] == pytest.approx(least)
    ends = ends[ends["method"] == "mgda"].set_index("probe")
    way = ends[["gain_helpful", "gain_harmless"]]
    apart = np.linalg.norm(way.loc["all"] - way.loc["last_layer"])
    assert ends.loc["all", "distance"] == pytest.approx(apart)
    assert ends.loc["last_layer", "distance"] == 0
    found = claim(folders, "figure_probe", "MGDA: the last layer and all parameters end level in helpful")
    assert found["value"] == pytest.approx(way["gain_helpful"]["all"] - way["gain_helpful"]["last_layer"])


def test_the_paper_probe_is_the_other_scripts_run(tmp_path):
    probe, progress = load("figure_probe"), load("figure_progress")
    plans = []
    for module in (probe, progress):
        ((_, config, _),) = module.studies(configure(module, tmp_path))
        plans.append(plan_study(config, module.METHODS).seeds[0].policies)
    for name in POWER:
        assert [task.key for task in plans[0][name]] == [task.key for task in plans[1][name]]
    keys = {task.key for tasks in plans[0].values() for task in tasks}
    assert len(keys) == 9


def test_each_probe_has_the_methods_settings_where_some_are_asked_for_too():
    module = load("figure_probe")
    words = ["methods.mgda.lr=0.5", "methods.mgda.steps=7", "methods.mgda_all.lr=0.25"]
    config, methods = module.STUDY.read(["scale=smoke", "methods=[mgda,mgda_activations,mgda_all]", *words])
    ((_, config, _),) = module.STUDY.parts_of(config, methods)
    assert config.methods["mgda_activations"] == config.methods["mgda"]
    assert [(each.lr, each.steps) for each in config.methods.values()] == [(0.5, 7), (0.25, 7), (0.5, 7)]


@pytest.mark.parametrize("method", POWER)
def test_the_theorems_hold_where_they_are_algebra(folders, three, method):
    for each in (folders, three):
        progress = table(each, "figure_progress", "progress.csv")
        mine = progress[(progress["method"] == method) & (progress["place"] == "probed")]
        assert len(mine)
        for _, rows in mine.groupby(["seed", "step"]):
            # <g_i, d> = ||d||^2 ||g_i||^p for every objective with a weight; more for the others.
            law = rows["length"] ** 2 * rows["norm"] ** POWER[method]
            np.testing.assert_allclose(rows["theorem"], law, rtol=1e-5)
            active = rows["weight"] > 0
            np.testing.assert_allclose(rows["progress"][active], law[active], rtol=1e-4)
            assert (rows["progress"][~active] >= law[~active] * (1 - 1e-4)).all()


def test_progress_statistics_on_gradients_of_known_algebra():
    module = load("figure_progress")

    def rows(step, place, progress, norms):
        table = {"objective": ["a", "b"], "weight": 0.5, "norm": norms, "progress": progress, "length": 1.0}
        return pd.DataFrame(table).assign(method="gapo_p2", seed=0, step=step, place=place)

    frame = pd.concat(
        [
            rows(0, "step", (1.0, 8.0), (1, 2)),
            rows(1, "step", (8.0, 1.0), (2, 1)),
            rows(2, "step", (-1.0, 1.0), (2, 1)),
            rows(3, "step", (-1e-9, 1.0), (2, 1)),
        ]
    )
    assert module.slope(frame, "gapo_p2", "step") == {0: pytest.approx(3.0)}
    assert module.improving(frame, "gapo_p2", "step") == {0: 0.75}
    assert module.slope(frame, "gapo_p2", "all") == {}
    # The least of each look: 1, 1, -1 / 2 and -0.
    least = {
        quantile: module.least_progress(frame, "gapo_p2", "step", quantile)[0] for quantile in (0, 0.5, 1)
    }
    assert least == {0: -0.5, 0.5: pytest.approx(0.5), 1: 1.0}


def test_a_step_that_was_not_taken_is_not_measured(folders):
    progress = table(folders, "figure_progress", "progress.csv")
    # Looks before updates 0 and 2; the first has no learning rate yet.
    assert progress["step"].unique().tolist() == [2]
    assert set(progress["place"]) == {"probed", "all", "step"}
    assert progress[progress["method"] == "linear"]["theorem"].isna().all()


def test_fixed_weights_are_the_mean_of_each_runs_own(folders):
    weights, apart = (table(folders, "figure_balance", name) for name in ("weights.csv", "fixed.csv"))
    np.testing.assert_allclose(apart.filter(like="share_").sum(axis=1), 1)
    for row in apart.to_dict("records"):
        mine = weights[(weights["method"] == row["method"]) & (weights["seed"] == row["seed"])]
        assert row["share_helpful"] == pytest.approx(mine["share_helpful"].mean())
    p1 = weights[weights["method"] == "gapo_p1"]
    # With two objectives p = 1 is the inverse norms whatever the gradients.
    inverse = p1["norm_harmless"] / (p1["norm_helpful"] + p1["norm_harmless"])
    np.testing.assert_allclose(p1["share_helpful"], inverse, rtol=1e-6)


def test_fixed_runs_are_linear_scalarisation_at_those_weights(folders, root):
    """Asked of the runs themselves: their records hold the settings that they were trained with."""
    apart = table(folders, "figure_balance", "fixed.csv")
    specs = [json.loads(path.read_text()) for path in (root / "runs").glob("align-*/task.json")]
    trained = [spec.get("spec", spec).get("at") for spec in specs]
    for share in apart["share_helpful"]:
        assert any(at is not None and at[0] == pytest.approx(share, abs=1e-12) for at in trained)


def test_gains_are_over_the_reference_in_the_exact_range(folders):
    points = table(folders, "figure_balance", "points.csv").set_index("method")
    front = table(folders, "figure_balance", "exact_front.csv")
    ends = table(folders, "figure_balance", "balance.csv").set_index("method")
    assert set(ends.index) == set(points.index) - {"sft"}
    assert len(ends) == 8
    corners = front[(front["lambda_helpful"] == 0) | (front["lambda_helpful"] == 1)]
    unit = corners["gold_helpful"].max() - corners["gold_helpful"].min()
    for method in ends.index:
        gain = (points.loc[method, "gold_helpful"] - points.loc["sft", "gold_helpful"]) / unit
        assert ends.loc[method, "gain_helpful"] == pytest.approx(gain)
    least = ends[["gain_helpful", "gain_harmless"]].min(axis=1)
    found = claim(folders, "figure_balance", "GAPO, p = 1 has a larger least gain than Safe RLHF")
    assert found["value"] == pytest.approx(least["gapo_p1"] - least["safe_rlhf"])


def test_three_objectives_without_gold_rewards(three):
    for figure in FIGURES:
        points = table(three, figure, "points.csv")
        assert points.filter(like="gold_").isna().all(axis=None)
        assert points.filter(like="reward_").notna().all(axis=None)
        assert (three[figure] / f"{figure}.png").stat().st_size > 10_000
    seen = table(three, "figure_probe", "probe.csv")
    pairs = ["cosine_good_kind", "cosine_good_concise", "cosine_kind_concise"]
    np.testing.assert_allclose(seen["cosine"], seen[pairs].mean(axis=1))
    weights = table(three, "figure_balance", "weights.csv")
    np.testing.assert_allclose(weights.filter(like="share_").sum(axis=1), 1)


def test_weights_of_three_objectives_solve_the_min_norm_problem(three):
    """From norms and cosines in the tables alone, without the package's aggregation."""
    seen = table(three, "figure_probe", "probe.csv")
    mine = seen[(seen["method"] == "gapo_p1") & (seen["probe"] == "activations")]
    for row in mine.to_dict("records"):
        a, b, c = (row[f"cosine_{name}"] for name in ("good_kind", "good_concise", "kind_concise"))
        alpha = min_norm_weights([[1, a, b], [a, 1, c], [b, c, 1]])
        given = np.array([row[f"weight_{name}"] for name in ("good", "kind", "concise")])
        # alpha_i = weight_i ||g_i||: the same objectives are left out.
        assert ((alpha > 0) == (given > 0)).all()


def test_unwatched_methods_are_refused_with_the_key_that_watches_them(folders, root):
    with pytest.raises(UserError, match=r"methods\.gapo_p2\.watch=0: .* 1 or more is needed"):
        start("figure_progress", root, *WORLD, "methods.gapo_p2.watch=0", "replace=true")


def test_looks_at_nothing_but_the_first_update_are_too_few():
    module = load("figure_progress")
    still = Look("mgda", 0, 0, 0, "all", np.ones(2), np.eye(2), np.zeros(2), 0.0)
    with pytest.raises(UserError, match="no look was at an update with a step"):
        module.measured([still], ("a", "b"), "all")
