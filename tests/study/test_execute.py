"""Running tasks: cached, in parallel, and through every way in which one can end."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from lightning_moa.errors import Stopped, UserError
from lightning_moa.reporting.under_way import STUDIES
from lightning_moa.run_folders import is_done, record
from lightning_moa.signals import SIGNALS
from lightning_moa.study import execute
from lightning_moa.study.execute import RunsFailed
from tests import forked
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


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("code", [0, 7, None])
def test_a_task_that_ends_its_process_has_failed_and_the_others_finish(tmp_path, workers, code):
    runs, other = tmp_path / "runs", job("add", value=1, log=str(tmp_path / "log"))
    with pytest.raises(RunsFailed, match=f"the quitter: SystemExit: {code} .traceback in "):
        run([job("leave", code=code, name="the quitter"), other], runs, workers)
    assert is_done(runs, other.key)


def test_a_failure_says_its_step_and_what_to_try_and_keeps_its_log(tmp_path):
    runs, other = tmp_path / "runs", job("add", value=1, log=str(tmp_path / "log"))
    far, off = job("diverge", name="gapo, seed 0"), job("stumble", name="mgda, seed 0")
    with pytest.raises(RunsFailed) as caught:
        run([far, off, other], runs, workers=2)
    message = str(caught.value)
    assert "gapo, seed 0: step 7: the KL is 300; try a smaller lr (traceback in " in message
    assert "mgda, seed 0: ZeroDivisionError: no weights; in step 2 (traceback in " in message
    assert (runs / f"failed-{far.key}" / "log.csv").read_text() == "0.1"
    assert is_done(runs, other.key)


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


@contextmanager
def sent(signum, condition, target=os.getpid):
    """Inside, a process gets the signal as soon as a condition holds. Where nobody heeds it here, the test fails."""
    over = threading.Event()

    def wait_and_send():
        while not condition():
            if over.wait(0.02):
                return
        os.kill(target(), signum)

    def unheeded(signum, frame):
        raise AssertionError(f"nobody has heeded signal {signum}")

    former = {each: signal.signal(each, unheeded) for each in SIGNALS}
    thread = threading.Thread(target=wait_and_send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for each, handler in former.items():
            signal.signal(each, handler)


def trainings(folder, seconds=(0.3, 0.6)):
    """Two that go on until they are told to stop."""
    return [
        job("train", name=f"policy {i}", number=i, folder=str(folder), seconds=each)
        for i, each in enumerate(seconds)
    ]


def words_of(process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def both_at_work(folder):
    return lambda: len(list(folder.glob("at-work-*"))) == 2


def stopped_line(number: int) -> str:
    return f"policy {number}: stopped after update {number} of 9; start it again to go on from there"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_is_passed_on_and_every_workers_checkpoint_is_waited_for(tmp_path, signum):
    runs, made = tmp_path / "runs", trainings(tmp_path)
    with pytest.raises(Stopped) as caught, sent(signum, both_at_work(tmp_path)):
        run(made, runs, workers=2)
    assert sorted(str(caught.value).splitlines()) == [stopped_line(0), stopped_line(1)]
    assert caught.value.signum == signum
    assert {path.name for path in runs.iterdir()} == {STUDIES, *(f"partial-{task.key}" for task in made)}


def test_a_signal_to_one_worker_stops_its_neighbour_too(tmp_path):
    path = tmp_path / "at-work-1"
    with (
        pytest.raises(Stopped) as caught,
        sent(signal.SIGTERM, both_at_work(tmp_path), lambda: int(path.read_text())),
    ):
        run(trainings(tmp_path), tmp_path / "runs", workers=2)
    assert sorted(str(caught.value).splitlines()) == [stopped_line(0), stopped_line(1)]
    assert caught.value.signum == signal.SIGTERM


def test_bad_input_beside_a_training_lets_it_leave_a_checkpoint(tmp_path):
    (training, _), bad = trainings(tmp_path), job("refuse", after=str(tmp_path / "at-work-0"))
    with pytest.raises(UserError, match=r"^data\.path=nowhere: no such file$"):
        run([training, bad], tmp_path / "runs", workers=2)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {STUDIES, f"partial-{training.key}"}


def test_a_worker_that_takes_too_long_is_ended_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "STOPS_WITHIN", 1.0)
    runs = tmp_path / "runs"
    with pytest.raises(Stopped) as caught, sent(signal.SIGTERM, both_at_work(tmp_path)):
        run(trainings(tmp_path, (0.0, 60.0)), runs, workers=2)
    lines = sorted(str(caught.value).splitlines())
    assert lines == [stopped_line(0), "policy 1: ended, for it left no checkpoint within 1 s"]
    assert hidden(runs) == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_what_leaves_no_checkpoint_ends_at_once_with_a_line(tmp_path, workers, signum):
    runs, started = tmp_path / "runs", tmp_path / "started"
    slow = job("linger", name="measure it", started=str(started))
    with pytest.raises(Stopped) as caught, sent(signum, started.exists):
        run([slow, job("add", {"base": slow}, value=1, log=str(tmp_path / "log"))], runs, workers)
    assert str(caught.value) == (
        f"measure it: ended by {signal.Signals(signum).name}; started again it goes on from its last checkpoint, or "
        "begins anew"
    )
    assert hidden(runs) == []


def test_a_signal_to_a_worker_that_has_just_begun_waits_until_it_can_be_heeded(tmp_path):
    """At once after the start of its process, which has yet to become a worker."""
    slow = [job("linger", name=f"the {i}", started=str(tmp_path / f"{i}")) for i in (0, 1)]

    before = set(psutil.Process().children(recursive=True))

    def begun():
        """A process that is no helper of multiprocessing's own."""
        new = set(psutil.Process().children(recursive=True)) - before
        return any(each.ppid() != os.getpid() or "spawn_main" in " ".join(words_of(each)) for each in new)

    with pytest.raises(Stopped, match=r"^the [01]: ended by SIGINT"), sent(signal.SIGINT, begun):
        run(slow, tmp_path / "runs", workers=2)


def test_a_script_without_a_guard_is_asked_for_one(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(
        "from pathlib import Path\nfrom lightning_moa.reporting.console import run_command\n"
        "from tests.study.jobs import job, run\n"
        f"made = [job('add', value=i, log={str(tmp_path / 'log')!r}) for i in (1, 2)]\n"
        f"raise SystemExit(run_command(lambda: run(made, Path({str(tmp_path / 'runs')!r}), workers=2) and 0))\n"
    )
    done = forked.run(script, folder=REPOSITORY)
    assert done.returncode == 2
    assert done.stderr == (
        f'error: {script}: workers import this script, so what it starts must stand under if __name__ == "__main__": '
        "at its end (workers=1 works without)\n"
    )
    assert not (tmp_path / "log").exists()


def test_a_runs_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/runs: the folder cannot be made"):
        run([job("add", value=1)], tmp_path / "file" / "runs")
