"""Ranks over seeds: against published critical values, scipy's Friedman test, and what ties must do."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare

from lightning_moa.errors import UserError
from lightning_moa.reporting.plots import canvas
from lightning_moa.reporting.ranks import critical_difference, draw_ranks, mean_ranks


def table(values, names="abcdefghij"):
    """A row for each method and seed of values (seeds, methods)."""
    return pd.DataFrame(
        [
            {"method": name, "seed": seed, "x": value}
            for seed, row in enumerate(values)
            for name, value in zip(names, row, strict=False)
        ]
    )


@pytest.mark.parametrize(
    ("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (7, 2.949), (10, 3.164)]
)
def test_the_critical_values_are_those_of_demsars_table_5(k, q):
    assert critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=1.1e-3)


def test_his_example_of_four_classifiers_on_fourteen_sets():
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


@pytest.mark.parametrize("larger", [True, False])
def test_the_best_has_rank_one_and_equal_values_share_theirs(larger):
    found = mean_ranks(table([[3.0, 1.0, 1.0], [2.0, 2.0, 1.0]]), "x", larger=larger)
    ranks = dict(zip(found["method"], found["rank"], strict=True))
    expected = {"a": 1.25, "b": 2.0, "c": 2.75}
    assert ranks == expected if larger else ranks == {name: 4 - rank for name, rank in expected.items()}
    assert found["rank"].is_monotonic_increasing


def test_the_test_of_no_differences_is_friedmans():
    values = np.random.default_rng(0).normal(size=(10, 5)) + np.arange(5) * 0.3
    found = mean_ranks(table(values), "x", larger=True)
    assert (found["friedman_p"] == friedmanchisquare(*values.T).pvalue).all()
    order = np.random.default_rng(1).permutation(10)
    assert mean_ranks(table(values[order]), "x", larger=True)["rank"].tolist() == pytest.approx(
        found["rank"].tolist()
    )


def test_methods_that_all_tie_are_not_told_apart():
    found = mean_ranks(table(np.ones((4, 3))), "x", larger=True)
    assert (found["rank"] == 2).all()
    assert (found["friedman_p"] == 1).all()


def test_a_single_seed_has_ranks_and_no_test():
    found = mean_ranks(table([[1.0, 2.0, 3.0]]), "x", larger=True)
    assert found["rank"].tolist() == [1, 2, 3]
    assert found[["rank_ci_low", "friedman_p", "critical_difference"]].isna().all(axis=None)
    with canvas(4, 3) as figure:
        draw_ranks(figure.subplots(), found)


def test_a_method_without_a_value_for_each_seed_is_left_out():
    found = mean_ranks(table([[1.0, 2.0, 3.0], [np.nan, 2.0, 3.0]]), "x", larger=True)
    assert set(found["method"]) == {"b", "c"}
    with pytest.raises(UserError, match="ranks by x: 1 methods"):
        mean_ranks(table([[1.0, np.nan]]), "x", larger=True)


def test_what_is_within_the_critical_difference_of_the_best_lies_in_the_band():
    found = mean_ranks(table(np.random.default_rng(0).normal(size=(10, 6)) + np.arange(6)), "x", larger=True)
    with canvas(4, 3) as figure:
        ax = figure.subplots()
        draw_ranks(ax, found)
        (band,) = ax.patches
        left, right = band.get_extents().transformed(ax.transData.inverted()).intervalx
        assert left == pytest.approx(found["rank"].min())
        assert right == pytest.approx(found["rank"].min() + critical_difference(6, 10))
        assert [text.get_text() for text in ax.get_yticklabels()] == found["method"].tolist()
