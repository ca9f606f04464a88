"""The schema: what is read equals what was written, to the last bit, and faults are named."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_moa.errors import UserError
from lightning_moa.reporting.schema import ACCURACIES, CLAIMS, LARGEST, METRICS, POINTS, TIMINGS

from .frames import heads_frame, points_frame

TEXT = st.text(min_size=1).filter(str.isprintable)


def test_columns_are_those_of_the_design() -> None:
    keys = ["paper", "artefact", "scale", "method", "seed", "step", "policy"]
    groups = [f"{group}_{name}" for group in ("lambda", "reward", "gold") for name in "abc"]
    assert list(POINTS.names(("a", "b", "c"))) == [*keys, *groups, "kl", "n"]
    assert ",".join(CLAIMS.names(())) == (
        "claim,where,whose,statistic,seeds,value,ci_low,ci_high,bound,p,verdict,verdict_holm"
    )
    assert "accuracy_a" in ACCURACIES.names(("a",))
    assert "reference_a" in METRICS.names(("a",))
    assert {"seconds", "peak_memory_mib"} <= set(TIMINGS.names(()))
    assert not {"seconds", "peak_memory_mib"} & set(METRICS.names(("a",)))


@given(st.lists(st.floats(-LARGEST, LARGEST), min_size=2, max_size=2), TEXT)
@settings(max_examples=60, deadline=None)
def test_what_is_read_is_what_was_written_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], method: str
) -> None:
    path = tmp_path_factory.mktemp("points") / "points.csv"
    frame = points_frame({"a": 1.0}, seeds=(0,), step=1.0)
    frame["gold_helpful"] = values
    frame["method"] = method
    POINTS.write(frame, path)
    read = POINTS.read(path)
    assert read["gold_helpful"].to_numpy().tobytes() == np.array(values).tobytes()
    assert read["method"].tolist() == frame["method"].tolist()
    first = path.read_bytes()
    POINTS.write(read, path)
    assert path.read_bytes() == first


def test_writing_is_deterministic_and_unrounded(tmp_path: Path) -> None:
    frame = points_frame({"panacea": 1.0})
    POINTS.write(frame, tmp_path / "a.csv")
    POINTS.write(frame[[*frame.columns[7:], *frame.columns[:7]]], tmp_path / "b.csv")
    data = (tmp_path / "a.csv").read_bytes()
    assert data == (tmp_path / "b.csv").read_bytes()
    assert b"0.30000000000000004" in data
    assert b"\r" not in data
    pd.testing.assert_frame_equal(POINTS.read(tmp_path / "a.csv"), POINTS.check(frame, "x"))


def test_words_that_look_like_missing_values_survive(tmp_path: Path) -> None:
    frame = points_frame({"NA": 1.0, "None": 1.0, "nan": 1.0}, seeds=(0,))
    POINTS.write(frame, tmp_path / "points.csv")
    assert set(POINTS.read(tmp_path / "points.csv")["method"]) == {"NA", "None", "nan"}


def test_named_policies_need_no_preference(tmp_path: Path) -> None:
    POINTS.write(heads_frame(), tmp_path / "points.csv")
    assert POINTS.read(tmp_path / "points.csv")["lambda_helpful"].isna().all()


def test_gold_may_be_unknown(tmp_path: Path) -> None:
    frame = points_frame({"a": 1.0})
    frame[["gold_helpful", "gold_harmless"]] = np.nan
    frame["kl"] = None
    POINTS.write(frame, tmp_path / "points.csv")
    assert POINTS.read(tmp_path / "points.csv")["kl"].isna().all()


def broken(column: str, value: object, row: int = 2) -> pd.DataFrame:
    frame = points_frame({"a": 1.0}, seeds=(0,)).astype(object)
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (points_frame({"a": 1.0}).drop(columns="kl"), "missing column kl"),
        (points_frame({"a": 1.0}).assign(lamda_x=0), "unknown column lamda_x"),
        (points_frame({"a": 1.0}).rename(columns={"gold_helpful": "gold_funny"}), "mixed objectives.*gold_"),
        (points_frame({"a": 1.0}).drop(columns=["lambda_helpful", "lambda_harmless"]), "no column lambda_"),
        (pd.concat([points_frame({"a": 1.0})] * 2), "row 34.*row already"),
        (pd.concat([points_frame({"a": 1.0})] * 2, axis=1), "twice"),
        (points_frame({"a": 1.0})[:0], "no rows"),
        (broken("seed", ""), "column 'seed', row 3 is empty"),
        (broken("seed", 1.5), "column 'seed', row 3 is 1.5"),
        (broken("seed", True), "column 'seed', row 3"),
        (broken("seed", float("inf")), "column 'seed', row 3"),
        (broken("method", ""), "column 'method', row 3 is empty"),
        (broken("method", 7), "column 'method', row 3 is 7"),
        (broken("method", "a\rb"), "column 'method', row 3"),
        (broken("kl", "abc"), "column 'kl', row 3 is 'abc'"),
        (broken("kl", float("inf")), "column 'kl', row 3"),
        (broken("gold_helpful", -1e308), "column 'gold_helpful', row 3"),
        (broken("reward_helpful", None), "row 3: reward_.* known in part"),
        (broken("lambda_helpful", None), "row 3: lambda_.* known in part"),
        (broken("lambda_helpful", 0.9), "row 3: lambda_.* simplex"),
        (broken("n", 0), "row 3: n is below 1"),
        (heads_frame().assign(policy=""), "neither policy nor lambda"),
    ],
)
def test_faults_are_named_in_one_line_and_nothing_is_written(
    tmp_path: Path, frame: pd.DataFrame, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        POINTS.write(frame, tmp_path / "points.csv")
    assert "\n" not in str(caught.value)
    assert "points.csv" in str(caught.value)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("paper,artefact\nx\n", "row 1 has 1 cells"),
        ('a,b\n"x,y\n', "CSV|cells"),
        ("a,b\n", "lambda_"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        POINTS.read(path)


def test_a_full_disk_leaves_the_previous_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "points.csv"
    POINTS.write(points_frame({"a": 1.0}), path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        POINTS.write(points_frame({"b": 2.0}), path)
    assert path.read_bytes() == before


def claim(**changes: object) -> pd.DataFrame:
    row = {"claim": "a beats b", "where": "figure 4", "whose": "paper", "statistic": "difference > bound"}
    row |= {"seeds": 3, "value": 1.0, "ci_low": 0.5, "ci_high": 1.5, "bound": 0.0, "p": 0.013236626391302983}
    row |= {"verdict": "holds", "verdict_holm": "holds"}
    return pd.DataFrame([row | changes])


def _one_seed() -> pd.DataFrame:
    return claim(seeds=1, ci_low=None, ci_high=None, p=None, verdict="one seed", verdict_holm="one seed")


def test_a_verdict_that_the_numbers_do_not_give_is_refused() -> None:
    CLAIMS.check(claim(), "claims.csv")
    CLAIMS.check(_one_seed(), "claims.csv")
    for fault in (
        claim(verdict="fails"),
        claim(bound=0.7),
        claim(ci_low=None, ci_high=None),
        claim(verdict="yes"),
        claim(statistic="difference"),
        claim(value=9.0),
        claim(p=0.01),
        claim(p=None),
        claim(seeds=5),
        claim(seeds=1),
        claim(whose="theirs"),
        claim(verdict_holm="within noise"),
    ):
        with pytest.raises(UserError, match=r"claims\.csv"):
            CLAIMS.check(fault, "claims.csv")


def test_timings_and_empty_claims(tmp_path: Path) -> None:
    timings = pd.DataFrame([{"method": "a", "seed": 0, "seconds": 1.5, "peak_memory_mib": None}])
    TIMINGS.write(timings.assign(trained_parameters=None), tmp_path / "timings.csv")
    assert (tmp_path / "timings.csv").read_text().splitlines()[1] == "a,0,1.5,,"
    CLAIMS.write(claim()[:0], tmp_path / "claims.csv")
    assert CLAIMS.read(tmp_path / "claims.csv").empty
