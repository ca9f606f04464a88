"""What a comparison leaves out for want of values is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lightning_moa.reporting.compare import compare
from lightning_moa.reporting.loaded import Run, load_runs
from lightning_moa.reporting.schema import ACCURACIES, POINTS

from .frames import points_frame

GOLD = ["gold_helpful", "gold_harmless"]


def test_methods_seeds_and_policies_without_values_are_told(tmp_path: Path) -> None:
    frame = points_frame({"whole": 1.0, "none": 1.0, "seeds": 1.0, "policies": 1.0})
    frame.loc[frame["method"] == "none", GOLD] = np.nan
    frame.loc[(frame["method"] == "seeds") & (frame["seed"] != 1), GOLD] = np.nan
    frame.loc[(frame["method"] == "policies") & (frame["lambda_helpful"] > 0.75), GOLD] = np.nan
    run = Run("a", tmp_path, POINTS.check(frame, "a"))
    assert [entry.method for entry in compare([run], "gold").entries] == ["whole", "seeds", "policies"]
    assert compare([run], "gold").warnings == [
        "a: none: no values in space 'gold', so it is left out",
        "a: seeds: of its seeds 0, 2 have no values in space 'gold' and are left out",
        "a: policies: 24 of 33 policies have values in space 'gold', the others are left out",
    ]
    assert compare([run], "reward").warnings == []


def test_accuracies_are_looked_for_where_they_lie(tmp_path: Path) -> None:
    frame = points_frame({"a": 1.0, "b": 1.0})
    POINTS.write(frame, tmp_path / "points.csv")
    names = {"reward_helpful": "accuracy_helpful", "reward_harmless": "accuracy_harmless"}
    accuracies = frame.drop(columns=[*GOLD, "kl"]).rename(columns=names)
    ACCURACIES.write(accuracies[accuracies["method"] == "b"], tmp_path / "accuracies.csv")
    (run,) = load_runs([tmp_path])
    (warning,) = compare([run], "accuracy").warnings
    assert warning.endswith(": a: no values in space 'accuracy', so it is left out")


def test_a_policy_counts_with_its_last_step(tmp_path: Path) -> None:
    """Where that has no values, former ones do not stand for it."""
    frame = points_frame({"a": 1.0}, seeds=(0,))
    last = frame.assign(step=300)
    last.loc[0, GOLD] = np.nan
    run = Run("a", tmp_path, POINTS.check(pd.concat([frame, last]), "a"))
    assert compare([run], "gold").warnings == [
        "a: a: 10 of 11 policies have values in space 'gold', the others are left out"
    ]
