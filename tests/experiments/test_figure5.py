"""Panacea's Figure 5 from end to end at its smallest scale: repeated, and on other data."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tests import forked
from tests.experiments.made_up import TWO, made_up, tables_of

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "experiments" / "panacea" / "figure5.py"
SAME_BYTES = ("points.csv", "accuracies.csv", "metrics.csv", "claims.csv")
# Real text goes through every part, with as few updates as possible.
QUICK = ["sft.steps=4", "reward_model.steps=2", "dpo.steps=2", "evaluation.grid_step=1", "data.limit=60"]


def words_of(results: Path, runs: Path, *words: str) -> list[str]:
    folders = (f"results_dir={results}", f"runs_dir={runs}")
    # Starts must find each other's runs even where somebody edits the package meanwhile.
    return ["scale=smoke", "workers=1", "code_in_key=false", *folders, *words]


def start(results: Path, runs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.run(SCRIPT, words_of(results, runs, *words), folder=REPOSITORY)


def folder_of(results: Path, name: str = "smoke") -> Path:
    return results / "panacea" / "figure5" / name


def contents(results: Path) -> dict[str, bytes]:
    return {name: (folder_of(results) / name).read_bytes() for name in SAME_BYTES}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A first start from nothing: where its results and its runs lie."""
    root = tmp_path_factory.mktemp("first")
    # The one that is as a user's from its first line on.
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words_of(root / "results", root / "runs")],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return root


def test_a_start_leaves_every_file(first):
    folder = folder_of(first / "results")
    expected = {*SAME_BYTES, "timings.csv", "exact_front.csv", "run.yaml", "figure5.png", "figure5.pdf"}
    expected |= {"costs.csv", "sensitivity.csv", "reward_models.csv"}
    assert {path.name for path in folder.iterdir()} == expected
    points = pd.read_csv(folder / "points.csv")
    rows = points.groupby("method").size().to_dict()
    totals = [
        f"{one}_as_all_of_{of}" for one in ("panacea_ls", "panacea_tche") for of in ("rewarded_soups", "dps")
    ]
    names = ["panacea_ls", "panacea_tche", "rewarded_soups", "dps", *totals]
    assert rows == {**dict.fromkeys(names, 3), "sft": 1}
    ends = points.groupby("method")["step"].max()
    assert ends["panacea_ls_as_all_of_dps"] == 3 * ends["dps"] == 3 * ends["panacea_ls"]
    assert points.filter(like="gold_").notna().all(axis=None)
    assert set(pd.read_csv(folder / "claims.csv")["verdict"]) <= {
        "holds",
        "within noise",
        "fails",
        "one seed",
    }


def test_a_second_start_finds_everything_done(first):
    before = contents(first / "results")
    written = {path: path.stat().st_mtime_ns for path in (first / "runs").rglob("*")}
    done = start(first / "results", first / "runs")
    assert done.returncode == 0, done.stderr
    assert "runs to do" not in done.stdout
    assert contents(first / "results") == before
    assert {path: path.stat().st_mtime_ns for path in (first / "runs").rglob("*")} == written


def test_a_wrong_key_is_one_line_and_touches_nothing(first):
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    done = start(first / "results", first / "runs", "dpo.beat=0.3")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: dpo.beat=0.3: there is no key 'dpo.beat' (did you mean beta?)")
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before


@pytest.fixture(scope="module")
def figure5():
    """The script as a module, so that the tests on other data pay for the imports once."""
    spec = importlib.util.spec_from_file_location("figure5", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_policies_that_no_trained_reward_measures_are_judged_by_the_rest(figure5):
    ((_, _, methods),) = figure5.studies(figure5.STUDY.read(["scale=smoke"])[0])
    claims = {}
    for spaces in (("accuracy", "gold", "reward"), ("accuracy", "gold")):
        collected = made_up(np.random.default_rng(0), methods, TWO, step=0.5, spaces=spaces)
        rows = figure5.judge_claims(collected, tables_of("panacea", "figure5", collected))
        claims[spaces[-1]] = {row["claim"] for row in rows}
    own = {f"{title} beats Rewarded Soups in trained reward" for title in ("Panacea-LS", "Panacea-Tche")}
    assert claims["reward"] - claims["gold"] == own


def conduct(figure5, root: Path, *words: str) -> tuple[Path, str]:
    """The folder that a start leaves, and what it showed."""
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    words = ["scale=smoke", "workers=1", *folders, *QUICK, *words]
    config, _ = figure5.STUDY.read(words)
    shown = io.StringIO()
    figure5.main(config, Console(file=shown, width=200))
    return folder_of(root / "results", f"smoke-{config.data.name}"), shown.getvalue()


def check(folder: Path, objectives: list[str]) -> None:
    points, accuracies = (pd.read_csv(folder / f"{name}.csv") for name in ("points", "accuracies"))
    for frame in (points, accuracies):
        assert list(frame.filter(like="lambda_").columns) == [f"lambda_{name}" for name in objectives]
    assert points[[f"reward_{name}" for name in objectives]].notna().all(axis=None)
    assert points.filter(like="gold_").isna().all(axis=None)
    shares = accuracies[[f"accuracy_{name}" for name in objectives]].stack()
    assert shares.between(0, 1).all()
    assert (folder / "figure5.png").stat().st_size > 10_000
    assert not (folder / "exact_front.csv").exists()


def test_ones_own_pairs(figure5, tmp_path):
    """Three objectives, one of them labelled for every other pair only."""
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "question": f"what is {i} times {i % 7}?",
            "a": f"it is {i * (i % 7)}, as one may check",
            "b": f"perhaps {i}",
            "correct": 0,
            "short": 1,
            "kind": i % 2 if i % 3 else None,
        }
        for i in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        f"data.path={path}",
        "data.prompt_column=question",
        "data.response_columns=[a,b]",
        "data.labels.correct=correct",
        "data.labels.short=short",
        "data.labels.kind=kind",
    ]
    folder, shown = conduct(figure5, tmp_path, "data=pairs", *words)
    check(folder, ["correct", "short", "kind"])
    assert "pairs, train: 57 pairs kept, 0 dropped" in shown


def test_real_pairs(figure5, tmp_path, shared_data):
    words = [
        f"data.path={shared_data / 'helpsteer2' / 'pairs.jsonl'}",
        "data.labels.helpful=helpfulness_better_id",
        "data.labels.concise=-verbosity_better_id",
    ]
    folder, _ = conduct(figure5, tmp_path, "data=pairs", *words)
    check(folder, ["helpful", "concise"])


def test_real_dialogues(figure5, tmp_path, shared_data):
    path = shared_data / "hh-rlhf" / "harmless-base-test.jsonl.gz"
    folder, _ = conduct(figure5, tmp_path, "data=hh_rlhf", f"data.path={path}")
    check(folder, ["harmless", "concise"])


def test_real_safety_pairs(figure5, tmp_path, shared_data):
    path = shared_data / "pku-saferlhf" / "preference-32.json"
    folder, _ = conduct(figure5, tmp_path, "data=pku_saferlhf", f"data.path={path}")
    check(folder, ["helpful", "harmless"])
