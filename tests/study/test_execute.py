"""Running tasks: cached, in parallel, and through every way in which one can end."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lightning_moa.errors import UserError
from lightning_moa.study.execute import RunsFailed
from lightning_moa.study.tasks import is_done, record
from tests.study.jobs import job, run

REPOSITORY = Path(__file__).resolve().parents[2]


def diamond(log, **extra):
    """Four tasks: one, two that need it, and one that needs both; their values come to 8 at the top."""
    root = job("add", value=1, log=str(log), **extra)
    left, right = (job("add", {"base": root}, value=value, log=str(log), **extra) for value in (2, 4))
    return [root, left, right, job("add", {"a": left, "b": right}, value=0, log=str(log), **extra)]


def value(runs, task) -> int:
    return int((runs / task.key / "value.txt").read_text())


def calls(log) -> list[str]:
    return log.read_text().split() if log.exists() else []


def hidden(runs) -> list[str]:
    return [path.name for path in runs.iterdir() if path.name.startswith(".")]


def is_running(pid: int) -> bool:
    """A dead process whose parent hasn't asked for its end doesn't run."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_needs_are_found_and_every_task_runs_once(tmp_path, workers):
    log, runs = tmp_path / "log", tmp_path / "runs"
    made = diamond(log)
    shown = run(made[-1:], runs, workers)
    assert [value(runs, task) for task in made] == [1, 3, 5, 8]
    assert sorted(calls(log)) == ["0", "1", "2", "4"]
    assert calls(log)[0] == "1"
    assert calls(log)[-1] == "0"
    assert "4 runs to do, 0 already there" in shown
    assert hidden(runs) == []


def test_one_worker_and_two_leave_the_same_results(tmp_path):
    made = diamond(tmp_path / "log")
    for workers in (1, 2):
        run(made, tmp_path / str(workers), workers)
    for task in made:
        files = [{p.name for p in (tmp_path / n / task.key).iterdir()} for n in ("1", "2")]
        assert files[0] == files[1]
        assert value(tmp_path / "1", task) == value(tmp_path / "2", task)


def test_what_is_there_is_not_done_again_unless_asked(tmp_path):
    log, runs = tmp_path / "log", tmp_path / "runs"
    made = diamond(log)
    run(made, runs)
    assert "finished before: all 4 runs are there" in run(made, runs)
    assert len(calls(log)) == 4
    run(made, runs, fresh=True)
    assert len(calls(log)) == 8
    more = job("add", {"base": made[-1]}, value=5, log=str(log))
    assert "1 runs to do, 4 already there" in run([more], runs)
    assert value(runs, more) == 13


def test_the_record_says_what_was_done(tmp_path):
    task = job("add", value=1, log=str(tmp_path / "log"), name="the first")
    run([task], tmp_path / "runs")
    written = record(tmp_path / "runs", task.key)
    assert written["name"] == "the first"
    assert written["spec"] == dict(task.spec)
    assert written["steps"] == 3
    assert written["seconds"] >= 0
    assert written["peak_memory_mib"] > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_task_is_named_and_the_independent_ones_finish(tmp_path, workers):
    log, runs = tmp_path / "log", tmp_path / "runs"
    made = diamond(log)
    bad = job("fail", name="the unlucky one")
    after = job("add", {"bad": bad}, value=9, log=str(log), name="the one after it")
    with pytest.raises(RunsFailed) as caught:
        run([bad, after, *made], runs, workers)
    message = str(caught.value)
    assert "the unlucky one: ArithmeticError: no luck today (traceback in " in message
    assert "the one after it: not started" in message
    assert "add" not in message.replace(str(runs), "")
    assert [value(runs, task) for task in made] == [1, 3, 5, 8]
    assert not (runs / bad.key).exists()
    traceback = Path(re.search(r"traceback in (.*?)\)", message)[1]).read_text()
    assert "in fail" in traceback
    assert "no luck today" in traceback


def test_a_success_takes_the_old_traceback_away(tmp_path):
    runs = tmp_path / "runs"
    task = job("add", value=1, log=str(tmp_path / "missing" / "log"))
    with pytest.raises(RunsFailed):
        run([task], runs)
    assert list(runs.glob("failed-*"))
    (tmp_path / "missing").mkdir()
    run([task], runs)
    assert not list(runs.glob("failed-*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_input_found_by_a_task_is_the_users_error(tmp_path, workers):
    made = diamond(tmp_path / "log")
    with pytest.raises(UserError, match=r"^data\.path=nowhere: no such file$"):
        run([job("refuse"), *made], tmp_path / "runs", workers)
    assert not (tmp_path / "runs" / job("refuse").key).exists()


def test_a_killed_worker_fails_its_own_task_alone(tmp_path):
    log, runs = tmp_path / "log", tmp_path / "runs"
    made = diamond(log)
    bad = job("die", name="the killed one")
    with pytest.raises(RunsFailed, match=r"^the killed one: its process was killed$"):
        run([bad, *made], runs, workers=2)
    assert [value(runs, task) for task in made] == [1, 3, 5, 8]
    assert not (runs / bad.key).exists()
    # The next start clears what the dead process left and tries again.
    with pytest.raises(RunsFailed, match="its process was killed"):
        run([bad, job("add", value=3, log=str(log))], runs, workers=2)
    run(made, runs)
    assert hidden(runs) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_start_leaves_no_half_result_and_the_next_one_completes(tmp_path, workers):
    runs, started, log = tmp_path / "runs", tmp_path / "started", tmp_path / "log"
    slow = job("linger", started=str(started))
    after = job("add", {"base": slow}, value=1, log=str(log))
    quick = job("add", value=7, log=str(log))
    code = (
        "from pathlib import Path\nfrom tests.study.jobs import job, run\n"
        f"slow = job('linger', started={str(started)!r})\n"
        f"after = job('add', {{'base': slow}}, value=1, log={str(log)!r})\n"
        f"quick = job('add', value=7, log={str(log)!r})\n"
        f"run([quick, slow, after], Path({str(runs)!r}), workers={workers})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    try:
        wait_for(lambda: started.exists() and is_done(runs, quick.key))
        working = int(started.read_text())
        assert (working == process.pid) is (workers == 1)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (runs / slow.key).exists()
    assert hidden(runs)
    # A worker ends by itself soon after the process that it worked for.
    wait_for(lambda: not is_running(working))
    shown = run([quick, slow, after], runs, workers)
    assert "2 runs to do, 1 already there" in shown
    assert value(runs, after) == 2
    assert calls(log) == ["7", "1"]
    assert hidden(runs) == []


def test_a_runs_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/runs: the folder cannot be made"):
        run([job("add", value=1)], tmp_path / "file" / "runs")
