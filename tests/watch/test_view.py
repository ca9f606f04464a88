"""What is shown of runs, in a terminal and in a pipe."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from lightning_moa.cli import main
from lightning_moa.reporting.under_way import STUDIES
from lightning_moa.watch import seen
from lightning_moa.watch.view import View, plain, trend_of
from lightning_moa.watch.watcher import Watcher
from tests import forked
from tests.demo.conftest import REPOSITORY
from tests.watch import folders
from tests.watch.folders import ELSEWHERE, GONE


def shown(runs, width=200, only=(), encoding="utf-8"):
    """Lines as a terminal of that width shows them."""
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=written, width=width).print(View(runs, Watcher(runs).look(), only))
    written.seek(0)
    return [line.rstrip() for line in written.read().splitlines() if line.strip()]


@pytest.fixture
def runs(tmp_path):
    folders.start(tmp_path, 6, workers=2)
    folders.done(tmp_path, 0)
    folders.at_work(tmp_path, 1)
    folders.failed(tmp_path, 2)
    folders.at_work(tmp_path, 3, owned_by=GONE)
    folders.at_work(tmp_path, 4, owned_by=ELSEWHERE)
    return tmp_path


def test_a_study_in_lines(runs):
    lines = shown(runs)
    assert lines[0] == "figure5.py scale=smoke"
    assert (
        "in progress for 1:00, 2 workers: 1 of 6 runs done, 2 at work, 1 waiting, 1 failed, 1 killed"
        in lines[1]
    )
    assert "about 0:" in lines[1]
    assert lines[2].endswith("33%")
    assert lines[3] == "  policy 1, 50%, update 4, 0:20 so far, about 0:10 left"
    assert lines[4].split("  ")[3:] == ["loss 0.25 █▁", " grid/reward/a 1.5"]
    assert lines[5].startswith(
        "  policy 4, 50%, update 4, 0:20 so far, about 0:10 left, on elsewhere, wrote last 0:0"
    )
    assert lines[7].startswith("  policy 2, failed, update 4, Diverged: the KL is 300 (")
    assert lines[9].startswith("  policy 3, killed, update 4, its process is gone")
    assert lines[11] == "  policy 0, done, 0:20"


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_shows_all_of_it(runs, width):
    lines = shown(runs, width)
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).split())
    for each in (
        "1 failed",
        "about 0:10 left",
        "grid/reward/a 1.5",
        "Diverged: the KL is 300",
        "policy 3, killed",
    ):
        assert each in words


def test_only_the_numbers_that_are_asked_for(runs):
    text = "\n".join(shown(runs, only=["grid/"]))
    assert "grid/reward/a 1.5" in text
    assert "loss" not in text


def test_where_there_are_no_blocks_there_are_no_trends(runs):
    text = "\n".join(shown(runs, encoding="ascii"))
    assert "loss 0.25" in text
    assert text.isascii()


def test_how_studies_ended(tmp_path):
    folders.start(tmp_path, 1, GONE, "a-1", began=1.0)
    for i in range(7):
        folders.start(
            tmp_path, 1, GONE, f"b-{i}", began=2.0 + i, ended=time.time() - 65, how=f"stopped by me {i}"
        )
    text = "\n".join(shown(tmp_path))
    assert "  ended 1:05 ago: 0 of 1 run done, 1 not begun; stopped by me 6\n" in text
    assert "stopped by me 1" not in text
    assert text.endswith("and 3 that ended before")


def test_texts_of_files_are_no_commands(tmp_path):
    folders.start(tmp_path, 1, script="x\x1b[2J[red]y\x9b", arguments=["[/]\n", "\u202e"])
    assert shown(tmp_path)[0] == "x [2J[red]y  [/]"
    assert plain("a\tb\x1b\x07") == "a b  "


def test_a_trend_is_means_of_what_follows_each_other():
    assert trend_of([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert trend_of([1.0] * 5) == "▁▁▁▁▁"
    assert trend_of([0, float("nan"), float("inf"), 1]) == "▁  █"
    assert trend_of([]) == ""
    many = trend_of(list(range(1000)))
    assert len(many) <= 12
    assert (many[0], many[-1]) == ("▁", "█")


def test_the_command_prints_once_in_a_pipe(runs, capsys):
    assert main(["watch", str(runs), "--last", "0"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("figure5.py scale=smoke\n")
    assert "policy 0, done" not in printed


def test_the_command_says_that_there_is_no_run_yet(tmp_path, capsys):
    assert main(["watch", str(tmp_path), "--once"]) == 0
    assert capsys.readouterr().out.strip() == f"{tmp_path}: no run yet"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "error: nowhere: no such folder"),
        ([".", "--every", "0"], "error: --every 0: must be at least 0.2"),
        ([".", "--every", "nan"], "error: --every nan: must be at least 0.2"),
        (
            [".", "--every", "inf"],
            "error: --every inf: must be at least 0.2 seconds, and at most a day's 86400",
        ),
        ([".", "--last", "-1"], "error: --last -1: must be at least 0"),
    ],
)
def test_bad_input_is_one_line(words, said, capsys):
    assert main(["watch", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)


def test_a_terminal_is_looked_at_again_until_it_is_interrupted(runs, monkeypatch, capsys):
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        folders.done(runs, 3 + len(looks))
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["watch", str(runs), "--every", "0.5"]) == 0
    assert looks == [0.5, 0.5]
    printed = capsys.readouterr().out
    assert "1 of 6 runs done" in printed
    # What was seen last stays behind.
    assert "3 of 6 runs done" in printed.rpartition("\x1b[?1049l")[2]


def test_a_real_study_in_progress_and_killed(tmp_path):
    words = [
        "scale=smoke",
        "workers=1",
        "methods=[panacea_ls]",
        "sft.steps=2",
        "dpo.steps=800",
        "reward_model.steps=2",
    ]
    words += [f"results_dir={tmp_path / 'results'}", f"runs_dir={tmp_path / 'runs'}"]
    words.append("trainer.callbacks=[tests.watch.looking:Every20]")
    script = REPOSITORY / "experiments" / "panacea" / "figure5.py"
    started = forked.start(script, words, out=tmp_path / "out", folder=REPOSITORY)
    try:
        deadline = time.monotonic() + forked.TIMEOUT
        while not (training := trained_now(tmp_path / "runs")):
            assert started.is_alive(), (tmp_path / "out").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        lines = shown(tmp_path / "runs", width=1000)
    finally:
        started.kill()
        started.join()
    assert training.name == "panacea_ls, seed 0"
    assert training.left > 1
    assert 0 < training.share < 1
    assert {"loss/helpful", "loss/harmless", "grid/reward/helpful", "grid/reward/harmless"} <= set(
        training.series
    )
    assert lines[0].startswith("figure5.py scale=smoke workers=1 methods=[panacea_ls]")
    assert "1 worker: " in lines[1]
    assert "1 at work" in lines[1]
    (study,) = Watcher(tmp_path / "runs").look().studies
    assert study.state == seen.KILLED
    assert {run.state for run in study.runs} == {seen.DONE, seen.KILLED, seen.NOT_BEGUN}


def trained_now(runs):
    """A training under way that has told of rewards and of more than one share."""
    if not (runs / STUDIES).is_dir():
        return None
    working = [
        run for study in Watcher(runs).look().studies for run in study.runs if run.state == seen.AT_WORK
    ]
    return next((run for run in working if run.left and "grid/reward/helpful" in run.series), None)
