"""A study that is killed again and again, at random moments, ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "experiments" / "panacea" / "figure5.py"
SAME_BYTES = ("points.csv", "accuracies.csv", "metrics.csv", "claims.csv")
QUICK = ["evaluation.grid_step=1", "sft.steps=12", "reward_model.steps=4", "dpo.steps=4"]


def start(root: Path, workers: int) -> Any:
    # Starts must find each other's runs even where somebody edits the package meanwhile.
    words = ["scale=smoke", f"workers={workers}", "code_in_key=false", *QUICK]
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    root.mkdir(exist_ok=True)
    return forked.start(SCRIPT, [*words, *folders], out=root / "shown", folder=REPOSITORY, group=True)


def finished(root: Path) -> int:
    """How many runs lie there whole."""
    return len(list((root / "runs").glob("[a-z]*/task.json")))


def wait_for_work(process: Any, root: Path, runs: int = 0) -> None:
    """Until this start works on a run, rather than imports libraries, and so many runs are finished."""
    before = {path.name for path in (root / "runs").glob(".*-*.*")}
    deadline = time.monotonic() + 240
    while {path.name for path in (root / "runs").glob(".*-*.*")} <= before or finished(root) < runs:
        if process.exitcode is not None:
            return
        assert time.monotonic() < deadline, "it did not begin to work"
        time.sleep(0.02)


def finish(process: Any, root: Path) -> dict[str, bytes]:
    """Wait for the end; the CSVs that it leaves."""
    process.join(240)
    assert process.exitcode == 0, (root / "shown").read_text()
    folder = root / "results" / "panacea" / "figure5" / "smoke"
    return {name: (folder / name).read_bytes() for name in SAME_BYTES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The CSVs of a run from start to end, and the seconds that one of its runs takes, start-up left out."""
    root = tmp_path_factory.mktemp("undisturbed")
    process = start(root, workers=1)
    wait_for_work(process, root)
    began = time.monotonic()
    expected = finish(process, root)
    return expected, (time.monotonic() - began) / finished(root)


@pytest.mark.parametrize(("workers", "seed", "kills"), [(1, 0, 2), (2, 1, 1)])
def test_kills_at_random_moments_leave_no_trace(undisturbed, tmp_path, workers, seed, kills):
    expected, seconds = undisturbed
    root, rng = tmp_path / "killed", random.Random(seed)
    done: list[int] = []
    for kill in range(kills):
        process = start(root, workers)
        # Counted in finished runs, since a busy machine would spend any number of seconds on the first of them.
        wait_for_work(process, root, runs=kill + 1)
        time.sleep(rng.uniform(0.0, seconds))
        # The workers with it, as when the power fails, or the first process alone, as the kernel may choose.
        if rng.random() < 0.5:
            os.killpg(process.pid, signal.SIGKILL)
        elif process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        done.append(finished(root))
    assert done[-1] > 0
    assert done == sorted(done)
    assert finish(start(root, workers), root) == expected
    assert not list((root / "runs").glob(".*-*.*"))


def test_an_interruption_of_all_workers_is_said_and_gone_on_from(undisturbed, tmp_path):
    """Ctrl-C reaches each process of the group, and the first passes it on besides."""
    expected, seconds = undisturbed
    root = tmp_path / "interrupted"
    process = start(root, workers=2)
    wait_for_work(process, root, runs=4)
    time.sleep(random.Random(3).uniform(0.0, seconds))
    os.killpg(process.pid, signal.SIGINT)
    process.join()
    shown = (root / "shown").read_text()
    assert process.exitcode == 128 + signal.SIGINT, shown
    assert re.search(r"seed 0: (stopped after update \d of 4|ended by SIGINT)|stopped by SIGINT", shown), (
        shown
    )
    assert "Traceback" not in shown
    assert not list((root / "runs").glob(".*-*.*"))
    assert finish(start(root, workers=2), root) == expected
