"""HaM's Figure 8 and Theorem 1 from end to end at their smallest scale."""

from __future__ import annotations

import importlib.util
import io
import sys
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from scipy.stats import linregress

from lightning_moa import pareto
from lightning_moa.errors import UserError
from lightning_moa.figures.panels import methods_of, settings_of
from lightning_moa.pareto.estimation import batch_errors, hypervolume_bound, smallest_z
from lightning_moa.reporting.schema import CLAIMS, POINTS
from lightning_moa.runs.offline_logps import offline_logps
from lightning_moa.study.planning import plan_study
from tests.conftest import REPOSITORY

SCRIPTS = REPOSITORY / "experiments" / "ham"
GOLD = ["gold_harmless", "gold_helpful"]
SUMMARY_GOLD = ["gold_faithful", "gold_hallucination"]
WORDS = ["numbers=[1,4,8]", "more=[5]", "heads.warm_up=3", "likelihood.lr=0.05"]
TABLES = {"points.csv", "metrics.csv", "costs.csv", "timings.csv", "exact_front.csv", "run.yaml"}


def load(name):
    spec = importlib.util.spec_from_file_location(f"ham_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FIGURE, THEOREM = load("figure8"), load("theorem1")


def configure(module, root: Path, *words: str):
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    words = ["scale=smoke", "workers=1", "code_in_key=false", *folders, *words]
    return module.STUDY.read(words)[0]


def start(module, root: Path, *words: str) -> tuple[Path, str]:
    """The folder that a start leaves, and what it showed."""
    shown = io.StringIO()
    module.main(configure(module, root, *words), Console(file=shown, width=200))
    return root / "results" / "ham" / Path(module.__file__).stem / "smoke", shown.getvalue()


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("ham")


@pytest.fixture(scope="module")
def figure(root):
    return start(FIGURE, root, *WORDS, "evaluation.draws=8")


@pytest.fixture(scope="module")
def theorem(root):
    return start(THEOREM, root, "batches=[8,64]", "draws=60", "delta=0.1")


def claims_of(folder):
    return CLAIMS.read(folder / "claims.csv").set_index("claim")


def points_of(folder, part):
    return pd.read_csv(folder / part / "clusters.csv")


def test_figure8_leaves_every_file(figure):
    folder, shown = figure
    claims = {"claims.csv", "over_prompts.csv", "sensitivity.csv"}
    assert names(folder) == {"a", "b", "c", *claims, "figure8.png", "figure8.pdf"}
    for part in "ab":
        assert names(folder / part) == TABLES | {"clusters.csv"}
    assert names(folder / "c") == TABLES | {"clusters.csv", "growth.csv"}
    assert "what comes of K" in shown
    policies = POINTS.read(folder / "c" / "points.csv").groupby("method")["policy"].nunique()
    assert policies.to_dict() == {"ham_k1": 1, "ham_k4": 4, "ham_k5": 5, "ham_k8": 8, "sft": 1}


def test_figure8_of_one_seed_says_what_its_prompts_say(figure):
    folder, _ = figure
    claims, over = claims_of(folder), pd.read_csv(folder / "over_prompts.csv").set_index("claim")
    # The likelihoods of heads are of rows that nobody drew.
    assert [*over.index] == [name for name in claims.index if "not dominated" not in name]
    assert over["value"].to_dict() == pytest.approx(claims.loc[over.index, "value"].to_dict())
    assert (over["ci_low"] < over["ci_high"]).all()


@pytest.mark.parametrize("letters", ["ac", "b"])
def test_some_panels_of_figure8_are_those_of_all(figure, root, letters):
    """Of one model alone, where there is no larger one."""
    folder, _ = figure
    chosen = f"panels=[{','.join(letters)}]"
    _, shown = start(FIGURE, root, *WORDS, "evaluation.draws=8", chosen)
    some = folder.with_name(f"smoke-{'+'.join(letters)}")
    assert "runs to do" not in shown
    assert {path.name for path in some.iterdir() if path.is_dir()} == set(letters)
    for part in letters:
        frames = [points_of(each, part).drop(columns="scale") for each in (some, folder)]
        pd.testing.assert_frame_equal(*frames)
    ours, theirs = claims_of(some), claims_of(folder)
    places = [f"Figure 8{each}" for each in letters] + ["section 4.5"] * ("c" in letters)
    kept = theirs[theirs["where"].isin(places)]
    assert ours.index.tolist() == kept.index.tolist()
    assert ours["value"].tolist() == kept["value"].tolist()
    assert ("what comes of K" in shown) == ("c" in letters)
    assert (some / "figure8.png").stat().st_size > 10_000


def test_panels_of_data_of_ones_own_are_not_called_summaries(root):
    own = configure(FIGURE, root, "objectives=[harmless,helpful]")
    assert FIGURE.title_of(own, "a") == "(a) each head, small model"
    assert FIGURE.title_of(configure(FIGURE, root), "a") == "(a) each head, small model, summaries"
    with pytest.raises(UserError, match=r"panels=\['d'\]: allowed are a, b, c"):
        FIGURE.studies(configure(FIGURE, root, "panels=[d]"))


def test_five_heads_are_figure_3s(root):
    """Equal settings are equal runs, whatever a method is called."""
    config = configure(FIGURE, root)
    for letter in "bc":
        own, _ = FIGURE.study_of(config, letter)
        ours = plan_study(own, {"ham_k5": FIGURE.METHODS["ham_k5"]}).seeds[0]
        theirs = plan_study(own, methods_of(2)).seeds[0]
        assert ours.evaluations["ham_k5"].key == theirs.evaluations["ham"].key


def test_panels_a_and_b_show_the_trade_offs_that_the_paper_names(figure):
    """Section 4.5: faithful-hallucination and harmless-helpful."""
    folder, _ = figure
    named = {part: [c for c in points_of(folder, part) if c.startswith("gold_")] for part in "abc"}
    assert named == {"a": SUMMARY_GOLD, "b": GOLD, "c": GOLD}
    data = [yaml.safe_load((folder / part / "run.yaml").read_text())["data"]["name"] for part in "abc"]
    assert data == ["synthetic_summaries", "synthetic", "synthetic"]


def test_data_or_objectives_of_ones_own_are_in_all_panels(root):
    config = configure(FIGURE, root, "objectives=[harmless,concise]")
    assert {own.data.name for _, own, _ in FIGURE.studies(config)} == {"synthetic"}
    config = configure(FIGURE, root, "data=synthetic_summaries", "objectives=[faithful,hallucination]")
    assert {own.data.name for _, own, _ in FIGURE.studies(config)} == {"synthetic_summaries"}


@pytest.mark.parametrize("scale", ["tiny", "gpu", "paper"])
def test_panel_a_has_figure_5s_study_at_every_scale(scale):
    five = load("figure5").STUDY.read([f"scale={scale}"])[0]
    (_, own, _), *_ = FIGURE.studies(FIGURE.STUDY.read([f"scale={scale}"])[0])
    theirs = settings_of(five, ("faithful", "hallucination"))
    for name in ("data", "model", "adapter", "heads", "likelihood", "evaluation", "sft"):
        assert asdict(getattr(own, name)) == asdict(getattr(theirs, name)), name


def test_panel_a_is_the_heads_of_a_panel_c_of_its_task_one_by_one(figure, root):
    folder, _ = figure
    words = ["task=faithful-hallucination", "numbers=[4,5]", "more=[]", "replace=true"]
    config = configure(FIGURE, root, *WORDS, *words)
    panel = FIGURE.conduct_panel(config, "c", Console(file=io.StringIO()))
    single, joint = points_of(folder, "a"), panel.points[panel.points["method"] == "K = 5"]
    columns = ["policy", "cluster", *SUMMARY_GOLD, "n"]
    assert set(single["method"]) == {f"head {place}" for place in range(1, 6)}
    pd.testing.assert_frame_equal(
        single[columns].sort_values(columns[:2]).reset_index(drop=True),
        joint[columns].sort_values(columns[:2]).reset_index(drop=True),
    )
    sums = single.assign(faithful=single["gold_faithful"] * single["n"])
    sums = sums.groupby("method")[["faithful", "n"]].sum()
    assert (sums["faithful"] / sums["n"]).sort_index().is_monotonic_increasing, "by their place in faithful"


def test_growth_and_claims_can_be_recomputed(figure):
    folder, _ = figure
    points, growth = points_of(folder, "c"), pd.read_csv(folder / "c" / "growth.csv").set_index("k")
    corner = pareto.default_reference(points[GOLD])
    values = {k: points[points["method"] == f"K = {k}"] for k in (1, 4, 5, 8)}
    for k, rows in values.items():
        assert growth["hypervolume"][k] == pytest.approx(pareto.hypervolume(rows[GOLD], corner))
        assert (
            growth["front"][k] == pareto.is_non_dominated(rows[GOLD].to_numpy()).sum() == rows["front"].sum()
        )
    assert growth["alive"][1] == 1
    assert growth["alive"].between(0, 1, inclusive="right").all()
    assert growth["any_four"].isna().tolist() == [True, False, False, False]
    assert growth["any_four"][4] == pytest.approx(growth["hypervolume"][4])
    heads = [rows[GOLD] for _, rows in values[8].groupby("policy")]
    fours = [pareto.hypervolume(pd.concat(each), corner) for each in combinations(heads, 4)]
    assert growth["any_four"][8] == pytest.approx(np.mean(fours))

    claims = claims_of(folder)["value"]
    fronts = {k: rows[rows["front"]][GOLD].to_numpy() for k, rows in values.items()}
    assert claims["K = 8 dominates K = 4"] == pytest.approx(pareto.additive_epsilon(fronts[8], fronts[4]))
    gap = growth["hypervolume"][8] - growth["hypervolume"][4]
    assert claims["K = 8 spans more than K = 4"] == pytest.approx(gap)
    assert claims["K = 8: most heads are not dominated by another at the end"] == growth["margin"][8]
    assert claims["more heads give better fronts"] == pytest.approx(
        linregress(np.log2(growth.index), growth["hypervolume"]).slope
    )
    means = points_of(folder, "a").groupby("method")[SUMMARY_GOLD].mean()
    across = np.corrcoef(means.to_numpy().T)[0, 1]
    assert claims["each head, small model, summaries: heads cover different trade-offs"] == pytest.approx(
        across
    )
    assert len(claims) == 2 + 3 + 2


def test_one_head_has_no_other_to_be_held_against():
    config = FIGURE.STUDY.read(["scale=smoke", "heads.number=1", "panels=[a,c]"])[0]
    with pytest.raises(UserError, match=r"heads\.number=1: panels a and b"):
        FIGURE.numbers_of(config)
    config.panels = ["c"]
    assert FIGURE.numbers_of(config)


@pytest.mark.parametrize("words", [["numbers=[4]", "more=[]"], ["numbers=[0,4]"]])
def test_numbers_that_make_no_figure_are_a_user_error(root, words):
    with pytest.raises(UserError, match=r"two or more K from 1 are needed"):
        start(FIGURE, root, *words)


def test_three_objectives_are_a_user_error(root):
    with pytest.raises(UserError, match="the figure shows two"):
        start(FIGURE, root, "objectives=[harmless,helpful,humorous]")


def test_more_heads_come_at_tiny_alone(root):
    config = configure(FIGURE, root)
    assert FIGURE.numbers_of(config) == [1, 2, 4, 5, 8]
    config.scale = "tiny"
    assert FIGURE.numbers_of(config) == [1, 2, 4, 5, 8, 16, 32, 64]


def test_the_theorem_leaves_its_table(theorem):
    folder, shown = theorem
    assert names(folder) == TABLES | {"errors.csv", "claims.csv", "theorem1.png", "theorem1.pdf"}
    errors = pd.read_csv(folder / "errors.csv")
    assert len(errors) == 2 * 4 * 2
    assert set(errors["policies"]) == {1, 2, 4, 8}
    assert set(errors["objectives"]) == {2, 3}
    assert "ham theorem1" in shown


def test_errors_are_those_of_the_heads_on_their_rows(theorem, root):
    folder, _ = theorem
    config = settings_of(configure(THEOREM, root), THEOREM.OBJECTIVES)
    (task,) = plan_study(config, THEOREM.METHODS).seeds[0].policies["ham_k8"]
    logps, weights = offline_logps(task, root / "runs", 64)
    rows = pd.read_parquet(root / "runs" / task.needs["rows"].key / "rows.parquet")
    assert logps.shape == (8, len(rows))
    assert (logps < 0).all()
    rewards = rows[[f"reward_{name}" for name in THEOREM.OBJECTIVES]].to_numpy()
    np.testing.assert_allclose(weights, rewards**config.likelihood.power, rtol=1e-5, atol=1e-7)
    again, _ = offline_logps(task, root / "runs", 17)
    np.testing.assert_allclose(again, logps, rtol=1e-4)

    errors = pd.read_csv(folder / "errors.csv").set_index(["batch", "policies", "objectives"])
    each = batch_errors(logps, weights, smallest_z(logps), 64, 60, np.random.default_rng([0, 64]))
    assert errors.loc[(64, 8, 3), "mean"] == pytest.approx(each.mean(), rel=1e-4)
    assert errors.loc[(64, 8, 3), "bound"] == hypervolume_bound(8, 3, 64, 0.1)


def test_the_theorems_claims_can_be_recomputed(theorem):
    folder, _ = theorem
    claims, errors = claims_of(folder)["value"], pd.read_csv(folder / "errors.csv")
    # The theorem itself, of which no verdict is given.
    assert (errors["within"] >= 0.9).all()
    assert (errors["quantile"] <= errors["bound"]).all()
    largest = (errors["quantile"] / errors["bound"]).max()
    assert claims["the bound is ten times what is needed, or more"] == pytest.approx(largest)
    assert len(claims) == 2


def test_fronts_that_do_not_change_have_no_slope():
    assert FIGURE.slope(pd.Series([0.5, 0.5], index=[1, 2])) == pytest.approx(0)
    assert FIGURE.slope(pd.Series([0.5, 0.75, 1.5], index=[1, 2, 16])) == pytest.approx(0.25)
