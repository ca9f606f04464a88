"""Keys of tasks, their order, and the store of their results."""

import errno
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from lightning_moa import run_folders
from lightning_moa.config import HardwareConfig
from lightning_moa.errors import UserError
from lightning_moa.reach import digest
from lightning_moa.run_folders import clear_dead, is_done, publish, record, scratch_folder, sizes_of
from lightning_moa.study import tasks
from lightning_moa.study.tasks import Task, in_order
from tests.study.jobs import job

ADD = "tests.study.jobs:add"


@pytest.fixture(scope="module")
def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_key_names_the_function():
    assert job("add", value=1).key.startswith("add-")


def test_what_determines_the_result_changes_the_key():
    base = job("add", value=1)
    need = {"base": base}
    keys = [
        base.key,
        job("add", value=2).key,
        job("add", value=1, more=None).key,
        job("fail", value=1).key,
        job("add", need, value=1).key,
        job("add", {"other": base}, value=1).key,
        job("add", {"base": job("add", value=2)}, value=1).key,
    ]
    assert len(set(keys)) == len(keys)


def test_what_does_not_determine_the_result_leaves_the_key():
    one = Task("one", ADD, {"a": 1, "b": [2.0]}, cost=1.0, package=False)
    other = Task("other", ADD, {"b": [2.0], "a": 1}, cost=9.0, package=False)
    assert one.key == other.key


def test_the_package_s_code_changes_the_key_only_where_it_is_asked_to(monkeypatch):
    def keys():
        tasks._digests.cache_clear()
        return [Task("t", ADD, {}, package=package).key for package in (True, False)]

    before = keys()
    assert before[0] != before[1]
    real = digest.read

    def edited(path):
        source = real(path)
        if path.name == "execute.py":
            source.digest = "another"
        return source

    # The function's module imports it.
    monkeypatch.setattr(digest, "read", edited)
    after = keys()
    tasks._digests.cache_clear()
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_the_code_of_what_a_function_is_told_to_use_changes_the_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "my_answer.py"

    def keys(text):
        module.write_text(text)
        tasks._digests.cache_clear()
        return [
            Task("t", ADD, {}, code=code, package=False).key for code in ((), ("my_answer:A",), ["my_answer"])
        ]

    before, after = keys("A = 1"), keys("A = 2")
    assert len({*before}) == 2, "without it, and with it by either name"
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, False]


def test_library_versions_change_the_key(monkeypatch):
    before = job("add").key
    monkeypatch.setattr(tasks, "library_versions", lambda: {"torch": "0"})
    assert job("add").key != before


@pytest.mark.parametrize(
    ("package", "setting"),
    [
        ("bitsandbytes", {"precision": "int8"}),
        ("bitsandbytes", {"optimiser": "adamw_8bit"}),
        ("deepspeed", {"strategy": "deepspeed_2"}),
        # Reward models are trained by it, whatever the strategy of the rest.
        ("deepspeed", {"accelerator": "gpu", "precision": "bf16"}),
    ],
)
def test_a_package_for_gpus_changes_the_keys_of_what_it_computes(monkeypatch, package, setting):
    version = importlib.metadata.version
    hardware = asdict(HardwareConfig(accelerator="cpu"))

    def keys():
        return [job("add", hardware=each).key for each in ({**hardware, **setting}, hardware)]

    before = keys()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0" if name == package else version(name))
    (mine, others), (mine_now, others_now) = before, keys()
    assert mine_now != mine
    assert others_now == others


def test_needs_come_first_and_every_key_once():
    root = job("add", value=0)
    left, right = job("add", {"base": root}, value=1), job("add", {"base": root}, value=2)
    twin = job("add", {"base": job("add", value=0)}, value=1, name="the same again")
    top = job("add", {"a": left, "b": right}, value=3)
    ordered = [task.key for task in in_order([top, twin, right])]
    assert len(ordered) == 4
    assert ordered.index(root.key) < min(ordered.index(left.key), ordered.index(right.key))
    assert ordered[-1] == top.key


def test_a_result_appears_whole_and_replaces_an_older_one(tmp_path):
    for text in ("old", "new"):
        folder = scratch_folder(tmp_path, "add-1")
        (folder / "value.txt").write_text(text)
        assert not is_done(tmp_path, "add-1") or text == "new"
        (folder / "task.json").write_text(json.dumps({"seconds": 1.0}))
        publish(tmp_path, "add-1", folder, replace=True)
        assert is_done(tmp_path, "add-1")
        assert (tmp_path / "add-1" / "value.txt").read_text() == text
        assert [path.name for path in tmp_path.iterdir()] == ["add-1"]


def test_a_scratch_folder_is_empty_and_no_result(tmp_path):
    (scratch_folder(tmp_path, "add-1") / "left.txt").write_text("over")
    folder = scratch_folder(tmp_path, "add-1")
    assert list(folder.iterdir()) == []
    assert not is_done(tmp_path, "add-1")


def test_only_dead_processes_folders_are_cleared(tmp_path, dead_process):
    ours = scratch_folder(tmp_path / "made", "add-1").name.removeprefix(".add-1.")
    here, _, began = ours.rpartition("-")[0], *ours.rpartition("_")[1:]
    shutil.rmtree(tmp_path / "made")
    kept = [
        f".add-1.{ours}",
        f".add-1.old.{ours}",
        f".update-3.{ours}",
        f".add-1.another_machine-{dead_process}",
        "add-1",
        f"add-2.{dead_process}",
        ".cache",
    ]
    cleared = [f".add-1.{here}-{dead_process}_{began}", f".add-2.old.{here}-{dead_process}_{began}"]
    cleared += [f".update-3.{here}-{dead_process}_{began}", f".add-3.{here}-{os.getpid()}_1"]
    for name in kept + cleared:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    clear_dead(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_checkpoints_of_a_finished_run_are_cleared_and_those_of_one_made_anew_are_kept(tmp_path):
    for name, checkpoint, done in (("add-1", 100, 200), ("add-2", 200, 100), ("add-3", 100, None)):
        (tmp_path / f"partial-{name}").mkdir()
        os.utime(tmp_path / f"partial-{name}", (checkpoint, checkpoint))
        if done is not None:
            (tmp_path / name).mkdir()
            (tmp_path / name / "task.json").write_text("{}")
            os.utime(tmp_path / name / "task.json", (done, done))
    # A start that was killed between the two leaves the first.
    clear_dead(tmp_path)
    assert {path.name for path in tmp_path.glob("partial-*")} == {"partial-add-2", "partial-add-3"}


@pytest.mark.parametrize("by", ["the run's end", "a later start"])
def test_a_start_that_dies_while_it_removes_checkpoints_leaves_none(tmp_path, monkeypatch, by, dead_process):
    """Removing a file makes its folder younger than the finished run."""
    partial = tmp_path / "partial-add-1"
    for update in ("update-2", "update-4"):
        (partial / update).mkdir(parents=True)
        (partial / update / "0.json").write_text("{}")
    folder = scratch_folder(tmp_path, "add-1")
    (folder / "task.json").write_text("{}")

    def dies(place, **options):
        (place / "update-2" / "0.json").unlink()
        (place / "update-2").rmdir()
        os.utime(place, (time.time() + 10, time.time() + 10))
        raise KeyboardInterrupt

    if by == "a later start":
        folder.rename(tmp_path / "add-1")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", dies)
        patched.setattr(run_folders, "owner", lambda: f"{run_folders._MACHINE}{dead_process}_1")
        with pytest.raises(KeyboardInterrupt):
            clear_dead(tmp_path) if by == "a later start" else publish(
                tmp_path, "add-1", folder, replace=False
            )
    clear_dead(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["add-1"]


@pytest.mark.parametrize("hours", [-2, -1, 0, 1, 2])
def test_a_live_process_keeps_its_folder_whatever_the_disk_s_clock_says(tmp_path, hours):
    """Two starts of one machine share a disk whose server's clock is off."""
    folder = scratch_folder(tmp_path, "add-1")
    stamp = time.time() + 3600 * hours
    os.utime(folder, (stamp, stamp))
    clear_dead(tmp_path)
    assert folder.exists()


@pytest.mark.parametrize("replace", [False, True])
def test_a_full_disk_in_the_middle_of_a_rename_leaves_what_was_there(tmp_path, monkeypatch, replace):
    if replace:
        (tmp_path / "add-1").mkdir()
        (tmp_path / "add-1" / "task.json").write_text('{"seconds": 1}')
    folder = scratch_folder(tmp_path, "add-1")
    rename = Path.rename

    def full(self, target):
        if self == folder:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path, "add-1", folder, replace=replace)
    assert is_done(tmp_path, "add-1") is replace
    assert folder.exists()


def test_what_another_start_has_finished_meanwhile_is_kept(tmp_path):
    mine, theirs = scratch_folder(tmp_path, "add-1"), tmp_path / "add-1"
    theirs.mkdir()
    (theirs / "task.json").write_text('{"seconds": 7}')
    publish(tmp_path, "add-1", mine, replace=False)
    assert record(tmp_path, "add-1") == {"seconds": 7}
    assert [path.name for path in tmp_path.iterdir()] == ["add-1"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_text("4"), r"value\.txt: has 1 bytes, where the task left 2 bytes; delete"),
        (lambda file: file.unlink(), r"value\.txt: is missing, where the task left 2 bytes; delete the run"),
        (lambda file: file.rename(file.with_name("other")), r"value\.txt: is missing"),
    ],
)
def test_a_run_s_file_that_is_torn_is_named(tmp_path, spoil, said):
    folder = tmp_path / "add-1"
    (folder / "log").mkdir(parents=True)
    (folder / "value.txt").write_text("42")
    (folder / "log" / "metrics.csv").write_text("a")
    (folder / "task.json").write_text(json.dumps({"files": sizes_of(folder)}))
    # Loggers may add to theirs.
    (folder / "log" / "metrics.csv").write_text("a, and more")
    assert record(tmp_path, "add-1")["files"] == {"value.txt": 2}
    spoil(folder / "value.txt")
    with pytest.raises(UserError, match=said):
        record(tmp_path, "add-1")


def test_a_link_out_of_the_runs_is_not_followed(tmp_path):
    runs = tmp_path / "runs"
    (runs / "add-1").mkdir(parents=True)
    (runs / "add-1" / "task.json").write_text("{}")
    (tmp_path / "secret").write_text("x")
    (runs / "add-1" / "inside").symlink_to(runs / "add-1" / "task.json")
    record(runs, "add-1")
    (runs / "add-1" / "value.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"value\.txt: a link out of .*runs, which is not followed"):
        record(runs, "add-1")
    with pytest.raises(UserError, match=r"'\.\./secret' is no name of a run"):
        record(runs, "../secret")


def test_a_broken_record_names_its_file(tmp_path):
    (tmp_path / "add-1").mkdir()
    (tmp_path / "add-1" / "task.json").write_text("{")
    with pytest.raises(UserError, match=r"task\.json: not as a task wrote it .*delete the run's folder"):
        record(tmp_path, "add-1")


def test_tasks_that_go_on_from_one_another_are_put_in_order_in_their_number():
    """Each round needs both what came before it and what that was made of: as many ways as powers of two."""
    first = last = Task("0", "tests.study.jobs:add", {"value": 0, "log": ""}, {}, 1)
    before = first
    for number in range(1, 40):
        spec = {"value": number, "log": ""}
        last, before = Task(str(number), "tests.study.jobs:add", spec, {"a": last, "b": before}, 1), last
    ordered = in_order([last, first])
    assert [task.name for task in ordered] == [str(number) for number in range(40)]
