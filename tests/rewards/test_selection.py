import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_moa.errors import UserError
from lightning_moa.rewards import mors, select

tables = arrays(
    np.float64, st.tuples(st.integers(1, 25), st.integers(1, 4)), elements=st.integers(-5, 5).map(float)
)
quantiles = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.9, 0.99])


def kept_by_counting(scores, quantile):
    """The same rule, a row at a time, from the definition of the linear quantile."""
    kept = []
    for row in scores:
        hits = []
        for value, column in zip(row, scores.T, strict=True):
            ordered = sorted(column)
            place = quantile * (len(ordered) - 1)
            below, above = ordered[int(place)], ordered[min(int(place) + 1, len(ordered) - 1)]
            hits.append(value >= below + (above - below) * (place - int(place)) - 1e-12)
        kept.append(any(hits))
    return kept


def test_by_hand():
    # 0.7 of eleven rows 0..10 is 7: rows 7 to 10 by the first score, 0 to 3 by the second.
    scores = np.stack([np.arange(11.0), 100 - np.arange(11.0)], axis=1)
    assert np.flatnonzero(mors(scores)).tolist() == [0, 1, 2, 3, 7, 8, 9, 10]
    assert np.flatnonzero(mors(scores[:, :1], 0.9)).tolist() == [9, 10]


@given(tables, quantiles)
@settings(deadline=None, derandomize=True)
def test_a_row_is_kept_for_any_score_that_reaches_its_own_quantile(scores, quantile):
    assert mors(scores, quantile).tolist() == kept_by_counting(scores, quantile)


@given(tables, quantiles)
@settings(deadline=None, derandomize=True)
def test_each_objectives_best_rows_are_kept_whatever_their_scale(scores, quantile):
    kept = mors(scores, quantile)
    assert kept.dtype == bool
    assert kept[(scores == scores.max(axis=0)).any(axis=1)].all()
    np.testing.assert_array_equal(mors(scores * 2.0 ** np.arange(scores.shape[1]), quantile), kept)
    assert mors(scores, 0.0).all()


def test_a_column_without_spread_keeps_all():
    assert mors(np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]]), 0.99).all()


def test_independent_scores_keep_the_share_that_probability_says():
    for j in (1, 2, 3):
        share = mors(np.random.default_rng(j).normal(size=(20_000, j))).mean()
        assert share == pytest.approx(1 - 0.7**j, abs=0.01)


def test_a_choice_is_from_the_kept_ones_and_goes_by_its_seed():
    scores = np.random.default_rng(0).normal(size=(1000, 2))
    kept = np.flatnonzero(mors(scores))
    chosen = select(scores, 0.7, 100, seed=3)
    assert len(chosen) == 100
    assert (np.diff(chosen) > 0).all()
    assert set(chosen) <= set(kept)
    np.testing.assert_array_equal(select(scores, 0.7, 100, seed=3), chosen)
    assert not np.array_equal(select(scores, 0.7, 100, seed=4), chosen)


def test_where_fewer_are_kept_all_are_chosen():
    scores = np.random.default_rng(0).normal(size=(50, 2))
    kept = np.flatnonzero(mors(scores))
    for rows in (len(kept), len(kept) + 1, 500):
        np.testing.assert_array_equal(select(scores, 0.7, rows, seed=0), kept)


def test_every_kept_row_is_chosen_equally_often():
    scores = np.random.default_rng(0).normal(size=(30, 2))
    kept = np.flatnonzero(mors(scores))
    counts = np.zeros(30)
    for seed in range(4000):
        counts[select(scores, 0.7, 5, seed)] += 1
    expected = 4000 * 5 / len(kept)
    assert counts.sum() == 4000 * 5
    # Five standard deviations of a binomial count.
    assert np.abs(counts[kept] - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize(
    ("scores", "quantile", "rows", "message"),
    [
        ([[1.0]], 1.0, 1, "quantile=1.0"),
        ([[1.0]], -0.1, 1, "quantile=-0.1"),
        ([[1.0]], np.nan, 1, "quantile=nan"),
        (np.empty((0, 2)), 0.7, 1, r"shape \(0, 2\)"),
        ([1.0, 2.0], 0.7, 1, r"shape \(2,\)"),
        ([[1.0, 2.0], [1.0, np.nan]], 0.7, 1, "row 1, column 1 is nan"),
        ([[np.inf]], 0.7, 1, "row 0, column 0 is inf"),
        ([[1.0]], 0.7, 0, "rows=0"),
    ],
)
def test_what_cannot_be_chosen_from(scores, quantile, rows, message):
    with pytest.raises(UserError, match=message):
        select(np.array(scores), quantile, rows, seed=0)
