"""Bad inputs by the generator: a share of them, and that the benchmark sees what is not refused as it should be."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import bad_inputs, spoiled
from lightning_moa.config import StudyConfig
from lightning_moa.errors import UserError


def share(cases, rng):
    """All sound ones, and of each kind of mistake one in a hundred, two at the least."""
    kinds = {}
    for each in cases:
        kinds.setdefault(each.wrong, []).append(each)
    wrong = [[each for each in own if not each.sound] for own in kinds.values()]
    few = [rng.sample(own, min(len(own), max(2, len(own) // 100))) for own in wrong]
    return [each for each in cases if each.sound] + [each for own in few for each in own]


def test_a_share_of_the_settings_and_each_kind_of_file_is_refused_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rng, kept = bad_inputs.random.Random(3), tmp_path / "kept"
    names = ["panacea/figure5", "gapo/table_main", "ham/figure3"]
    settings = share(list(bad_inputs.setting_cases(names, kept)), rng)
    files = list(bad_inputs.data_cases(kept, rng))
    # One of each form and mistake.
    few = {(each.wrong, each.said.partition(".")[0]): each for each in files if rng.random() < 0.5}
    tried = bad_inputs.try_all([*settings, *few.values()], kept)
    assert tried[tried["outcome"] != ""].to_dict("records") == []
    assert len(tried) > 60
    assert {"type", "range", "unit", "path", "unknown key", "data torn", "data encoding"} <= set(
        tried["wrong"]
    )
    rows = bad_inputs.counts(tried)
    assert (
        sum(int(str(row["tried"])) for row in rows)
        == sum(int(str(row["refused"])) for row in rows)
        == len(tried)
    )


def refuse():
    print("error: no", file=sys.stderr)
    return 2


def many():
    print("a\n\nb\nc\nd", file=sys.stderr)
    return 2


def fail():
    raise KeyError("x")


def leave():
    raise SystemExit("no")


def begin():
    raise bad_inputs.Accepted


@pytest.mark.parametrize(
    ("start", "sound", "said"),
    [
        (refuse, False, ""),
        (refuse, True, "sound, but exit code 2: error: no"),
        (begin, False, "accepted"),
        (begin, True, ""),
        (lambda: 0, False, "exit code 0: "),
        (lambda: 0, True, ""),
        (lambda: 2, False, "0 lines: "),
        (many, False, "4 lines: a / b / c / d"),
        (leave, False, "exit code no: "),
        (fail, False, "traceback: "),
    ],
)
def test_what_is_not_refused_as_it_should_be_is_told(tmp_path, start, sound, said):
    case = bad_inputs.Case("x", "type", "y=1", start, sound=sound)
    found = bad_inputs.outcome(case, tmp_path)
    assert found.startswith(said)
    assert bool(found) is bool(said)


def test_what_changes_the_files_beside_it_is_told(tmp_path):
    def start():
        (tmp_path / "a").write_text("x")
        return refuse()

    case = bad_inputs.Case("x", "type", "y=1", start)
    assert bad_inputs.outcome(case, tmp_path) == "changed what was there"
    assert bad_inputs.outcome(case, tmp_path) == ""


def test_settings_of_every_kind_are_spoiled():
    made = pd.DataFrame(spoiled.settings(StudyConfig), columns=["key", "value", "wrong"])
    assert {"seeds", "workers", "evaluation.top_p", "hardware.accelerator", "data", "fresh", "modelx"} <= set(
        made["key"]
    )
    assert ("evaluation.top_p", "1.001") in set(zip(made["key"], made["value"], strict=True))
    assert ("workers", "0") in set(zip(made["key"], made["value"], strict=True))
    assert not made.duplicated(["key", "value"]).any()
    assert len(made) > 300


def test_a_torn_file_is_not_whole():
    """Cut lines would be rows the fewer and no mistake."""
    for name, content, wrong in spoiled.data_files(bad_inputs.random.Random(0)):
        if wrong == "data torn" and name.endswith(".jsonl"):
            assert not content.endswith(b"\n")


def test_an_error_of_the_users_is_a_line(tmp_path, monkeypatch):
    """The benchmark goes through what a user goes through."""

    def main(config, console):
        raise UserError("as it is")

    monkeypatch.setattr(bad_inputs.loaded("panacea/figure5"), "main", main)
    case = bad_inputs.Case("x", "", "", lambda: bad_inputs.run_script("panacea/figure5", ["scale=smoke"]))
    assert bad_inputs.outcome(case, Path(tmp_path)) == ""
