"""What a study in progress says of itself."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import pytest

from lightning_moa.reporting.under_way import PROGRESS, STUDIES, RunProgress, Start, recorded


@dataclass
class Work:
    key: str
    name: str = "a run"
    cost: float = 2.0


def starts(folder):
    return [Start.read(path.read_text()) for path in sorted((folder / STUDIES).iterdir())]


def test_a_start_says_what_it_asks_for_and_how_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x/script.py", "a=1"])
    works = [Work("a"), Work("b"), Work("c")]
    with recorded(tmp_path, works, works[1:], workers=8):
        (start,) = starts(tmp_path)
        assert (start.script, start.arguments, start.workers) == ("x/script.py", ["a=1"], 2)
        assert [(each.key, each.cost, each.there) for each in start.runs] == [
            ("a", 2.0, True),
            ("b", 2.0, False),
            ("c", 2.0, False),
        ]
        assert (start.how, start.ended) == (None, None)
    (ended,) = starts(tmp_path)
    assert ended.how == "finished"
    assert ended.ended >= ended.began == start.began


def test_a_start_whose_end_is_no_text_is_none(tmp_path):
    with recorded(tmp_path, [Work("a")], [Work("a")], workers=1):
        pass
    (file,) = (tmp_path / STUDIES).iterdir()
    told = json.loads(file.read_text()) | {"how": ["x"]}
    with pytest.raises(ValueError, match="of another kind"):
        Start.read(json.dumps(told))


def test_a_start_that_does_not_end_well_says_why(tmp_path):
    with pytest.raises(KeyboardInterrupt), recorded(tmp_path, [Work("a")], [Work("a")], workers=1):
        raise KeyboardInterrupt
    assert [start.how for start in starts(tmp_path)] == ["KeyboardInterrupt"]
    with pytest.raises(RuntimeError), recorded(tmp_path, [Work("a")], [Work("a")], workers=1):
        raise RuntimeError("first\nsecond")
    assert [start.how for start in starts(tmp_path)] == ["first"]


def test_a_dead_start_of_the_same_command_makes_room_and_others_stay(tmp_path):
    with recorded(tmp_path, [Work("a")], [Work("a")], workers=1):
        (mine,) = (tmp_path / STUDIES).iterdir()
    machine = mine.name.partition(".")[2].rpartition("-")[0]
    dead = mine.rename(mine.with_name(f"{mine.name.partition('.')[0]}.{machine}-999999999_1"))
    other = dead.with_name(f"other-1.{machine}-999999999_1")
    elsewhere = dead.with_name(f"{dead.name.partition('.')[0]}.elsewhere-999999999_1")
    for path in (other, elsewhere):
        path.write_text(dead.read_text())
    with recorded(tmp_path, [Work("a")], [Work("a")], workers=1):
        pass
    assert set((tmp_path / STUDIES).iterdir()) == {mine, other, elsewhere}


def test_how_far_a_run_is_and_not_too_often(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.time", lambda: now)

    def told():
        return json.loads((tmp_path / PROGRESS).read_text())

    progress = RunProgress(tmp_path, "a run")
    assert told() == {"name": "a run", "began": 100.0, "share": 0.0, "at": 100.0}
    now = 100.1
    progress.advance(0.5)
    assert told() == {
        **{"name": "a run", "began": 100.0, "share": 0.5, "at": 100.1},
        **{"first_share": 0.5, "first_at": 100.1},
    }
    now = 100.2
    progress.advance(0.6)
    assert told()["share"] == 0.5
    now = 101.0
    progress.advance(0.7)
    assert (told()["share"], told()["first_share"]) == (0.7, 0.5)
    progress.close()
    assert os.listdir(tmp_path) == []
