"""A training that is stopped, or killed, and started again ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_moa.config.options import EvaluationConfig, HardwareConfig
from lightning_moa.strategies.checkpoints import read_checkpoint, write_checkpoint
from lightning_moa.study.tasks import Task
from lightning_moa.task_files import GRADIENTS, HEADS
from tests.conftest import REPOSITORY
from tests.forked import TIMEOUT
from tests.study.starts import SCRIPT, Started, begin, by_srun, words_of

PAIR = "hardware.devices=2"
STOPPED = 128 + signal.SIGTERM
WORDS = {
    # A critic, two updates on each rollout, two batches each, dropout, a watch on the gradients.
    "dropout": ["methods.shown.watch=1"],
    # Lagrange multipliers.
    "safe": [],
    # Heads, a warm-up that is counted, a look at the heads; matrices that are large enough for states in 8 bits.
    "ham": ["hardware.optimiser=adamw_8bit", "model.hidden_size=64", "adapter.rank=64"],
}
LAST = {"dropout": 7, "safe": 3, "ham": 3}
"""The last batch of each training."""
STOP = {"dropout": 5, "safe": 2, "ham": 2}
"""The batch in which the signal comes: its update is finished first."""


def without_the_policy(undisturbed: Path, folder: Path) -> Path:
    """A folder in which all but the policy and what is measured of it is there."""
    folder.mkdir(parents=True)
    for path in (undisturbed / "runs").iterdir():
        if not path.name.startswith(("align", "evaluate")):
            shutil.copytree(path, folder / "runs" / path.name)
    return folder


def left(folder: Path) -> dict[str, bytes]:
    """The files whose bytes must be equal, of the only policy."""
    (run,) = (folder / "runs").glob("align-*")
    names = ["policy/policy.safetensors", "log/metrics.csv", GRADIENTS, HEADS]
    return {name: (run / name).read_bytes() for name in names if (run / name).exists()}


def check_stopped(started: Started, update: int, of: int, kind: str = "align") -> None:
    """It has said how far it is, kept a checkpoint, and left nothing that looks like a result."""
    line = f"stopped after update {update} of {of}; start it again to go on from there"
    assert any(each.endswith(f", seed 0: {line}") for each in started.errors(0).splitlines())
    assert not list(started.runs.glob(f"{kind}-*"))
    assert not list(started.runs.glob(".*-*.*"))
    (partial,) = started.runs.glob(f"partial-{kind}-*")
    assert [path.name for path in partial.iterdir()] == [f"update-{update}"]


def check_finished(started: Started, expected: dict[str, bytes]) -> None:
    assert left(started.folder) == expected
    assert not list(started.runs.glob("partial-*"))
    assert not list(started.runs.glob(".*-*.*"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Each study from start to end in one process: its folder."""
    folders = {}
    started = {}
    for name, words in WORDS.items():
        folders[name] = tmp_path_factory.mktemp("undisturbed") / name
        started[name] = begin(folders[name], name, words).finish()
        assert started[name].trained() == [list(range(LAST[name] + 1))]
    return folders


@pytest.mark.parametrize("name", list(WORDS))
def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(name, undisturbed, tmp_path):
    folder = without_the_policy(undisturbed[name], tmp_path / name)
    each = 2 if name == "dropout" else 1
    first = begin(folder, name, WORDS[name], STOP_AT=str(STOP[name]))
    assert first.codes() == [STOPPED]
    done = -(-(STOP[name] + 1) // each)
    assert first.trained() == [list(range(done * each))]
    check_stopped(first, done, (LAST[name] + 1) // each)
    assert not (folder / "results" / f"{name}.csv").exists()
    # How often checkpoints are written makes no other run.
    second = begin(folder, name, [*WORDS[name], "hardware.checkpoint_every=3"]).finish()
    # It went on: no batch was trained on twice.
    assert second.trained() == [list(range(done * each, LAST[name] + 1))]
    expected = left(undisturbed[name])
    wanted = {"dropout": GRADIENTS, "ham": HEADS}.get(name)
    assert wanted is None or wanted in expected
    check_finished(second, expected)


def test_what_earlier_starts_took_is_counted(undisturbed, tmp_path):
    folder = without_the_policy(undisturbed["safe"], tmp_path / "safe")
    first = begin(folder, "safe", WORDS["safe"], STOP_AT=str(STOP["safe"]))
    assert first.codes() == [STOPPED]
    (partial,) = first.runs.glob("partial-align-*")
    said: list[str] = []
    update, state = read_checkpoint(partial, partial.name, said.append)
    assert 0 < state["seconds"] < 600
    write_checkpoint(partial, partial.name, update, state | {"seconds": 10_000.0})
    second = begin(folder, "safe", WORDS["safe"]).finish()
    (run,) = second.runs.glob("align-*")
    record = json.loads((run / "task.json").read_text())
    assert 10_000 < record["seconds"] < 10_600
    assert "seconds_before" not in record


@pytest.fixture(scope="module")
def killed(undisturbed, tmp_path_factory):
    """A training that wrote a checkpoint at each update, killed in the middle of the third."""
    folder = without_the_policy(undisturbed["dropout"], tmp_path_factory.mktemp("killed") / "dropout")
    words = [*WORDS["dropout"], "hardware.checkpoint_every=1"]
    started = begin(folder, "dropout", words, STOP_AT="5", STOP_BY="SIGKILL")
    assert started.codes() == [-signal.SIGKILL]
    (partial,) = started.runs.glob("partial-align-*")
    assert sorted(path.name for path in partial.iterdir()) == ["update-1", "update-2"]
    return folder


def tear(runs: Path) -> dict[str, str]:
    """Cut the newest checkpoint off."""
    (path,) = runs.glob("partial-align-*/update-2")
    tensors = path / "0.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])
    return {str(path): "torn (0.safetensors is not what was written)"}


def exchange(runs: Path) -> dict[str, str]:
    """Let one checkpoint be of another run, and one of two processes."""
    (folder,) = runs.glob("partial-align-*")
    said = {}
    for update, changes, why in (
        (2, {"run": "partial-align-7"}, f"of another run (partial-align-7); this one is {folder.name}"),
        (1, {"processes": 2}, "of 2 processes, and this run has 1"),
    ):
        manifest = folder / f"update-{update}" / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))
        said[str(manifest.parent)] = why
    return said


@pytest.mark.parametrize(
    ("damage", "begins_at"), [(None, 4), (tear, 2), (exchange, 0)], ids=["whole", "torn", "foreign"]
)
def test_a_killed_training_goes_on_from_the_last_checkpoint_that_is_its_own_and_whole(
    damage, begins_at, killed, undisturbed, tmp_path
):
    folder = tmp_path / "dropout"
    shutil.copytree(killed, folder)
    refused = {} if damage is None else damage(folder / "runs")
    started = begin(folder, "dropout", WORDS["dropout"]).finish()
    assert started.trained() == [list(range(begins_at, 8))]
    warnings = [line for line in started.errors().splitlines() if "checkpoint" in line]
    assert warnings == [
        f"warning: checkpoint {path}: {why}; it is left aside" for path, why in refused.items()
    ]
    check_finished(started, left(undisturbed["dropout"]))
    assert not list(started.runs.glob(".*"))


def test_a_finished_study_is_not_done_again(undisturbed):
    before = {path: path.stat().st_mtime_ns for path in (undisturbed["safe"] / "runs").rglob("*")}
    again = begin(undisturbed["safe"], "safe", WORDS["safe"]).finish()
    count = len(list(again.runs.glob("*-*")))
    assert f"finished before: all {count} runs are there" in again.shown()
    assert again.trained() == [[]]
    assert before == {path: path.stat().st_mtime_ns for path in again.runs.rglob("*")}


def test_a_checkpoint_holds_what_is_trained_and_no_base(undisturbed, killed):
    (folder,) = killed.glob("runs/partial-align-*")
    record = next((undisturbed["dropout"] / "runs").glob("align-*")) / "task.json"
    trained = json.loads(record.read_text())["trained_parameters"]
    _, state = read_checkpoint(folder, folder.name, pytest.fail)
    training = state.pop("training")
    assert sum(map(torch.numel, training["weights"])) == trained
    sizes = {part: sum(map(torch.numel, tensors_in(training[part]))) for part in training}
    moments = 2 * trained
    assert moments <= sizes.pop("optimiser") <= moments + len(training["weights"])
    sizes.pop("weights")
    # The critic is the objective's own, and so is its optimiser.
    critic = sizes.pop("objective")
    assert 2 * critic <= sizes.pop("own_optimiser") <= 2 * critic + 20
    assert sum(sizes.values()) < 50, sizes
    # Of all the rest, the state of torch's generator is the largest.
    assert sum(tensor.nbytes for tensor in tensors_in(state)) < 6000


def tensors_in(state: Any) -> list[torch.Tensor]:
    """All tensors of nested dicts and lists."""
    if isinstance(state, torch.Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list) else []
    return [tensor for part in parts for tensor in tensors_in(part)]


def test_how_often_checkpoints_are_written_makes_no_other_run():
    def key(**changes):
        hardware = asdict(HardwareConfig()) | changes
        return Task("", "lightning_moa.runs.align:align", {"hardware": hardware}, package=False).key

    assert key(checkpoint_every=1) == key(checkpoint_every=50)
    assert key(devices=2) != key()


def test_how_often_rows_are_drawn_anew_makes_no_other_measurement():
    def key(**changes):
        evaluation = asdict(EvaluationConfig()) | changes
        return Task("", "lightning_moa.runs.evaluate:evaluate", {"evaluation": evaluation}, package=False).key

    assert key(draws=10) == key(draws=1000) == key(prompt_sets={"x": {}})
    assert key(prompts=7) != key()


@pytest.fixture(scope="module")
def scontrol(tmp_path_factory):
    """A folder with a stand-in for SLURM's command, which notes what it is asked."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    (folder / "scontrol").chmod(0o755)
    return folder


def test_ddp_goes_on_whoever_starts_it(undisturbed, scontrol, tmp_path):
    """Stopped by SLURM's notice of its time's end, gone on with and stopped again under Lightning's own launcher."""
    one = begin(without_the_policy(undisturbed["dropout"], tmp_path / "one"), "dropout", [PAIR], 2).finish()
    assert one.trained() == [list(range(8))] * 2
    expected = left(one.folder)

    folder = without_the_policy(one.folder, tmp_path / "stopped")
    path = f"{scontrol}{os.pathsep}{os.environ['PATH']}"
    jobs = []

    def by_slurm(processes):
        environments = by_srun(processes)
        jobs.append(environments[0]["SLURM_JOB_ID"])
        return environments

    first = begin(folder, "dropout", [PAIR], 2, by_slurm, STOP_AT="3", STOP_BY="SIGUSR1", PATH=path)
    assert first.codes() == [0, 0]
    assert first.trained() == [list(range(4))] * 2
    check_stopped(first, 2, 4)
    assert (scontrol / "asked").read_text() == f"requeue {jobs[0]}\n"
    assert f"job {jobs[0]} is queued again" in first.errors(0)

    for rank in (0, 1):
        (folder / f"trained.{rank}").unlink()
    trace = folder / "trained.0"
    own = {"STUDIES": "dropout", "WORDS": words_of(folder, [PAIR]), "TRACE": str(trace), "STOP_AT": "5"}
    second = subprocess.run(
        [sys.executable, "-m", SCRIPT],
        cwd=REPOSITORY,
        env=os.environ | own | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert second.returncode == STOPPED, second.stderr
    # Both of its processes write to one file.
    assert sorted(trace.read_text().split()) == ["4", "4", "5", "5"]
    line = "shown, seed 0: stopped after update 3 of 4; start it again to go on from there"
    assert line in second.stderr.splitlines()
    assert "Traceback" not in second.stderr

    third = begin(folder, "dropout", [PAIR], 2).finish()
    assert third.trained() == [[6, 7]] * 2
    check_finished(third, expected)


def files_of(runs: Path, kind: str) -> dict[str, bytes]:
    """What the only training of all weights of a kind has left."""
    (run,) = runs.glob(f"{kind}-*")
    return {name: (run / name).read_bytes() for name in ("model/model.safetensors", "log/metrics.csv")}


def test_trainings_of_all_weights_go_on_too(tmp_path):
    """Of the base model, and of a reward model, each stopped once."""
    one = begin(tmp_path / "one", "whole").finish()
    folder = tmp_path / "stopped"
    first = begin(folder, "whole", OF="SFT", STOP_AT="5")
    assert first.codes() == [STOPPED]
    check_stopped(first, 3, 4, "base")
    second = begin(folder, "whole", OF="RewardModel", STOP_AT="3")
    assert second.codes() == [STOPPED]
    check_stopped(second, 2, 4, "reward_model")
    third = begin(folder, "whole", OF="RewardModel").finish()
    assert third.trained() == [[4, 5, 6, 7]]
    for kind in ("base", "reward_model"):
        assert files_of(third.runs, kind) == files_of(one.runs, kind), kind
    check_finished(third, left(one.folder))


def test_deepspeed_goes_on_with_each_processs_own_partitions(tmp_path):
    """First of a reward model, all of whose weights are trained, then of an adapter."""
    words = [PAIR, "hardware.strategy=deepspeed_3", "adapter.dropout=0.2", "dpo.steps=4"]
    one = begin(tmp_path / "one", "whole", words, 2).finish()
    folder = tmp_path / "stopped"
    for path in one.runs.iterdir():
        if path.name.startswith(("base", "exact", "reference")):
            shutil.copytree(path, folder / "runs" / path.name)
    first = begin(folder, "whole", words, 2, OF="RewardModel", STOP_AT="5")
    assert first.codes() == [STOPPED, STOPPED]
    check_stopped(first, 3, 4, "reward_model")
    second = begin(folder, "whole", words, 2, STOP_AT="1")
    assert second.codes() == [STOPPED, STOPPED]
    check_stopped(second, 2, 4)
    third = begin(folder, "whole", words, 2).finish()
    assert third.trained() == [[2, 3]] * 2
    assert files_of(third.runs, "reward_model") == files_of(one.runs, "reward_model")
    check_finished(third, left(one.folder))
