"""HaM's figure on the structure of its objective, at smoke: its files, its claims from its CSVs, what it refuses."""

from __future__ import annotations

import importlib.util
import io
import sys

import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.reporting.schema import CLAIMS, METRICS
from tests.conftest import REPOSITORY

HAM = REPOSITORY / "experiments" / "ham"
QUICK = ("powers=[4]", "samples=20", "evaluation.grid_step=0.5", "data.eval_pairs=64")


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("figure_structure", HAM / "figure_structure.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["figure_structure"] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def configure(module, root, *words):
    folders = (f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}", "workers=1")
    words = ("scale=smoke", *QUICK, *folders, *words)
    return module.STUDY.read(words)[0]


@pytest.fixture(scope="module")
def folder(module, tmp_path_factory):
    root = tmp_path_factory.mktemp("structure")
    module.main(configure(module, root), Console(file=io.StringIO(), width=200))
    return root / "results" / "ham" / "figure_structure" / "smoke"


def test_both_weightings_are_computed_and_trained(folder):
    computed, modes = pd.read_csv(folder / "computed.csv"), pd.read_csv(folder / "modes.csv")
    assert set(computed["weighting"]) == {"per_objective", "scalarised", "exact"}
    names = {
        f"{method}_{weighting}_4"
        for method in ("ham", "sca")
        for weighting in ("per_objective", "scalarised")
    }
    assert set(modes["method"]) == {*names, "sft"}
    assert (folder / "figure_structure.png").stat().st_size > 10_000


def test_claims_follow_from_the_tables(module, folder):
    claims = CLAIMS.read(folder / CLAIMS.file).set_index("claim")["value"]
    metrics = METRICS.read(folder / METRICS.file)
    volume = metrics[metrics["space"] == "gold"].set_index("method")["hypervolume"]
    gap = volume["sca_scalarised_4"] - volume["sca_per_objective_4"]
    assert claims["q = 4: SCA scalarised first has a larger hypervolume"] == pytest.approx(gap)
    computed = pd.read_csv(folder / "computed.csv")
    middle = computed[computed["lambda_helpful"] == 0.5].set_index("weighting")["risky_safe"]
    (name,) = [each for each in claims.index if "more safe completions at equal weights" in each]
    assert claims[name] == pytest.approx(middle["scalarised"] - middle["per_objective"])


def test_the_policies_per_objective_are_those_of_figure_3(module, tmp_path):
    from lightning_moa.figures.panels import methods_of, settings_of
    from lightning_moa.study.planning import plan_study

    config = configure(module, tmp_path)
    own = settings_of(config, module.OBJECTIVES)
    label, *study = module.studies(config)[0]
    assert label == "per_objective, q = 4"
    mine = plan_study(*study).seeds[0].policies
    theirs = plan_study(own, methods_of(2)).seeds[0].policies
    assert [task.key for task in mine["sca_per_objective_4"]] == [task.key for task in theirs["sca"]]
    assert [task.key for task in mine["ham_per_objective_4"]] == [task.key for task in theirs["ham"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["powers=[]"], r"powers=\[\]: one or more"),
        (["powers=[0]"], "above 0"),
        (["objectives=[helpful,harmless,concise]"], "this figure is of two"),
        (["data=synthetic_summaries"], "has no world; allowed is synthetic"),
    ],
)
def test_what_it_refuses(module, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        module.main(configure(module, tmp_path, *words), Console(file=io.StringIO()))
