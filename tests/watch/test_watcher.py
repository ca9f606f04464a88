"""What is seen of runs in every state, and where others write meanwhile."""

from __future__ import annotations

import io
import json
import os
import shutil

import pytest
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.reporting.under_way import PROGRESS, STUDIES
from lightning_moa.study.execute import RunsFailed
from lightning_moa.watch import files, seen
from lightning_moa.watch.view import View
from lightning_moa.watch.watcher import Watcher
from tests.study.jobs import job, run
from tests.watch import folders
from tests.watch.folders import ELSEWHERE, GONE, KEYS


def states(study):
    return [each.state for each in study.runs]


def test_a_study_in_progress_its_runs_and_what_is_left(tmp_path):
    folders.start(tmp_path, 6)
    folders.done(tmp_path, 0)
    folders.at_work(tmp_path, 1)
    folders.failed(tmp_path, 2)
    folders.stopped(tmp_path, 3)
    folders.at_work(tmp_path, 4, owned_by=GONE)
    found = Watcher(tmp_path).look()
    (study,) = found.studies
    assert (study.state, study.alive, study.machine) == ("in progress", True, None)
    expected = [seen.DONE, seen.AT_WORK, seen.FAILED, seen.WAITING, seen.KILLED, seen.WAITING]
    assert states(study) == expected
    done, working, failed, goes_on, killed, _ = study.runs
    assert (done.name, done.seconds, done.share) == ("policy 0", 20, 1)
    assert (working.share, working.update) == (0.5, 4)
    assert working.series == {"loss": [(0, 0.5), (3, 0.25)], "grid/reward/a": [(4, 1.5)]}
    assert working.seconds == pytest.approx(20, abs=2)
    # Half in the ten seconds since it told its first share.
    assert working.left == pytest.approx(10, abs=2)
    assert failed.said.startswith("Diverged: the KL is 300 (")
    assert goes_on.said == "goes on from update 7"
    assert killed.left is None
    # Of 60 expected seconds 10 + 5 are done and took 20 + 20; one worker has the rest of that run, as it says itself,
    # and two of 10 at that pace.
    assert study.left is not None
    assert study.left.seconds == pytest.approx(10 + 20 * 40 / 15, abs=5)
    assert study.share == pytest.approx((10 + 5) / 60)
    assert found.problems == []
    assert found.others == []


def test_the_last_run_of_many_workers_is_waited_for_alone(tmp_path):
    folders.start(tmp_path, 3, workers=8)
    folders.done(tmp_path, 0)
    folders.done(tmp_path, 1)
    folders.at_work(tmp_path, 2)
    (study,) = Watcher(tmp_path).look().studies
    assert study.left is not None
    assert study.left.seconds == pytest.approx(10, abs=2)


def test_before_anything_is_done_nothing_is_known_to_be_left(tmp_path):
    folders.start(tmp_path, 1)
    folders.at_work(tmp_path, 0, share=0.0)
    (study,) = Watcher(tmp_path).look().studies
    assert study.left is None
    assert study.runs[0].left is None


@pytest.mark.parametrize(
    ("owned_by", "told", "state", "first", "second"),
    [
        (GONE, {}, seen.KILLED, seen.KILLED, seen.STOPPED),
        (GONE, {"how": "stopped by SIGTERM", "ended": 5.0}, "stopped by SIGTERM", seen.KILLED, seen.STOPPED),
        (ELSEWHERE, {}, "in progress", seen.KILLED, seen.WAITING),
    ],
)
def test_who_lives_who_is_gone_and_who_is_out_of_sight(tmp_path, owned_by, told, state, first, second):
    folders.start(tmp_path, 3, owned_by, **told)
    folders.at_work(tmp_path, 0, owned_by=GONE)
    folders.stopped(tmp_path, 1)
    (study,) = Watcher(tmp_path).look().studies
    assert study.state == state
    assert study.machine == ("elsewhere" if owned_by == ELSEWHERE else None)
    assert states(study)[:2] == [first, second]
    assert states(study)[2] == (seen.WAITING if state == "in progress" else seen.NOT_BEGUN)
    assert study.left is None


def test_a_run_of_another_machine_says_when_it_wrote_last(tmp_path):
    folders.start(tmp_path, 1, ELSEWHERE)
    folder = folders.at_work(tmp_path, 0, owned_by=ELSEWHERE)
    for path in (folder / PROGRESS, folder / "log" / "metrics.csv", folder):
        os.utime(path, (1e9, 1e9))
    (study,) = Watcher(tmp_path).look().studies
    assert study.alive is None
    assert study.runs[0].elsewhere == "elsewhere"
    assert study.runs[0].silent == study.silent > 1e8


def test_a_failure_from_before_a_start_waits_to_be_done_again(tmp_path):
    folders.start(tmp_path, 1)
    folders.failed(tmp_path, 0)
    os.utime(tmp_path / f"failed-{KEYS[0]}" / "error.txt", (1e9, 1e9))
    (study,) = Watcher(tmp_path).look().studies
    assert states(study) == [seen.WAITING]


def test_what_is_made_once_more_is_not_done(tmp_path):
    """As with fresh=true: what was there before is asked for again."""
    folders.start(tmp_path, 3, began=2e9)
    for i in range(3):
        folders.done(tmp_path, i)
    folders.at_work(tmp_path, 1)
    os.utime(tmp_path / KEYS[2] / "task.json", (2e9 + 5, 2e9 + 5))
    (study,) = Watcher(tmp_path).look().studies
    assert states(study) == [seen.WAITING, seen.AT_WORK, seen.DONE]


def test_several_studies_and_runs_of_none(tmp_path):
    folders.start(tmp_path, 1, name="a-1", how="finished", ended=100.0, began=1.0)
    folders.start(tmp_path, 2, name="b-2")
    folders.done(tmp_path, 0)
    folders.failed(tmp_path, 5)
    folders.done(tmp_path, 6)
    folders.at_work(tmp_path, 7)
    found = Watcher(tmp_path).look()
    assert [study.state for study in found.studies] == ["in progress", "finished"]
    assert [states(study) for study in found.studies] == [[seen.DONE, seen.WAITING], [seen.DONE]]
    assert [(each.name, each.state) for each in found.others] == [
        ("policy 5", seen.FAILED),
        ("policy 7", seen.AT_WORK),
    ]
    assert found.done == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "7", '{"runs": [{"key": 1}]}', '{"runs": 3}'])
def test_what_is_torn_is_named_and_stops_nothing(tmp_path, text):
    folders.start(tmp_path, 2)
    folders.done(tmp_path, 1)
    folder = folders.at_work(tmp_path, 0)
    (folder / PROGRESS).write_text(text)
    (folder / "log" / "metrics.csv").write_text(text)
    (tmp_path / KEYS[1] / "task.json").write_text(text)
    (tmp_path / STUDIES / f"torn-1.{GONE}").write_text(text)
    found = Watcher(tmp_path).look()
    assert states(found.studies[0]) == [seen.AT_WORK, seen.DONE]
    assert any(f"torn-1.{GONE}: not as a study wrote it" in each for each in found.problems)
    objects = text in ("{}", '{"runs": [{"key": 1}]}', '{"runs": 3}')
    named = [
        name for name in (PROGRESS, "task.json") if any(f"{name}: not as" in each for each in found.problems)
    ]
    assert named == ([] if objects else [PROGRESS, "task.json"])


@pytest.mark.parametrize("value", ["1e999", "-1e999", "1" + "0" * 400, "[" * 100_000])
def test_numbers_that_are_no_times_and_no_shares_stop_nothing(tmp_path, value):
    folders.start(tmp_path, 2)
    folders.done(tmp_path, 1)
    folder = folders.at_work(tmp_path, 0)
    (folder / PROGRESS).write_text(f'{{"share": {value}, "began": {value}, "at": {value}}}')
    (folder / "log" / "metrics.csv").write_text("step,loss\n1,0.5\ninf,0.5\n")
    (tmp_path / KEYS[1] / "task.json").write_text(f'{{"seconds": {value}}}')
    (tmp_path / STUDIES / f"torn-1.{GONE}").write_text(value)
    watcher = Watcher(tmp_path)
    found = watcher.look()
    assert states(found.studies[0]) == [seen.AT_WORK, seen.DONE]
    assert found.studies[0].runs[0].update == 2
    Console(file=io.StringIO()).print(View(watcher.runs, found))


@pytest.mark.parametrize(
    "change",
    [
        {"began": None},
        {"began": float("-inf")},
        {"cost": float("nan")},
        {"ended": "1"},
        {"script": 3},
        {"arguments": [1]},
        {"key": 7},
        {"cost": "1"},
        {"name": None},
    ],
)
def test_a_start_whose_values_are_of_another_kind_is_named_too(tmp_path, change):
    folders.start(tmp_path, 2)
    (whole,) = (tmp_path / STUDIES).iterdir()
    told = json.loads(whole.read_text())
    inner = set(change) <= set(told["runs"][0])
    told = {**told, "runs": [{**told["runs"][0], **change}]} if inner else {**told, **change}
    (tmp_path / STUDIES / f"torn-1.{GONE}").write_text(json.dumps(told))
    found = Watcher(tmp_path).look()
    assert len(found.studies) == 1
    assert [each for each in found.problems if f"torn-1.{GONE}: not as a study wrote it" in each]


def test_folders_that_vanish_while_they_are_read(tmp_path, monkeypatch):
    """All of them, at whichever of the files that are looked at."""
    left, runs, kept = 0, tmp_path / "runs", files.changed

    def vanishing(path):
        nonlocal left
        left -= 1
        if not left:
            shutil.rmtree(runs)
            runs.mkdir()
        return kept(path)

    monkeypatch.setattr("lightning_moa.watch.watcher.changed", vanishing)
    for until in range(1, 30):
        left = until
        folders.start(runs, 4)
        folders.done(runs, 0)
        folders.at_work(runs, 1)
        folders.failed(runs, 2)
        folders.stopped(runs, 3)
        assert Watcher(runs).look().problems == []
        shutil.rmtree(runs)


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    runs, other = tmp_path / "runs", tmp_path / "other"
    folders.start(runs, 2)
    folders.done(other, 0)
    folders.failed(other, 1)
    for path in list(other.iterdir()):
        (runs / path.name).symlink_to(path)
    found = Watcher(runs).look()
    assert [each.series for each in found.studies[0].runs] == [{}, {}]
    assert "the KL is 300" not in found.studies[0].runs[1].said
    assert len(found.problems) == 4
    assert all(f"a link out of {runs}" in each for each in found.problems)


def test_nothing_is_written(tmp_path):
    folders.start(tmp_path, 3)
    folders.at_work(tmp_path, 0)
    folders.at_work(tmp_path, 1, owned_by=GONE)
    folders.failed(tmp_path, 2)

    def all_there():
        return {path: path.lstat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}

    before = all_there()
    Watcher(tmp_path).look()
    assert all_there() == before


@pytest.mark.parametrize("make", [None, "file", "results"])
def test_what_is_no_folder_of_runs_is_refused(tmp_path, make):
    place = tmp_path / "place"
    if make == "file":
        place.write_text("")
    elif make == "results":
        (place / "panacea").mkdir(parents=True)
    with pytest.raises(UserError, match="allowed is a folder of runs"):
        Watcher(place)


def test_an_empty_folder_has_no_run_yet(tmp_path):
    found = Watcher(tmp_path).look()
    assert (found.studies, found.others, found.done, found.problems) == ([], [], 0, [])


def test_what_an_execution_leaves(tmp_path):
    runs, log = tmp_path / "runs", str(tmp_path / "log")
    good, bad = job("add", value=1, log=log), job("fail", name="unlucky")
    with pytest.raises(RunsFailed):
        run([good, bad, job("add", {"base": bad}, value=2, log=log)], runs)
    (study,) = Watcher(runs).look().studies
    assert study.state.startswith("unlucky: ArithmeticError: no luck today")
    assert states(study) == [seen.DONE, seen.FAILED, seen.NOT_BEGUN]
    run([good, job("add", value=3, log=log)], runs)
    later, former = Watcher(runs).look().studies
    assert (later.state, former.state) == ("finished", study.state)
    assert [asked.there for asked in later.start.runs] == [True, False]
