"""The table and picture of HaM's Theorem 1, on random log-probabilities and rewards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.pareto.estimation import batch_errors, chained_bound, hypervolume_bound, smallest_z
from lightning_moa.reporting import batch_errors as bound
from lightning_moa.reporting.plots import canvas, save_figure

BATCHES = [4, 16, 64, 256]
DELTA = 0.1
DRAWS = 300


def data(k=5, j=3, n=120):
    rng = np.random.default_rng(0)
    return -rng.gamma(2, 8, size=(k, n)), rng.random((n, j))


@pytest.fixture(scope="module")
def table():
    return bound.errors_table(*data(), BATCHES, DRAWS, DELTA, seed=3)


def test_prefixes_of_policies_and_objectives_for_each_batch(table):
    found = list(zip(table["batch"], table["policies"], table["objectives"], strict=True))
    assert found == [(b, k, j) for b in BATCHES for k in (1, 2, 4, 5) for j in (2, 3)]
    alone = bound.errors_table(*data(1, 2), [1], 3, DELTA, seed=0)
    assert alone[["policies", "objectives"]].to_numpy().tolist() == [[1, 2]]
    four = bound.errors_table(*data(4, 2), [1], 3, DELTA, seed=0)
    assert four["policies"].tolist() == [1, 2, 4]


def test_a_row_says_what_the_theorems_functions_give(table):
    logps, rewards = data()
    row = table[(table["batch"] == 16) & (table["policies"] == 5) & (table["objectives"] == 3)].iloc[0]
    arguments = (logps, rewards, smallest_z(logps), 16, DRAWS)
    errors = batch_errors(*arguments, np.random.default_rng([3, 16]))
    sums = chained_bound(*arguments, np.random.default_rng([3, 16]))
    limit = hypervolume_bound(5, 3, 16, DELTA)
    assert row["mean"] == pytest.approx(errors.mean())
    assert row["maximum"] == errors.max()
    assert row["quantile"] == pytest.approx(np.quantile(errors, 0.9))
    assert row["chained"] == pytest.approx(np.quantile(sums, 0.9))
    assert row["bound"] == limit
    assert row["within"] == (errors <= limit).mean()


def test_the_chain_holds_and_errors_fall_with_the_root(table):
    assert (table["mean"] <= table["quantile"]).all()
    assert (table["quantile"] <= table["maximum"]).all()
    assert (table["quantile"] <= table["chained"]).all()
    assert (table["chained"] <= table["bound"]).all()
    assert (table["within"] >= 1 - DELTA).all()
    for _, rows in table.groupby(["policies", "objectives"]):
        # Several policies: small batches add the bias of a union of noisy boxes, which falls faster.
        slope = np.polyfit(np.log(rows["batch"]), np.log(rows["mean"]), 1)[0]
        assert slope == pytest.approx(-0.5, abs=0.05 if rows["policies"].iloc[0] == 1 else 0.15)


def test_other_sizes_do_not_move_a_sizes_draws(table):
    alone = bound.errors_table(*data(), [64], DRAWS, DELTA, seed=3)
    wanted = table[table["batch"] == 64].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, wanted)
    assert not bound.errors_table(*data(), [64], DRAWS, DELTA, seed=4).equals(wanted)


def test_the_picture_has_a_line_for_each_size_and_kind(table, tmp_path):
    with canvas(11, 5) as figure:
        bound.draw_bound(figure, table)
    by_policies, by_objectives = figure.axes
    # Three lines for each of four and two sizes, and the guide.
    assert len(by_policies.lines) == 3 * 4 + 1
    assert len(by_objectives.lines) == 3 * 2 + 1
    assert {ax.get_xscale() for ax in figure.axes} == {ax.get_yscale() for ax in figure.axes} == {"log"}
    most = table[(table["policies"] == 5) & (table["objectives"] == 3)]
    np.testing.assert_array_equal(by_policies.lines[9].get_ydata(), most["quantile"])
    for ax in figure.axes:
        x, y = ax.lines[-1].get_data()
        assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(-0.5)
        assert y[0] < table.loc[table["batch"] == 4, "quantile"].min()
    save_figure(figure, tmp_path / "bound.png")
    assert (tmp_path / "bound.png").stat().st_size > 10_000


def test_errors_of_0_are_left_out_of_the_picture():
    # Certain responses: every batch gives the same value in the objective that doesn't vary.
    table = bound.errors_table(np.full((2, 8), -1.0), np.ones((8, 2)), [2, 4], 20, DELTA, seed=0)
    assert (table["maximum"] == 0).all()
    with canvas(11, 5) as figure:
        bound.draw_bound(figure, table)
    assert all(np.isfinite(line.get_ydata()).all() for ax in figure.axes for line in ax.lines)


def test_bad_input_is_named():
    logps, rewards = data()
    with pytest.raises(UserError, match="batches: none"):
        bound.errors_table(logps, rewards, [], 5, DELTA, 0)
    with pytest.raises(UserError, match="1 objective; allowed are two or more"):
        bound.errors_table(logps, rewards[:, :1], [4], 5, DELTA, 0)
    with pytest.raises(UserError, match="delta"):
        bound.errors_table(logps, rewards, [4], 5, 1.0, 0)
    with pytest.raises(UserError, match="batch is 0"):
        bound.errors_table(logps, rewards, [0], 5, DELTA, 0)
