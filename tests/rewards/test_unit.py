import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from scipy.stats import zscore

from lightning_moa.errors import UserError
from lightning_moa.rewards import UNIT_MAPS, UnitMap

NAMES = ("helpful", "harmless", "humorous")
kinds = pytest.mark.parametrize("kind", UNIT_MAPS)
# Few distinct values among many give the ties that the edges are made of.
numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6))
columns = arrays(np.float64, st.tuples(st.integers(2, 30), st.just(1)), elements=numbers).filter(
    lambda scores: np.ptp(scores) > 1e-3
)


def rows(n=200, seed=0):
    """(n, 3) scores of different scales, the last with few distinct values."""
    generator = np.random.default_rng(seed)
    scores = generator.normal([0.0, 50.0, 0.0], [1.0, 7.0, 2.0], (n, 3))
    scores[:, 2] = scores[:, 2].round()
    return scores


def share_at_most(scores, fitted):
    """(n, J) share of the fitted rows with a score of at most each: the distribution function, by counting."""
    return (fitted[None] <= scores[:, None]).mean(axis=1)


def test_minmax_by_hand():
    unit = UnitMap.fit("minmax", np.array([[1.0, -2.0], [3.0, 2.0], [2.0, 0.0]]), ("a", "b"))
    np.testing.assert_array_equal(unit(np.array([[1, 2], [2, -1], [3.5, -9]])), [[0, 1], [0.5, 0.25], [1, 0]])
    np.testing.assert_array_equal(unit.clipped(np.array([[1, 2], [2, -1], [3.5, -9]])), [1 / 3, 1 / 3])


def test_sigmoid_is_the_logistic_function_of_the_z_score():
    scores = rows()
    unit = UnitMap.fit("sigmoid", scores, NAMES)
    np.testing.assert_allclose(unit(scores), expit(zscore(scores)), rtol=1e-13)
    np.testing.assert_allclose(unit(scores.mean(axis=0)[None]), 0.5)


def test_rank_is_the_distribution_function_and_linear_between():
    scores = rows()
    unit = UnitMap.fit("rank", scores, NAMES)
    np.testing.assert_allclose(unit(scores), share_at_most(scores, scores), rtol=1e-13)
    hand = UnitMap.fit("rank", np.array([[0.0], [1.0], [1.0], [3.0]]), ("a",))
    np.testing.assert_allclose(
        hand(np.array([[0], [1], [2], [0.5], [-0.1], [9]])).T, [[0.25, 0.75, 0.875, 0.5, 0, 1]]
    )


@pytest.mark.parametrize(
    "heavy",
    [
        np.empty(0),
        np.full(3000, 0.1),
        np.full(8000, -50.0),
        np.full(8000, 50.0),
        np.repeat(np.linspace(-1, 1, 40), 100),
    ],
    ids=["smooth", "one score often", "the smallest often", "the largest often", "many scores often"],
)
def test_rank_of_many_distinct_scores_keeps_few_knots_and_stays_close(heavy):
    scores = np.concatenate([np.random.default_rng(1).standard_t(2, 5000), heavy])[:, None]
    unit = UnitMap.fit("rank", scores, ("a",))
    assert len(unit.fitted[0]) <= 257
    distinct = np.unique(scores)[:, None]
    assert np.abs(unit(distinct) - share_at_most(distinct, scores)).max() < 1 / 128
    assert unit(scores).min() == pytest.approx((scores == scores.min()).mean())
    assert unit(scores).max() == 1
    assert len(json.dumps(unit.to_json())) < 15_000


@kinds
@given(columns, arrays(np.float64, (40, 1), elements=st.floats(-2e6, 2e6)))
@settings(deadline=None, derandomize=True)
def test_rewards_lie_in_the_unit_interval_and_never_fall(kind, scores, asked):
    unit = UnitMap.fit(kind, scores, ("a",))
    rewards = unit(np.sort(np.concatenate([scores, asked]), axis=0))
    assert rewards.dtype == np.float64
    assert 0 <= rewards.min() <= rewards.max() <= 1
    assert (np.diff(rewards, axis=0) >= 0).all()


@kinds
@given(columns)
@settings(deadline=None, derandomize=True)
def test_rewards_rise_strictly_within_the_fitted_range(kind, scores):
    unit = UnitMap.fit(kind, scores, ("a",))
    inside = np.linspace(scores.min(), scores.max(), 50)[:, None]
    assert (np.diff(unit(inside), axis=0) > 0).all()


@kinds
def test_an_objective_is_mapped_by_itself_and_its_scale_is_lost(kind):
    scores, others = rows(), rows(50, seed=1)
    unit = UnitMap.fit(kind, scores, NAMES)
    alone = UnitMap.fit(kind, scores[:, 1:2], NAMES[1:2])
    np.testing.assert_array_equal(unit(others)[:, 1:2], alone(others[:, 1:2]))
    scaled = UnitMap.fit(kind, 8 * scores - 4, NAMES)
    np.testing.assert_allclose(scaled(8 * others - 4), unit(others), atol=1e-12)


@kinds
def test_the_share_of_cut_scores(kind):
    scores, others = rows(), rows(500, seed=1) * [2, 2, 1]
    unit = UnitMap.fit(kind, scores, NAMES)
    beyond = ((others < scores.min(axis=0)) | (others > scores.max(axis=0))).mean(axis=0)
    assert beyond[1] > 0.5
    np.testing.assert_allclose(unit.clipped(others), beyond * (kind != "sigmoid"))
    np.testing.assert_array_equal(unit.clipped(scores), 0)
    np.testing.assert_array_equal(unit.clipped(np.empty((0, 3))), 0)
    cut = unit(others)[(others < scores.min(axis=0)) | (others > scores.max(axis=0))]
    assert set(cut) == {0.0, 1.0} or kind == "sigmoid"


def test_far_scores_neither_overflow_nor_warn():
    with np.errstate(all="raise", under="ignore"):
        unit = UnitMap.fit("sigmoid", np.array([[0.0], [1e-3]]), ("a",))
        np.testing.assert_array_equal(unit(np.array([[-1e6], [1e6]])), [[0], [1]])


@kinds
@given(columns)
@settings(deadline=None, derandomize=True)
def test_json_gives_the_same_map_bit_by_bit(kind, scores):
    unit = UnitMap.fit(kind, scores, ("a",))
    again = UnitMap.from_json(json.loads(json.dumps(unit.to_json(), allow_nan=False)))
    assert again == unit
    assert again(scores).tobytes() == unit(scores).tobytes()


@kinds
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1.0, 2.0]], "1 row"),
        ([[1.0, 2.0], [2.0, np.nan]], "'b' of response 1 is nan"),
        ([[1.0, 2.0], [np.inf, 3.0]], "'a' of response 1 is inf"),
        ([[1.0, 2.0], [2.0, 2.0]], "'b' lies between 2.0 and 2.0 in all 2 rows: no spread"),
        ([[1.0, 0.1], [2.0, 0.1], [3.0, 0.1]], "'b' .* no spread"),
        ([[-1e308, 2.0], [1e308, 3.0]], "'a' .* no spread"),
        ([[1.0], [2.0]], r"shape \(2, 1\): \(rows, 2\)"),
        ([1.0, 2.0], r"shape \(2,\)"),
    ],
)
def test_rows_that_no_map_can_be_fitted_on(kind, scores, message):
    with pytest.raises(UserError, match=message):
        UnitMap.fit(kind, np.array(scores), ("a", "b"))


def test_an_unknown_kind_names_the_allowed_ones():
    with pytest.raises(UserError, match="'softmax': allowed are minmax, sigmoid, rank"):
        UnitMap.fit("softmax", rows(), NAMES)


@kinds
@pytest.mark.parametrize("method", ["__call__", "clipped"])
def test_scores_that_no_map_takes(kind, method):
    ask = getattr(UnitMap.fit(kind, rows(), NAMES), method)
    for wrong, message in (
        ([[1, 2]], "shape"),
        ([[1, math.nan, 2]], "harmless"),
        ([[1, 2, math.inf]], "humorous"),
    ):
        with pytest.raises(UserError, match=message):
            ask(np.array(wrong, dtype=float))


GOOD = {"kind": "rank", "objectives": ["a"], "fitted": [[0.0, 1.0]], "heights": [[0.5, 1.0]]}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"kind": ["rank"]},
        {"kind": "sigmoid"},
        {"objectives": "a"},
        {"objectives": []},
        {"objectives": ["a", "b"]},
        {"fitted": [0.0, 1.0]},
        {"fitted": [["0", "1"]]},
        {"fitted": [[True, 2.0]]},
        {"fitted": [[1.0, 1.0]]},
        {"fitted": [[0.0, math.nan]]},
        {"fitted": [[0.0, 1.0, 2.0]]},
        {"heights": [[0.6, 0.5]]},
        {"heights": [[-0.5, 1.0]]},
        {"heights": [[0.5, 2.0]]},
        {"heights": [[0.5, 0.9]]},
        {"kind": "sigmoid", "fitted": [[0.0, 0.0]], "heights": [[]]},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_no_saved_map(change):
    assert UnitMap.from_json(GOOD)(np.array([[0.5]])) == 0.75
    with pytest.raises(UserError):
        UnitMap.from_json({**GOOD, **change})


def test_what_is_no_record_at_all():
    for wrong in (None, [], {}, {"kind": "rank"}):
        with pytest.raises(UserError, match="are needed"):
            UnitMap.from_json(wrong)
