"""The grid of answers on one world: all cells are planned, a part of them is trained."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.study.planning import plan_study
from tests import forked
from tests.experiments.scripts import REPOSITORY, load

SCRIPT = REPOSITORY / "experiments" / "cross" / "products.py"


@pytest.fixture(scope="module")
def products():
    return load(SCRIPT)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def started(folder: Path, runs: Path, *words: str):
    given = ["scale=smoke", "workers=1", f"results_dir={folder}", f"runs_dir={runs}", *words]
    done = forked.run(SCRIPT, given, folder=folder)
    assert done.returncode in (0, 1), done.stderr
    (made,) = (folder / "cross" / "products").iterdir()
    return done, made


def test_every_cell_is_planned_or_says_why_not(products):
    config, _ = products.STUDY.read(["scale=smoke"])
    grid = products.grid_of(config)
    methods, refused = products.planned(config, grid)
    assert [*sorted([*methods, *refused], key=grid.index)] == grid
    by_name = {cell.name: reason for cell, reason in refused.items()}
    assert by_name["lora_modpo_mgda"].startswith("aggregation=mgda needs a loss for each objective")
    assert {"lora_dpo_epo", "svd_lora_ppo_gapo", "heads_likelihood_hypervolume"} <= {c.name for c in methods}
    ((label, _, trained),) = products.studies(config)
    assert (label, set(trained)) == ("", {cell.name for cell in methods})
    # Reasons are few; the picture has a number for each.
    table = products.table_of(grid, refused, {cell: "it broke" for cell in methods}, pd.DataFrame())
    kinds = products.kinds_of(table)
    assert kinds["it broke"] == 1
    assert len(kinds) < 12
    assert set(table["outcome"]) == {"refused", "failed"}
    page = (REPOSITORY / "docs" / "benchmark.md").read_text()
    assert f"Of {len(grid)} cells {len(methods)} can be trained." in page


def test_a_cell_is_the_same_whichever_others_are_asked_for(products):
    """So that cells of a grid of which one fails are those of the grid without it."""

    def planned(*words):
        config, _ = products.STUDY.read(["scale=smoke", *words])
        ((_, own, methods),) = products.studies(config)
        (seed,) = plan_study(own, methods).seeds.values()
        return [task.key for task in seed.policies["lora_dpo_linear"]]

    alone = planned("policies=[lora]", "learned_by=[dpo]", "aggregations=[linear]")
    assert alone == planned("policies=[lora,prompted]", "learned_by=[dpo]", "aggregations=[linear]")


def test_settings_that_no_cell_can_be_planned_with_are_bad_input(products):
    config, _ = products.STUDY.read(["scale=smoke", "evaluation.max_new_tokens=64"])
    with pytest.raises(UserError, match=r"^evaluation\.max_new_tokens=64: must be below data\.max_length"):
        products.planned(config, products.grid_of(config))
    config, _ = products.STUDY.read(["scale=smoke", "policies=[loar]"])
    with pytest.raises(UserError, match="policies=loar: allowed are svd_lora, lora"):
        products.grid_of(config)


def test_cells_that_make_no_study_together_are_bad_input(products, tmp_path):
    words = [
        "policies=[lora]",
        "learned_by=[dpo,rloo]",
        "aggregations=[linear]",
        "exact_beta=null",
        "dpo.beta=0.7",
    ]
    config, _ = products.STUDY.read(
        ["scale=smoke", f"results_dir={tmp_path}", f"runs_dir={tmp_path}", *words]
    )
    with pytest.raises(
        UserError, match="exact_beta: the methods are trained under different weights of the KL"
    ):
        products.main(config, Console(quiet=True))
    assert not list(tmp_path.rglob("task.json"))


def test_a_failure_of_all_together_that_no_cell_repeats_loses_nothing(products, monkeypatch):
    calls = []

    def conducted(config, methods, console):
        calls.append(list(methods))
        if len(calls) == 1:
            raise UserError("no memory, once")
        return "rows"

    monkeypatch.setattr(products, "conducted", conducted)
    monkeypatch.setattr(products, "is_measured", lambda collected, cell: True)
    cells = {"a": None, "b": None}
    assert products.trained(None, cells, Console(quiet=True)) == ("rows", {})
    assert calls == [["a", "b"], ["a"], ["b"], ["a", "b"]]


def test_a_part_of_the_grid_is_trained_and_measured(products, tmp_path, runs):
    words = ["policies=[svd_lora,lora]", "learned_by=[modpo,dpo]", "aggregations=[linear,mgda]"]
    done, folder = started(tmp_path, runs, *words)
    assert done.returncode == 0, done.stderr
    assert folder.name == "smoke-svd_lora+lora+modpo+dpo+linear+mgda"
    table = pd.read_csv(folder / "table.csv").set_index(["policy", "objective", "aggregation"])
    assert table.index.tolist() == [
        (p, o, a) for p in ("svd_lora", "lora") for o in ("modpo", "dpo") for a in ("linear", "mgda")
    ]
    refused = [each for each in table.index if each[1:] == ("modpo", "mgda")]
    assert table.index[table["outcome"] == "refused"].tolist() == refused
    numbers = table[table["outcome"] == "number"]
    assert len(numbers) == 6
    assert table.loc[refused, products.MEASURES].isna().all(axis=None)
    assert numbers[["expected_utility", "hypervolume_share"]].notna().all(axis=None)
    # Asked for the whole grid are steered policies alone.
    assert numbers.index[numbers["mean_regret"].isna()].tolist() == [
        each for each in numbers.index if each[0] == "lora"
    ]
    points = pd.read_csv(folder / "points.csv")
    mine = points[points["method"] == "lora_dpo_mgda"]
    best = pd.read_csv(folder / "exact_front.csv")
    assert len(mine) == 1
    at = best[["lambda_helpful"]].to_numpy()
    weights = [0.0, 0.5, 1.0]
    assert min(at) == 0
    assert max(at) == 1
    (row,) = mine.to_dict("records")
    expected = (
        sum(w * row["gold_helpful"] + (1 - w) * row["gold_harmless"] - 0.3 * row["kl"] for w in weights) / 3
    )
    assert table.loc[("lora", "dpo", "mgda"), "expected_utility"] == pytest.approx(expected)
    text = (folder / "table.md").read_text()
    assert "refused (1)" in text
    assert "no ranking" in text
    assert (folder / "products.png").is_file()


def test_a_cell_whose_training_fails_is_named_and_the_others_are_kept(tmp_path, runs):
    words = ["policies=[lora]", "learned_by=[rloo]", "aggregations=[linear,mgda,gapo]"]
    words += [f"methods.lora_rloo_{name}.lr=1e20" for name in ("mgda", "gapo")]
    # One diverges in its last update, and one before.
    done, folder = started(tmp_path, runs, *words, "methods.lora_rloo_gapo.steps=4")
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: lora_rloo_")
    table = pd.read_csv(folder / "table.csv").set_index("aggregation")
    assert table["outcome"].to_dict() == {"linear": "number", "mgda": "failed", "gapo": "failed"}
    assert table.loc["mgda", "reason"].endswith("what was measured is no finite number")
    assert "try a smaller" in table.loc["gapo", "reason"]
    assert table["expected_utility"].notna().to_dict() == {"linear": True, "mgda": False, "gapo": False}
