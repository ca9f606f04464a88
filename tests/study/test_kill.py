"""A study that is killed at random moments ends with the bytes of an undisturbed one; the benchmark that does it a
thousand times sees whatever differs."""

from __future__ import annotations

import json
import random
import signal

import pytest

from benchmarks import kills

QUICK = ("evaluation.grid_step=1", "sft.steps=12", "reward_model.steps=4", "dpo.steps=4")
KILLS = 12


def test_kills_at_random_moments_leave_no_trace(tmp_path):
    for workers, number in ((2, 1), (1, KILLS)):
        setting = kills.Setting("panacea/figure5", workers, 1, QUICK)
        table = kills.main(tmp_path / "kept", [setting], number, minutes=20, seed=2, folder=tmp_path)
    said = (tmp_path / "kept" / "log.jsonl").read_text()
    assert table["kills"].sum() >= KILLS, said
    assert set(table["workers"]) == {1, 2}
    assert not table[["not_as_promised", "files_that_differ"]].to_numpy().any(), said
    assert (table[["SIGKILL", "SIGTERM", "SIGINT", "SIGUSR1"]].sum() > 0).all()
    assert table["files_compared"].sum() > 100


class Ended:
    """A start of which the end is made up."""

    def __init__(self, root, codes, shown, work=None):
        self.root, self.ends, self.said, self.work = root, codes, shown, work

    def until(self, condition): ...
    def send(self, signum, whole): ...
    def is_over(self):
        return False

    def at_work(self):
        return {"a"}

    def finished(self):
        return 1

    def shown(self):
        return self.said

    def codes(self):
        if self.work:
            self.work(self.root)
        return self.ends


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """One with an undisturbed start of one run and one CSV; `start(codes, shown, work)` makes up all others."""
    made = kills.Bench(tmp_path, seed=0)
    model = tmp_path / "undisturbed" / "p-s-1"
    for place in ("runs/align-1/task.json", "runs/align-1/policy.bin", "results/p/s/points.csv"):
        (model / place).parent.mkdir(parents=True, exist_ok=True)
        (model / place).write_text("{}")
    (model / "done").write_text("")
    monkeypatch.setattr(kills.time, "sleep", lambda seconds: None)

    def start(codes, shown, work=None):
        monkeypatch.setattr(
            kills.Setting, "start", lambda self, root, every=0: Ended(root, codes, shown, work)
        )

    made.starts = start
    return made


def again(root, place="runs/align-1/policy.bin", text="{}"):
    for each in ("runs/align-1/task.json", "runs/align-1/policy.bin", "results/p/s/points.csv"):
        (root / each).parent.mkdir(parents=True, exist_ok=True)
        (root / each).write_text("{}")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_text(text)


@pytest.mark.parametrize(
    ("place", "text", "wrong"),
    [
        ("runs/align-1/task.json", '{"seconds": 3}', []),
        ("runs/align-1/policy.bin", "{ }", ["runs/align-1/policy.bin"]),
        ("results/p/s/points.csv", "", ["results/p/s/points.csv"]),
        ("runs/.align-1.host-7/half", "", ["runs/.align-1.host-7/half"]),
        ("results/p/s/.points.csv.12", "", ["results/p/s/.points.csv.12"]),
        ("runs/partial-align-1/update-3/x", "", ["partial-align-1", "runs/partial-align-1/update-3/x"]),
    ],
)
def test_whatever_differs_in_the_end_is_counted(bench, place, text, wrong):
    bench.starts([0], "", lambda root: again(root, place, text))
    bench.case(0, [kills.Setting("p/s", 1, 1)])
    (case,) = (event for event in bench.events if event["kind"] == "case")
    assert case["wrong"] == wrong
    (row,) = bench.rows()
    assert row["files_that_differ"] == len(wrong)
    assert json.loads(bench.log.read_text().splitlines()[-1]) == case


@pytest.mark.parametrize(
    ("signum", "codes", "shown", "fine"),
    [
        (signal.SIGTERM, [143], "stopped after update 3", True),
        (signal.SIGTERM, [0], "", True),
        (signal.SIGTERM, [-15], "", True),
        (signal.SIGTERM, [1], "", False),
        (signal.SIGTERM, [143], "Traceback (most recent call last)", False),
        (signal.SIGKILL, [-9, -9], "", True),
        (signal.SIGKILL, [137], "", False),
        (signal.SIGINT, [130, 1], "", False),
        (signal.SIGINT, [1], "Traceback\nimport torch\nKeyboardInterrupt", True),
        (signal.SIGINT, [1], "Traceback\n lightning_moa/study/script.py\nKeyboardInterrupt", False),
    ],
)
def test_an_end_that_is_not_as_promised_is_told(bench, signum, codes, shown, fine):
    assert (bench.not_as_promised(codes, signum, shown) == []) is fine


def test_a_later_start_goes_on_from_the_log(bench):
    bench.starts([-9], "", lambda root: again(root))
    bench.kill(kills.Setting("p/s", 1, 1), bench.folder / "case", random.Random(0), 1, "running", {"case": 4})
    assert kills.Bench(bench.folder, seed=0).kills() == bench.kills() == 1


def test_a_script_needs_its_own_runs_and_what_they_were_made_of(tmp_path):
    for name, inputs in {"align-1": ["base-1"], "base-1": ["data-1"], "data-1": [], "base-2": []}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.json").write_text(json.dumps({"inputs": dict(enumerate(inputs))}))
    assert kills.needed_runs(tmp_path, {"base-1", "base-2", "data-1"}) == {"align-1", "base-1", "data-1"}


def test_every_script_is_killed_in_every_way():
    drawn = list(kills.settings_of(kills.scripts()))
    assert len({each.script for each in drawn}) > 25
    assert {(each.workers, each.processes) for each in drawn} == {(1, 1), (2, 1), (1, 2)}
