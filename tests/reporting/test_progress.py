"""What the display says, and the remaining time that it works out."""

import io

from rich.console import Console

from lightning_moa.reporting import progress
from lightning_moa.reporting.progress import Display
from lightning_moa.reporting.remaining import Left
from tests.study.jobs import job


def display(monkeypatch, workers=1):
    """Two tasks of cost 10 and 30, on a clock that the test sets."""
    clock = {"now": 100.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock["now"])
    tasks = [job("add", value=1, name="short"), job("add", value=2, name="long")]
    object.__setattr__(tasks[0], "cost", 10.0)
    object.__setattr__(tasks[1], "cost", 30.0)
    shown = io.StringIO()
    return Display(tasks, workers, Console(file=shown, width=200)), [t.key for t in tasks], clock, shown


def test_nothing_is_guessed_before_anything_is_measured(monkeypatch):
    shown, keys, clock, _ = display(monkeypatch)
    shown.start(keys[0])
    clock["now"] += 10
    assert shown.remaining() is None


def test_the_remaining_time_follows_what_was_measured(monkeypatch):
    shown, keys, clock, _ = display(monkeypatch)
    shown.start(keys[0])
    clock["now"] += 20
    shown.finish(keys[0])
    # 10 units took 20 seconds, 30 units are left.
    assert shown.remaining() == Left(60, whole=True)
    shown.start(keys[1])
    clock["now"] += 30
    shown.advance(keys[1], 0.5)
    # 25 units took 50 seconds, 15 are left.
    assert shown.remaining() == Left(30, whole=True)


def test_one_run_left_has_one_worker(monkeypatch):
    shown, keys, clock, _ = display(monkeypatch, workers=2)
    shown.start(keys[0])
    clock["now"] += 20
    shown.finish(keys[0])
    assert shown.remaining() == Left(60, whole=True)


def test_what_an_earlier_start_had_done_tells_nothing_of_the_pace(monkeypatch):
    shown, keys, clock, _ = display(monkeypatch)
    shown.start(keys[0], goes_on=True)
    shown.advance(keys[0], 0.5)
    clock["now"] += 10
    shown.finish(keys[0])
    # The last 5 units took 10 seconds, 30 are left.
    assert shown.remaining() == Left(60, whole=True)


def test_each_finished_or_failed_run_is_a_line(monkeypatch):
    shown, keys, clock, text = display(monkeypatch)
    shown.start(keys[0])
    clock["now"] += 20
    shown.finish(keys[0])
    shown.start(keys[1])
    shown.fail(keys[1])
    lines = text.getvalue().splitlines()
    assert "[1/2] short (20 s), about 1:00 left" in lines
    assert "failed: long" in lines
