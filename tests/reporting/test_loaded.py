"""Runs with what lies beside them: the weight of the KL in their regrets, and the preferences that these are over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.reporting.compare import compare
from lightning_moa.reporting.loaded import load_runs, merged
from lightning_moa.reporting.metrics import metrics_frame
from lightning_moa.reporting.schema import METRICS
from tests.conftest import REPOSITORY

from .frames import heads_frame, points_frame
from .test_compare import RECORD, put

TOLD = "regrets are under different weights of the KL: beta"


def put_regrets(
    folder: Path, frame: pd.DataFrame, beta: float | None = None, exact: float | None = None
) -> Path:
    """A result whose run.yaml tells beta, or whose exact front is under it."""
    put(folder, frame, RECORD if beta is None else RECORD | {"exact_beta": beta})
    known = frame["lambda_helpful"].notna().to_numpy()
    regret = np.where(known, np.arange(len(frame)), np.nan)
    METRICS.write(metrics_frame(frame, None, regret=regret), folder / "metrics.csv")
    if exact is not None:
        weights = np.array([[0.0, 1.0], [0.3, 0.7], [1.0, 0.0]])
        rewards, kl = weights + 1 / 3, np.array([0.7, 0.1, 1.3])
        front = pd.DataFrame(
            {f"lambda_{name}": weights[:, i] for i, name in enumerate(("helpful", "harmless"))}
            | {f"gold_{name}": rewards[:, i] for i, name in enumerate(("helpful", "harmless"))}
            | {"kl": kl, "value": (weights * rewards).sum(axis=1) - exact * kl}
        )
        front.to_csv(folder / "exact_front.csv", index=False)
    return folder


def test_regrets_under_two_weights_have_no_difference(tmp_path: Path) -> None:
    put_regrets(tmp_path / "a", points_frame({"a": 1.0}), beta=0.3)
    put_regrets(tmp_path / "b", points_frame({"b": 1.0}), exact=0.5)
    put_regrets(tmp_path / "c", points_frame({"c": 1.0}), exact=0.3)
    runs = load_runs([tmp_path])
    assert [run.beta for run in runs] == [0.3, 0.5, 0.3]
    found = compare(runs, baseline="a")
    assert found.warnings == [f"{TOLD} 0.3 (a, c), 0.5 (b); they can't be held against each other"]
    _, b, c = found.entries
    assert b.regret is not None
    assert (b.regret_difference, b.difference is None) == (None, False)
    assert c.regret_difference is not None
    assert compare([runs[0], runs[2]]).warnings == []


def test_regrets_under_two_weights_are_not_merged(tmp_path: Path) -> None:
    frame = points_frame({"a": 1.0})
    put_regrets(tmp_path / "m0", frame[frame["seed"] == 0], exact=0.3)
    put_regrets(tmp_path / "m1", frame[frame["seed"] == 1], beta=0.5)
    with pytest.raises(UserError, match=rf"--merge: {TOLD} 0\.3 \(m0\), 0\.5 \(m1\); allowed are"):
        merged(load_runs([tmp_path]))
    put_regrets(tmp_path / "m1", frame[frame["seed"] == 1], beta=0.3)
    (run,) = merged(load_runs([tmp_path]))
    assert run.beta == 0.3


def test_an_exact_front_that_is_no_table_of_numbers_is_a_line(tmp_path: Path) -> None:
    put_regrets(tmp_path, points_frame({"a": 1.0}))
    for text in ("lambda_helpful\nx\n", "", '"'):
        (tmp_path / "exact_front.csv").write_text(text)
        with pytest.raises(UserError, match=r"exact_front\.csv: not a table of numbers") as caught:
            load_runs([tmp_path])
        assert "\n" not in str(caught.value)
    (tmp_path / "exact_front.csv").write_text("a\n1\n")
    assert load_runs([tmp_path])[0].beta is None


def test_the_committed_results_tell_theirs() -> None:
    of = REPOSITORY / "results" / "panacea"
    known = {"figure4/tiny": 0.3, "figure5/tiny": 0.5, "figure_dimensions/tiny/m3": 0.3}
    assert {name: load_runs([of / name])[0].beta for name in known} == known


def test_regrets_over_other_preferences_have_no_difference(tmp_path: Path) -> None:
    """A mean over three preferences is another thing than one over eleven, in one run as in two."""
    few = points_frame({"few": 1.0}, step=0.5)
    heads = heads_frame((0, 1, 2)).assign(method="heads")
    put_regrets(tmp_path / "x", pd.concat([points_frame({"a": 1.0, "b": 1.0}), few, heads]))
    put_regrets(tmp_path / "y", points_frame({"c": 1.0}, seeds=(0, 1)))
    found = compare(load_runs([tmp_path]), baseline="a")
    by_name = {entry.method: entry for entry in found.entries}
    assert [name for name, entry in by_name.items() if entry.regret_difference] == ["b", "c"]
    assert found.warnings == [
        "mean regrets are over different preferences: 11 (x: a, x: b, y: c); 3 (x: few); "
        "they can't be held against each other"
    ]
