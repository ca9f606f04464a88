"""Margins against numbers by hand."""

import math

import pandas as pd
import pytest

from lightning_moa.reporting import margins
from lightning_moa.reporting.margins import SHARE, of_growth, of_larger, of_metric, of_ratio
from lightning_moa.reporting.metrics import metrics_frame

from .frames import points_frame


def test_a_share_of_the_larger_size_whichever_comes_first_and_whatever_its_sign() -> None:
    one, other = {0: 1.0, 1: 3.0}, {0: 4.0, 1: 4.0}
    assert of_larger(one, other) == of_larger(other, one) == pytest.approx(SHARE * 4)
    assert of_larger({0: -6.0}, other) == pytest.approx(SHARE * 6)
    assert of_larger({0: 0.0}, {0: 0.0}) == 0


def test_sizes_of_a_table_and_of_growth() -> None:
    metrics = metrics_frame(points_frame({"strong": 1.0, "weak": 0.8}, noise=0.0))
    mine = metrics[metrics["method"] == "strong"]["hypervolume"].mean()
    assert of_metric(metrics, "hypervolume", "weak", "strong", "gold") == pytest.approx(SHARE * mine)
    steps = {"seed": [0, 0, 1, 1], "step": [1, 9, 1, 9], "hypervolume": [1.0, 2.0, 3.0, 6.0]}
    assert of_growth(pd.DataFrame(steps), "hypervolume") == pytest.approx(SHARE * 4)


def test_ratios_and_their_logs_have_one_margin() -> None:
    assert math.exp(margins.LOG) == pytest.approx(10**margins.LOG10) == pytest.approx(1 + of_ratio(1))
    assert of_ratio(0.5) == pytest.approx(0.05)
