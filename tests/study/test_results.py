"""An artefact's tables at several reference points, and the claims that are written with what hangs on the point."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.config import StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import DPS_PPO, PANACEA_PPO
from lightning_moa.reporting.claims import judge
from lightning_moa.reporting.fronts import values_of
from lightning_moa.reporting.loaded import load_runs
from lightning_moa.reporting.schema import CLAIMS, TIMINGS
from lightning_moa.reporting.statistics import metric_difference
from lightning_moa.study.results import REFERENCES, Artefact, Judged, judged
from tests.experiments.made_up import made_up

METHODS = {"panacea": PANACEA_PPO, "dps": DPS_PPO}


@pytest.fixture(scope="module")
def tables():
    config = SimpleNamespace(data=SimpleNamespace(name="synthetic"), scale="smoke", results_dir="x")
    artefact = Artefact("panacea", "figure4", config, datetime.now(UTC))
    collected = made_up(np.random.default_rng(5), METHODS, ("a", "b"), snapshots=("panacea",))
    return collected, artefact.tables(collected)


def test_many_methods_have_a_folder_of_their_own_that_a_disk_takes():
    config = SimpleNamespace(data=SimpleNamespace(name="synthetic"), scale="smoke", results_dir="x")

    def scale(chosen: str) -> str:
        return Artefact("cross", "table", config, datetime.now(UTC), chosen=chosen).scale

    assert scale("a+b") == "smoke-a+b"
    long = ["+".join(f"method_{i}" for i in range(last)) for last in (60, 61)]
    assert len({scale(each) for each in long}) == 2
    assert max(len(scale(each)) for each in long) < 150


def corner_of(metrics: pd.DataFrame) -> np.ndarray:
    corners = np.unique(metrics[["reference_a", "reference_b"]].to_numpy(), axis=0)
    assert len(corners) == 1, "one point for all methods and seeds"
    return corners[0]


def test_no_compared_point_is_outside_the_rules_point_nor_the_far_one(tables):
    collected, tables = tables
    values = np.concatenate([values_of(tables.points, "gold"), collected.exact.front[["gold_a", "gold_b"]]])
    for name in ("rule", "far"):
        assert (values > corner_of(tables.at(name).metrics)).all()
    span = np.ptp(values, axis=0)
    np.testing.assert_allclose(corner_of(tables.metrics), values.min(axis=0) - 0.1 * span)
    np.testing.assert_allclose(corner_of(tables.at("far").metrics), values.min(axis=0) - span)
    best = collected.exact.grid[(collected.exact.grid[["lambda_a", "lambda_b"]] == 1).any(axis=1)]
    corner = corner_of(tables.at("corner").metrics)
    np.testing.assert_allclose(corner, best[["gold_a", "gold_b"]].min().to_numpy())


def test_another_point_changes_hypervolumes_and_nothing_else(tables):
    _, tables = tables
    moving = ["hypervolume", "reference_a", "reference_b"]
    for name in REFERENCES:
        pd.testing.assert_frame_equal(
            tables.at(name).metrics.drop(columns=moving), tables.metrics.drop(columns=moving)
        )
    assert (tables.at("far").metrics["hypervolume"] > tables.metrics["hypervolume"]).all()


def test_claims_are_written_with_what_hangs_on_the_point(tables, tmp_path):
    _, tables = tables

    def rows(name):
        metrics = tables.at(name).metrics
        volume = metric_difference(metrics, "hypervolume", "panacea", "dps", "gold")
        regret = metric_difference(metrics, "mean_regret", "panacea", "dps", "gold")
        return [
            judge("spans more", "w", "hv", volume, ">", 0),
            judge("regrets less", "w", "r", regret, "<", 0),
        ]

    found = judged(rows)
    found.write(tmp_path)
    assert CLAIMS.read(tmp_path / "claims.csv")["claim"].tolist() == ["spans more", "regrets less"]
    beside = pd.read_csv(tmp_path / "sensitivity.csv")
    assert beside[["claim", "reference"]].to_numpy().tolist() == [["spans more", name] for name in REFERENCES]
    assert beside["value"].iloc[0] == found.claims["value"].iloc[0]
    Judged(found.claims).write(tmp_path / "alone")
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["claims.csv"]


def test_what_an_earlier_start_said_and_this_one_does_not_is_gone(tables, tmp_path):
    """Three seeds after one: an interval over prompts would be taken for theirs."""
    _, tables = tables
    volume = metric_difference(tables.metrics, "hypervolume", "panacea", "dps", "gold")

    def found(over_prompts):
        return judged(lambda name: [judge("spans more", "w", "hv", volume, ">", 0)], over_prompts)

    found(pd.DataFrame({"claim": ["spans more"]})).write(tmp_path)
    assert (tmp_path / "over_prompts.csv").is_file()
    found(None).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["claims.csv", "sensitivity.csv"]
    Judged(found(None).claims).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["claims.csv"]


def test_of_a_start_that_ends_on_the_way_no_record_is_left_and_where_it_cannot_go_nothing_is_written(
    tables, tmp_path
):
    collected, made = tables
    config = SimpleNamespace(data=SimpleNamespace(name="synthetic"), scale="smoke", results_dir=str(tmp_path))
    artefact = Artefact("panacea", "figure4", config, datetime.now(UTC))
    artefact.folder.mkdir(parents=True)
    record = artefact.folder / "run.yaml"
    record.write_text("config: of before")
    # No file can be renamed into its place.
    (artefact.folder / "metrics.csv").mkdir()
    with pytest.raises(UserError, match=r"metrics.csv: can't be written, .*; it is as it was"):
        artefact.write(collected, made, None)
    assert not record.exists()
    (artefact.folder / "points.csv").unlink()
    record.mkdir()
    with pytest.raises(UserError, match=r"run.yaml: can't be replaced"):
        artefact.write(collected, made, None)
    assert not (artefact.folder / "points.csv").exists()


def test_a_record_tells_the_weight_of_the_kl_that_regrets_are_under(tables, tmp_path):
    collected, made = tables
    config = StudyConfig(scale="smoke", results_dir=str(tmp_path), runs_dir=str(tmp_path / "runs"))
    artefact = Artefact("panacea", "figure4", config, datetime.now(UTC))
    timings = pd.DataFrame(columns=list(TIMINGS.names(())))
    for exact in (collected.exact, None):
        artefact.write(replace(collected, exact=exact, timings=timings), made, None)
        (run,) = load_runs([tmp_path])
        assert run.beta == (None if exact is None else collected.exact.beta)
        assert ("exact_beta" in run.record) == (exact is not None)


def test_claims_that_nobody_has_judged_are_refused_before_anything_is_written(tables, tmp_path):
    collected, made = tables
    config = SimpleNamespace(data=SimpleNamespace(name="synthetic"), scale="smoke", results_dir=str(tmp_path))
    artefact = Artefact("panacea", "figure4", config, datetime.now(UTC))
    with pytest.raises(
        UserError, match=r"write: judged is a list; allowed are what judged\(\.\.\.\) makes, and None"
    ):
        artefact.write(collected, made, [])
    assert not list(tmp_path.iterdir())
