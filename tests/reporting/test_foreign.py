"""CSV files of another form, and what `--columns` says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_moa.errors import UserError
from lightning_moa.reporting.foreign import parse_columns
from lightning_moa.reporting.loaded import load_runs
from lightning_moa.reporting.schema import POINTS

from .frames import points_frame


def test_a_column_may_bear_the_name_that_it_is_taken_for(tmp_path: Path) -> None:
    file = tmp_path / "theirs.csv"
    file.write_text("method,policy,help,safe\nx,late,1,2\nx,early,2,1\n")
    words = "method=method,policy=policy,reward_helpful=help,reward_harmless=safe"
    (run,) = load_runs([file], parse_columns(words))
    assert run.points["policy"].tolist() == ["late", "early"]
    with pytest.raises(UserError, match=r"not a points\.csv; say by --columns"):
        load_runs([file])


def test_a_points_file_that_lacks_a_column_is_still_taken_for_one(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    POINTS.write(points_frame({"a": 1.0}), file)
    for lacking in ("artefact", "policy"):
        header, *rows = file.read_text().splitlines()
        at = header.split(",").index(lacking)
        cut = [",".join(cell for i, cell in enumerate(row.split(",")) if i != at) for row in (header, *rows)]
        (tmp_path / "broken.csv").write_text("\n".join(cut))
        with pytest.raises(UserError, match=f"missing column {lacking}"):
            load_runs([tmp_path / "broken.csv"])


def test_a_column_that_is_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="--columns: reward_a is there twice, x and y; allowed is once"):
        parse_columns("reward_a=x,reward_a=y")
