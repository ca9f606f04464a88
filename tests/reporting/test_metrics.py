"""metrics.csv from points.csv, against the measures called by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_moa import pareto
from lightning_moa.errors import UserError
from lightning_moa.reporting.fronts import values_of
from lightning_moa.reporting.metrics import metrics_frame, metrics_frames, reference_points
from lightning_moa.reporting.schema import METRICS

from .frames import heads_frame, points_frame


def accuracies_of(points: pd.DataFrame) -> pd.DataFrame:
    names = {c: c.replace("gold_", "accuracy_") for c in points.columns if c.startswith("gold_")}
    rest = [c for c in points.columns if c.startswith("reward_") or c == "kl"]
    return points.rename(columns=names).drop(columns=rest)


@pytest.mark.parametrize("objectives", [("helpful", "harmless"), ("a", "b", "c")])
def test_rows_hold_the_measures(objectives: tuple[str, ...]) -> None:
    points = points_frame({"strong": 1.0, "weak": 0.5}, objectives=objectives, step=0.25)
    front = np.eye(len(objectives))
    frame = metrics_frame(points, accuracies_of(points), fronts={"gold": front})
    assert len(frame) == 2 * 3 * 3
    row = frame[(frame.method == "weak") & (frame.seed == 1) & (frame.space == "gold")].iloc[0]
    mine = values_of(points[(points.method == "weak") & (points.seed == 1)], "gold")
    theirs = values_of(points[(points.method == "strong") & (points.seed == 1)], "gold")
    reference = pareto.default_reference(np.concatenate([values_of(points, "gold"), front]))
    assert row[[f"reference_{o}" for o in objectives]].tolist() == reference.tolist()
    assert row["hypervolume"] == pareto.hypervolume(mine, reference)
    assert row["igd"] == pareto.igd(mine, front)
    assert row["coverage"] == pareto.coverage(mine, theirs) < 0.5
    assert row["spacing"] == pareto.spacing(mine)
    assert row["non_dominated"] == pareto.is_non_dominated(mine).sum()
    assert np.isnan(frame[frame.space == "reward"]["igd"]).all()
    assert frame["trained_models"].isna().all()


def test_stronger_methods_have_more_volume_in_every_space_and_seed() -> None:
    frame = metrics_frame(points_frame({"strong": 1.0, "weak": 0.8}))
    wide = frame.pivot_table(index=["seed", "space"], columns="method", values="hypervolume")
    assert (wide["strong"] > wide["weak"]).all()


def test_only_the_last_step_counts() -> None:
    late = points_frame({"a": 0.5})
    early = points_frame({"a": 1.0}).assign(step=100)
    place = {"gold": [-1.0, -1.0], "reward": [-1.0, -1.0]}
    expected = metrics_frame(late, references=place)
    pd.testing.assert_frame_equal(metrics_frame(pd.concat([early, late]), references=place), expected)


def test_several_places_are_the_tables_of_each() -> None:
    points = points_frame({"strong": 1.0, "weak": 0.8})
    given = {
        "rule": None,
        "gold": {"gold": [-9.0, -2.0]},
        "both": {"gold": [-1.0, -1.0], "reward": [-3.0, -4.0]},
    }
    found = metrics_frames(points, accuracies_of(points), places=given)
    assert list(found) == list(given)
    for name, place in given.items():
        pd.testing.assert_frame_equal(
            found[name], metrics_frame(points, accuracies_of(points), references=place)
        )
    moved = found["rule"]["hypervolume"] != found["gold"]["hypervolume"]
    assert (moved == (found["rule"]["space"] == "gold")).all()


@pytest.mark.parametrize("objectives", [("helpful", "harmless"), ("a", "b", "c")])
def test_the_reference_point_leaves_no_compared_point_outside(objectives: tuple[str, ...]) -> None:
    """Nor a step's, nor the exact front's; and it is a fixed share of the range away."""
    points = points_frame({"strong": 1.0, "weak": 0.5}, objectives=objectives, step=0.25)
    points.loc[points["method"] == "weak", [f"gold_{name}" for name in objectives]] -= 3.0
    early = points.assign(step=100)
    early.loc[3, [f"gold_{name}" for name in objectives]] = -7.0
    everything = pd.concat([early, points], ignore_index=True)
    front = np.vstack([np.eye(len(objectives)), np.full(len(objectives), -8.0)])
    tables = {"points": everything, "accuracies": accuracies_of(everything), "fronts": {"gold": front}}
    found = reference_points(**tables)
    assert set(found) == {"accuracy", "gold", "reward"}
    for space, table in (("gold", everything), ("reward", everything), ("accuracy", tables["accuracies"])):
        assert (values_of(table, space) > found[space]).all()
    assert (front > found["gold"]).all()
    values = np.vstack([values_of(everything, "gold"), front])
    np.testing.assert_allclose(found["gold"], values.min(axis=0) - 0.1 * np.ptp(values, axis=0))
    further = reference_points(**tables, margin=1.0)
    np.testing.assert_allclose(further["gold"], values.min(axis=0) - np.ptp(values, axis=0))
    # One point for all rows of a space, and every row of every method has a part in its volume.
    frame = metrics_frame(**tables)
    for space, rows in frame.groupby("space"):
        assert np.unique(rows[[f"reference_{name}" for name in objectives]].to_numpy(), axis=0).tolist() == [
            found[str(space)].tolist()
        ]
    assert (frame["hypervolume"] > 0).all()


def test_costs_regret_and_given_references() -> None:
    points = points_frame({"a": 1.0, "b": 1.0}, seeds=(0, 1))
    costs = pd.DataFrame(
        {"method": ["a", "a"], "seed": [0, 1], "trained_models": [1, 1], "training_steps": [5, 6]}
    )
    regret = np.where(points["method"] == "a", 0.25, np.nan)
    frame = metrics_frame(points, costs=costs, regret=regret, references={"gold": [-1, -2]})
    gold = frame[frame.space == "gold"].set_index(["method", "seed"])
    assert gold.loc[("a", 1), "training_steps"] == 6
    assert gold.loc["b"]["trained_models"].isna().all()
    assert gold["trained_parameters"].isna().all()
    assert gold.loc[("a", 0), "mean_regret"] == 0.25
    assert np.isnan(gold.loc[("b", 0), "mean_regret"])
    assert frame[frame.space == "reward"]["mean_regret"].isna().all()
    assert gold[["reference_helpful", "reference_harmless"]].drop_duplicates().values.tolist() == [[-1, -2]]


def test_heads_without_preferences_have_no_inner_product() -> None:
    frame = metrics_frame(heads_frame())
    assert frame["inner_product"].isna().all()
    assert frame["coverage"].isna().all()
    assert (frame["hypervolume"] > 0).all()


def test_missing_gold_gives_no_gold_rows() -> None:
    points = points_frame({"a": 1.0})
    points[["gold_helpful", "gold_harmless"]] = np.nan
    assert set(metrics_frame(points)["space"]) == {"reward"}


def test_equal_points_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        METRICS.write(metrics_frame(points_frame({"x": 1.0, "y": 0.9})), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    pd.testing.assert_frame_equal(METRICS.read(tmp_path / "a"), METRICS.read(tmp_path / "b"))


def test_bad_points_are_refused() -> None:
    with pytest.raises(UserError, match="missing column kl"):
        metrics_frame(points_frame({"a": 1.0}).drop(columns="kl"))
