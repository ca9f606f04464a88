"""Regret over parts of the simplex, and a front that grows over the steps of a training."""

import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.reporting.metrics import metrics_frame
from lightning_moa.reporting.statistics import (
    front_by_step,
    last_minus_first,
    mean_regret,
    metric,
    metric_difference,
)
from tests.reporting.frames import heads_frame, points_frame


def test_regret_is_averaged_over_the_asked_part_of_the_simplex():
    points = points_frame({"panacea": 1.0, "dps": 1.0}, seeds=(0, 7))
    # Regret that is the first weight, so that its means are known; the other seed's is twice that.
    regret = points["lambda_helpful"] * np.where(points["seed"] == 7, 2, 1)
    assert mean_regret(points, regret, "panacea") == pytest.approx({0: 0.5, 7: 1.0})
    inside = regret.where(points["lambda_helpful"].between(0.29, 0.71), 100)
    assert mean_regret(points, inside, "panacea", lowest_weight=0.3) == pytest.approx({0: 0.5, 7: 1.0})
    one = mean_regret(points, points["lambda_harmless"], "panacea", lowest_weight=0.5)
    assert one == pytest.approx({0: 0.5, 7: 0.5})


def test_earlier_steps_do_not_count_for_regret():
    points = points_frame({"panacea": 1.0}, seeds=(0,))
    early = points.assign(step=10)
    both = points[:0].__class__(np.vstack([early, points]), columns=points.columns).infer_objects()
    regret = np.r_[np.full(len(early), 9.0), np.full(len(points), 1.0)]
    assert mean_regret(both, regret, "panacea") == {0: 1.0}


def test_regret_without_such_preferences_is_refused():
    points = points_frame({"panacea": 1.0}, seeds=(0,), step=1.0)
    with pytest.raises(UserError, match=r"no preference with all weights >= 0\.3"):
        mean_regret(points, np.zeros(len(points)), "panacea", lowest_weight=0.3)
    heads = heads_frame()
    with pytest.raises(UserError, match="'ham' has no preference"):
        mean_regret(heads, np.zeros(len(heads)), "ham")


def test_the_front_by_step():
    late = points_frame({"panacea": 1.0}, seeds=(0, 1), noise=0.0)
    early = late.assign(step=50)
    gold = ["gold_helpful", "gold_harmless"]
    early[gold] = 0.5
    early.loc[early["lambda_helpful"] == 1, gold] = [0.1, 0.1]
    frame = late[:0].__class__(np.vstack([late, early]), columns=late.columns).infer_objects()
    growth = front_by_step(frame, "panacea", "gold", [0.0, 0.0])
    assert growth["step"].tolist() == [50, 200, 50, 200]
    first = growth[growth["step"] == 50]
    # All but one of 11 points are the same point, which dominates the last one.
    np.testing.assert_allclose(first["hypervolume"], 0.25)
    np.testing.assert_allclose(first["dominated_by"], 0.4 / 11)
    # Staircase under the circle x^2 + y^2 = 1 (values are square roots of weights), by hand.
    x = np.sqrt(np.arange(11) / 10)
    staircase = float((np.diff(x) * np.sqrt(1 - x[1:] ** 2)).sum())
    np.testing.assert_allclose(growth[growth["step"] == 200]["hypervolume"], staircase)
    assert last_minus_first(growth, "hypervolume") == pytest.approx(
        {0: staircase - 0.25, 1: staircase - 0.25}
    )
    assert last_minus_first(growth, "dominated_by") == pytest.approx({0: -0.4 / 11, 1: -0.4 / 11})


def test_a_front_by_step_of_nobody_is_refused():
    with pytest.raises(UserError, match="no method 'nobody'"):
        front_by_step(points_frame({"panacea": 1.0}), "nobody", "gold", [0.0, 0.0])


def test_a_policy_without_a_number_leaves_its_method_without_regret():
    """The mean of the others would be smaller for the loss of the worst."""
    points = points_frame({"panacea": 1.0, "dps": 1.0}, seeds=(0, 7))
    lost = points.index[(points["method"] == "dps") & (points["seed"] == 7)][0]
    points.loc[lost, "kl"] = np.nan
    regret = np.ones(len(points))
    regret[lost] = np.nan
    assert mean_regret(points, regret, "panacea") == {0: 1.0, 7: 1.0}
    with pytest.raises(UserError, match=r"regret of 'dps': there is none for seed 7"):
        mean_regret(points, regret, "dps")
    metrics = metrics_frame(points, regret=regret)
    assert metric(metrics, "mean_regret", "dps", "gold") == pytest.approx({0: 1.0, 7: np.nan}, nan_ok=True)
    with pytest.raises(UserError, match=r"mean_regret of 'dps': there is none for seed 7"):
        metric_difference(metrics, "mean_regret", "panacea", "dps", "gold")


def test_a_preference_whose_best_policy_is_not_known_is_left_out():
    points = points_frame({"sca": 1.0}, seeds=(0,))
    regret = np.where(np.arange(len(points)) == 3, np.nan, 1.0)
    assert mean_regret(points, regret, "sca") == {0: 1.0}
    assert metric(metrics_frame(points, regret=regret), "mean_regret", "sca", "gold") == {0: 1.0}
