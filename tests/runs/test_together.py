"""Two processes that train one policy, under each strategy and launcher, give the numbers of one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import REPOSITORY
from tests.forked import TIMEOUT
from tests.runs.together import STUDIES
from tests.study.starts import SCRIPT, Started, begin, by_srun, by_torchrun, words_of

COMPARED = ("panacea", "gapo", "ham")
TOLERANCE = 1e-4
"""Of a column's largest value. In single precision the comparison ends at some 4e-6."""
PAIR = "hardware.devices=2"


def read(folder: Path) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """The log of each study's training, and its points."""
    module = {name: STUDIES[name][2].method.name.partition(":")[2] for name in COMPARED}
    logs = {}
    for path in (folder / "runs").glob("align-*"):
        record = (path / "task.json").read_text()
        (name,) = (name for name, method in module.items() if f":{method}" in record)
        logs[name] = pd.read_csv(path / "log" / "metrics.csv")
    return {name: (log, pd.read_csv(folder / "results" / f"{name}.csv")) for name, log in logs.items()}


def is_alone(started: Started) -> None:
    """One process has left results and runs, all of them whole."""
    assert sorted(path.name for path in (started.folder / "results").iterdir()) == sorted(
        f"{name}.csv" for name in COMPARED
    )
    for path in started.runs.glob("*-*"):
        assert (path / "task.json").is_file(), path
    assert not list((started.folder / "temporary").glob("tmp*")), "another process's results"


def without_the_exact_fronts(one: Path, folder: Path) -> Path:
    """A folder for a start in which the worlds' exact fronts are there, for they know no policy."""
    for path in (one / "runs").glob("exact-*"):
        shutil.copytree(path, folder / "runs" / path.name)
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process leaves."""
    folder = tmp_path_factory.mktemp("together") / "one"
    is_alone(begin(folder, ",".join(COMPARED)).finish())
    return folder


def check(folder: Path, one: Path) -> None:
    """The same losses, Gramians, weights of an aggregation and points."""
    found, expected = read(folder), read(one)
    assert set(found) == set(expected) == set(COMPARED)
    for name in COMPARED:
        for ours, theirs in zip(found[name], expected[name], strict=True):
            same(ours, theirs, name)


def same(found: pd.DataFrame, expected: pd.DataFrame, name: str) -> None:
    assert list(found) == list(expected)
    assert len(found) == len(expected) > 0
    for column in expected:
        ours, theirs = found[column], expected[column]
        if not pd.api.types.is_numeric_dtype(theirs):
            assert list(ours) == list(theirs), (name, column)
            continue
        assert list(ours.isna()) == list(theirs.isna()), (name, column)
        error = (ours - theirs).abs().max()
        assert not error > TOLERANCE * theirs.abs().max(), (name, column, list(ours), list(theirs))


def test_what_is_compared_is_alive(one):
    found = read(one)
    dots = ["dot_0_0", "dot_0_1", "dot_1_1"]
    for name, (log, points) in found.items():
        assert len(log) >= 3, name
        assert (log[["loss/helpful", "loss/harmless"]].nunique() > 1).all(), name
        assert (log[dots].nunique() >= len(log) - 1).all(), name
        # A batch of HaM's rows may have no reward of one objective.
        assert ((log[["dot_0_0", "dot_1_1"]] > 0).sum() >= len(log) - (name == "ham")).all(), name
        trained = points[points["policy"] != "reference"]
        assert not trained.filter(like="gold_").isna().any(axis=None), name
        assert (trained["n"] == 24).all(), name
    # Clipped: the update's gradient, w' G w long, is longer than what is let through.
    log, _ = found["gapo"]
    weights = log[["weight_0", "weight_1"]].to_numpy()
    first, both, second = log[dots].to_numpy().T
    squared = weights[:, 0] ** 2 * first + 2 * weights.prod(1) * both + weights[:, 1] ** 2 * second
    assert "ppo.grad_clip=0.05" in STUDIES["gapo"][3]
    assert (np.sqrt(squared) > 2 * 0.05).all()
    # As many updates by the hypervolume as before it.
    assert "heads.warm_up=2" in STUDIES["ham"][3]
    assert len(found["ham"][0]) == 4


@pytest.mark.parametrize("strategy", ["deepspeed_2", "deepspeed_3"])
def test_deepspeed_trains_as_one_process_does(strategy, one, tmp_path):
    folder = without_the_exact_fronts(one, tmp_path / strategy)
    started = begin(folder, ",".join(COMPARED), [PAIR, f"hardware.strategy={strategy}"], 2).finish()
    is_alone(started)
    check(folder, one)
    # That little is saved by ZeRO-2 is said once a study, by the first process.
    said = "hardware.strategy=deepspeed_2 saves almost nothing"
    assert [started.errors(rank).count(said) for rank in (0, 1)] == [3 * (strategy == "deepspeed_2"), 0]


def test_torchrun_starts_ddp_and_a_measurement_alone_is_shared_out_too(one, tmp_path):
    folder = without_the_exact_fronts(one, tmp_path / "ddp")
    (folder / "temporary").mkdir()
    environment = {
        "STUDIES": ",".join(COMPARED),
        "WORDS": words_of(folder, [PAIR]),
        "TMPDIR": str(folder / "temporary"),
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
    }
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", SCRIPT],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    is_alone(Started(folder, []))
    check(folder, one)
    for path in [*folder.glob("runs/evaluate-*"), *folder.glob("results/*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = begin(folder, ",".join(COMPARED), [PAIR], 2, by_srun).finish()
    assert again.trained() == [[], []]
    is_alone(again)
    check(folder, one)


def test_processes_that_were_told_different_things_refuse_to_train(one, tmp_path):
    folder = without_the_exact_fronts(one, tmp_path / "apart")

    def by_somebody(processes):
        environments = by_torchrun(processes)
        environments[1]["WORDS"] = words_of(folder, [PAIR, "sft.lr=0.5"])
        return environments

    started = begin(folder, "panacea", [PAIR], 2, by_somebody)
    assert started.codes() == [2, 2]
    for rank in (0, 1):
        lines = [line for line in started.errors(rank).splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert "the processes of this run do not agree on what it is (partial-base-" in lines[0]
        assert "Traceback" not in started.errors(rank)
