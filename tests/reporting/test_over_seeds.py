"""Means over seeds: against scipy's t interval, in the order of the frame."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lightning_moa.errors import UserError
from lightning_moa.reporting.over_seeds import cell, over_seeds

FRAME = pd.DataFrame(
    {
        "set": ["b"] * 5 + ["a"],
        "method": ["sft", "sft", "sft", "ppo", "ppo", "sft"],
        "seed": [0, 1, 2, 0, 1, 0],
        "x": [1.0, 2.0, 4.5, -1.0, -1.0, 7.0],
        "y": [0.1, 0.2, 0.3, 0.4, 0.6, 0.5],
    }
)


def test_each_number_is_the_mean_with_the_t_interval():
    table = over_seeds(FRAME, ["set", "method"], ["x", "y"])
    assert table[["set", "method"]].to_numpy().tolist() == [["b", "sft"], ["b", "ppo"], ["a", "sft"]]
    assert table["seeds"].tolist() == [3, 2, 1]
    assert list(table)[3:6] == ["x", "x_ci_low", "x_ci_high"]
    for name in ("x", "y"):
        values = FRAME[name][:3]
        low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
        np.testing.assert_allclose(
            table.loc[0, [name, f"{name}_ci_low", f"{name}_ci_high"]].astype(float),
            [values.mean(), low, high],
        )
    assert table.loc[1, ["x", "x_ci_low", "x_ci_high"]].tolist() == [-1, -1, -1]
    assert table.loc[2, ["x_ci_low", "x_ci_high"]].isna().all()


def test_a_cell_shows_half_of_the_interval_where_there_is_one():
    row = pd.Series({"x": 0.5, "x_ci_low": 0.25, "x_ci_high": 0.75})
    assert cell(row, "x") == "0.50 ± 0.25"
    assert cell(row, "x", digits=0, factor=100) == "50 ± 25"
    alone = pd.Series({"x": 0.5, "x_ci_low": np.nan, "x_ci_high": np.nan})
    assert cell(alone, "x") == "0.50"


def test_a_value_that_is_not_finite_is_refused():
    with pytest.raises(UserError, match="x: nan for seed 0"):
        over_seeds(FRAME.assign(x=np.nan), ["set", "method"], ["x"])
