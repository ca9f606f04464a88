"""A runs folder that several starts share, of one machine or of several, and one that can't be written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lightning_moa import run_folders
from lightning_moa.errors import UserError
from lightning_moa.run_folders import is_done, publish, record, scratch_folder
from lightning_moa.study import execute
from tests.study.jobs import job, run
from tests.study.test_execute import calls, diamond, hidden, value


def meanwhile(monkeypatch, act):
    """Let something happen each time when a task of this process has just done its work."""
    write = execute._write_record

    def written(folder, order, *rest):
        write(folder, order, *rest)
        act(order)

    monkeypatch.setattr(execute, "_write_record", written)


def test_two_working_folders_with_one_runs_folder_end_alike(tmp_path, monkeypatch):
    """The other start is always a little quicker: each run is there when this one wants to put its own there."""
    runs, log = tmp_path / "runs", tmp_path / "log"
    made = diamond(log)
    busy = []

    def other(order):
        if not busy:
            busy.append(order.key)
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr(run_folders, "owner", lambda: "another_machine-7_1")
                execute.perform(order)
            busy.clear()

    meanwhile(monkeypatch, other)
    run(made, runs)
    assert [value(runs, task) for task in made] == [1, 3, 5, 8]
    assert len(calls(log)) == 8
    assert hidden(runs) == []
    assert not list(runs.glob("failed-*"))


def test_a_run_that_fails_after_another_start_has_finished_it_is_done(tmp_path, monkeypatch):
    """Its checkpoints were cleared away by the other one."""
    runs, task = tmp_path / "runs", job("add", value=1, log=str(tmp_path / "log"))
    function = execute.importlib.import_module("tests.study.jobs").add

    def robbed(spec, inputs, out, progress):
        folder = scratch_folder(runs, "other-1")
        (folder / "task.json").write_text("{}")
        (folder / "value.txt").write_text("1")
        publish(runs, task.key, folder, replace=False)
        raise FileNotFoundError("update-3/0.json")

    monkeypatch.setattr("tests.study.jobs.add", robbed)
    run([task], runs)
    assert is_done(runs, task.key)
    assert hidden(runs) == []
    monkeypatch.setattr("tests.study.jobs.add", function)
    with pytest.raises(execute.RunsFailed):
        run([job("fail")], runs)


def test_threads_of_two_starts_at_once(tmp_path):
    runs = tmp_path / "runs"
    made = [job("add", value=i, log=str(tmp_path / "log")) for i in range(12)]
    errors: list[BaseException] = []

    def start():
        try:
            for task in made:
                order = execute._Order.of(task, runs)
                folder = runs / f".{task.key}.{threading.get_ident()}"
                folder.mkdir(parents=True)
                (folder / "task.json").write_text('{"of": "both"}')
                publish(runs, order.key, folder, replace=False)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert sorted(path.name for path in runs.iterdir()) == sorted(task.key for task in made)


def test_a_read_only_runs_folder_serves_what_is_there_and_takes_nothing_new(tmp_path, monkeypatch):
    runs, log = tmp_path / "runs", tmp_path / "log"
    made = diamond(log)
    run(made, runs)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != runs)
    assert "all 4 runs are there" in run(made, runs)
    with pytest.raises(UserError, match=r"runs: cannot be written, for .*runs is read-only$"):
        run([*made, job("add", value=9, log=str(log))], runs)
    assert len(calls(log)) == 4


def test_a_torn_run_is_named_before_anything_is_made_of_it(tmp_path):
    runs, log = tmp_path / "runs", tmp_path / "log"
    made = diamond(log)
    run(made[:1], runs)
    assert record(runs, made[0].key)["files"] == {"value.txt": 1}
    (runs / made[0].key / "value.txt").write_text("")
    with pytest.raises(
        UserError, match=r"value\.txt: has 0 bytes, where the task left 1 bytes; delete the run"
    ):
        run(made, runs)
    assert calls(log) == ["1"]
    # Asked for anew, it is made anew.
    run(made, runs, fresh=True)
    assert value(runs, made[-1]) == 8


def test_what_another_start_finished_before_a_tasks_turn_is_left_as_it_is(tmp_path):
    runs, log = tmp_path / "runs", tmp_path / "log"
    task = job("add", value=1, log=str(log))
    execute.perform(execute._Order.of(task, runs))
    there = (runs / task.key).stat().st_ino
    execute.perform(execute._Order.of(task, runs))
    assert (runs / task.key).stat().st_ino == there
    assert len(calls(log)) == 1
    execute.perform(execute._Order.of(task, runs, fresh=True))
    assert len(calls(log)) == 2
    assert (runs / task.key).stat().st_ino != there


def test_a_folder_without_a_record_is_told_before_anything_is_made(tmp_path):
    runs, log = tmp_path / "runs", tmp_path / "log"
    task = job("add", value=1, log=str(log))
    (runs / task.key).mkdir(parents=True)
    (runs / task.key / "half.txt").write_text("half")
    with pytest.raises(
        UserError, match=r"add-\w+: not as a task leaves it, task\.json is missing; delete the"
    ):
        run([task], runs)
    assert not log.exists()


def test_a_failure_that_two_processes_leave_at_once_is_told_as_it_is(tmp_path, monkeypatch):
    task = job("fail", value=1)
    rename = Path.rename

    def late(self, target):
        if Path(target).name.startswith("failed-") and not Path(target).exists():
            Path(target).mkdir()
            (Path(target) / "error.txt").write_text("the other's")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(RuntimeError, match="ArithmeticError: no luck today"):
        execute.perform(execute._Order.of(task, tmp_path))
    assert (tmp_path / f"failed-{task.key}" / "error.txt").read_text() == "the other's"


def test_two_fresh_starts_that_publish_at_once_leave_a_whole_run(tmp_path, monkeypatch):
    log = tmp_path / "log"
    task = job("add", value=1, log=str(log))
    execute.perform(execute._Order.of(task, tmp_path))
    rename = Path.rename

    def late(self, target):
        if Path(target) == tmp_path / task.key and not Path(target).exists():
            Path(target).mkdir()
            (Path(target) / "value.txt").write_text("1")
            (Path(target) / "task.json").write_text("{}")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    execute.perform(execute._Order.of(task, tmp_path, fresh=True))
    assert is_done(tmp_path, task.key)
    assert hidden(tmp_path) == []
