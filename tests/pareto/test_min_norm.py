"""The min-norm point against its optimality conditions, a QP solver and a search over all supports."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest
import quadprog
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_moa.errors import UserError
from lightning_moa.pareto import min_norm_weights

quick = settings(max_examples=150, deadline=None, derandomize=True)

seeds = st.integers(0, 2**32 - 1)


@st.composite
def gradients(draw: st.DrawFn, most: int = 10) -> np.ndarray:
    """(m, k) of any rank, from nearly orthogonal to nearly equal, and on small grids full of coincidences."""
    m, k = draw(st.integers(1, most)), draw(st.integers(1, 12))
    generator = np.random.default_rng(draw(seeds))
    if draw(st.booleans()):
        rows = generator.integers(-2, 3, size=(m, k)).astype(float)
    else:
        spread = draw(st.sampled_from([1e-6, 0.1, 1, 30]))
        rows = generator.normal(size=k) * draw(st.booleans()) + spread * generator.normal(size=(m, k))
    if draw(st.booleans()):
        rows = rows[generator.integers(m, size=m)] * generator.choice([-1, 1, 2], size=(m, 1))
    return rows


def assert_optimal(gramian: np.ndarray, weights: np.ndarray) -> None:
    """The KKT conditions: sufficient, since the problem is convex."""
    assert weights.dtype == np.float64
    assert weights.shape == (len(gramian),)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-14)
    lengths = np.sqrt(gramian.diagonal())
    products = gramian @ weights
    square = weights @ products
    tolerance = 1e-9 * lengths * lengths.min()
    assert (products >= square - tolerance).all()
    assert (products[weights > 0] <= (square + tolerance)[weights > 0]).all()
    assert square <= lengths.min() ** 2 * (1 + 1e-9)


def shortest_square(gramian: np.ndarray) -> float:
    """The least ||d||^2 over all supports: each one's affine hull, kept where its weights are on the simplex.

    The Gramian's entries are of the order of 1.
    """
    best = np.inf
    for size in range(1, len(gramian) + 1):
        for support in combinations(range(len(gramian)), size):
            part = gramian[np.ix_(support, support)]
            system = np.block([[part, np.ones((size, 1))], [np.ones((1, size)), np.zeros((1, 1))]])
            right = np.append(np.zeros(size), 1)
            weights = (np.linalg.pinv(system, rcond=1e-12, hermitian=True) @ right)[:size]
            if (weights >= -1e-10).all() and abs(weights.sum() - 1) < 1e-8:
                best = min(best, float(weights @ part @ weights))
    return best


@given(gradients())
@settings(quick, max_examples=300)
def test_weights_meet_the_optimality_conditions(rows: np.ndarray) -> None:
    gramian = rows @ rows.T
    assert_optimal(gramian, min_norm_weights(gramian))


@given(gradients(), seeds)
@quick
def test_the_point_turns_with_the_order_of_the_gradients(rows: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(rows))
    gramian = rows @ rows.T
    weights, turned = min_norm_weights(gramian), min_norm_weights(gramian[np.ix_(order, order)])
    # d itself is known to the root of the accuracy of ||d||^2 only.
    scale = np.linalg.norm(rows, axis=1).max()
    np.testing.assert_allclose(weights @ rows, turned @ rows[order], atol=1e-6 * scale)
    np.testing.assert_allclose(
        gramian @ weights, (gramian @ turned[np.argsort(order)]), atol=1e-12 * scale**2
    )


@given(st.integers(2, 10), st.integers(0, 10), st.sampled_from([0, 1]), st.sampled_from([0, 0.5, 1]), seeds)
@quick
def test_quadprog_finds_the_same(m: int, extra: int, shift: int, spread: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(m, m + extra)) + shift * generator.normal(size=m + extra)
    rows *= 10 ** generator.uniform(-spread, spread, size=(m, 1))
    gramian = rows @ rows.T
    weights = min_norm_weights(gramian)
    simplex = np.vstack([np.ones(m), np.eye(m)]).T
    solution, half, *_ = quadprog.solve_qp(gramian, np.zeros(m), simplex, np.append(1.0, np.zeros(m)), 1)
    scale = gramian.diagonal().min()
    assert weights @ gramian @ weights == pytest.approx(2 * half, abs=1e-11 * gramian.diagonal().max())
    # Two points that are within e of optimal differ by weights of at most sqrt(e / lowest eigenvalue).
    if np.linalg.eigvalsh(gramian)[0] > 1e-3 * scale:
        np.testing.assert_allclose(weights, solution, atol=1e-7)


@given(gradients(most=5))
@settings(quick, max_examples=60)
def test_no_support_holds_a_shorter_point(rows: np.ndarray) -> None:
    gramian = rows @ rows.T
    weights = min_norm_weights(gramian)
    gramian /= gramian.diagonal().max() or 1
    assert weights @ gramian @ weights == pytest.approx(shortest_square(gramian), abs=1e-9)


@given(st.integers(1, 5), seeds)
@quick
def test_two_gradients_follow_the_closed_form(k: int, seed: int) -> None:
    first, second = np.random.default_rng(seed).normal(size=(2, k))
    gramian = np.array([first, second]) @ np.array([first, second]).T
    expected = np.clip((second - first) @ second / np.sum((first - second) ** 2), 0, 1)
    np.testing.assert_allclose(min_norm_weights(gramian), [expected, 1 - expected], atol=1e-10)


@given(st.floats(-1, 1))
@quick
def test_two_unit_vectors_get_equal_weights(cosine: float) -> None:
    np.testing.assert_allclose(min_norm_weights([[1, cosine], [cosine, 1]]), [0.5, 0.5], rtol=1e-15)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=10))
@quick
def test_orthogonal_gradients_are_weighted_by_one_over_their_squares(logarithms: list[float]) -> None:
    squares = 10.0 ** np.array(logarithms)
    expected = 1 / squares / (1 / squares).sum()
    np.testing.assert_allclose(min_norm_weights(np.diag(squares)), expected, rtol=1e-12)


@given(st.integers(2, 8), st.floats(-290, 290), seeds)
@quick
def test_a_common_scale_changes_nothing(m: int, logarithm: float, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(m, 5)) + 0.5
    gramian = rows @ rows.T
    expected = gramian @ min_norm_weights(gramian)
    np.testing.assert_allclose(gramian @ min_norm_weights(gramian * 10.0**logarithm), expected, atol=1e-10)


@given(st.integers(2, 10), st.sampled_from([1e-8, 1e-3]), seeds)
@quick
def test_unequal_lengths_keep_the_conditions(m: int, shortest: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(m, 20))
    rows *= np.geomspace(shortest, 1 / shortest, m)[generator.permutation(m), None]
    gramian = rows @ rows.T
    assert_optimal(gramian, min_norm_weights(gramian))


@given(st.integers(2, 6), seeds)
@quick
def test_the_conditions_hold_at_float64s_ends(m: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(m, 8)) / 3
    lengths = 10.0 ** generator.choice([-150, -149, 0, 149, 150], size=m)
    correlated = rows @ rows.T
    weights = min_norm_weights(correlated * lengths * lengths[:, None])
    assert weights.sum() == pytest.approx(1)
    # The same conditions, divided by lengths whose products float64 can't hold.
    scaled = weights * (lengths / lengths.min())
    products = correlated @ scaled
    assert (products >= (scaled @ products) * (lengths.min() / lengths) - 1e-9).all()


@pytest.mark.parametrize(
    ("gramian", "expected"),
    [
        ([[4]], [1]),
        ([[0]], [1]),
        (np.zeros((4, 4)), [0.25] * 4),
        ([[0, 0], [0, 3]], [1, 0]),
        ([[0, 0, 0], [0, 3, 0], [0, 0, 0]], [0.5, 0, 0.5]),
        (np.ones((2, 2)), [0.5] * 2),
        (np.full((3, 3), 7), [1 / 3] * 3),
        # The parallel vectors 1, 2 and 3: the shortest alone.
        (np.outer([2, 1, 3], [2, 1, 3]), [0, 1, 0]),
        (np.outer([2, 1], [2, 1]), [0, 1]),
        # Opposite vectors cancel out, however long.
        (np.outer([1, -3], [1, -3]), [0.75, 0.25]),
        (1e300 * np.outer([1, -3], [1, -3]), [0.75, 0.25]),
        (np.array([[1e16, -1e16, 0], [-1e16, 1e16, 0], [0, 0, 1e-16]]), [0.5, 0.5, 0]),
        # A duplicate beside an orthogonal vector: shared evenly.
        ([[1, 1, 0], [1, 1, 0], [0, 0, 1]], [0.25, 0.25, 0.5]),
        # A regular triangle around 0.
        (np.eye(3) * 1.5 - 0.5, [1 / 3] * 3),
    ],
)
def test_by_hand(gramian: object, expected: list[float]) -> None:
    np.testing.assert_allclose(min_norm_weights(gramian), expected, atol=1e-15)


@given(st.integers(2, 5), seeds)
@quick
def test_duplicates_share_their_weight(m: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(m, m + 2))
    copies = generator.integers(m, size=m + 3)
    weights = min_norm_weights(rows[copies] @ rows[copies].T)
    chosen = np.unique(copies)
    alone = min_norm_weights(rows[chosen] @ rows[chosen].T)
    for gradient, weight in zip(chosen, alone, strict=True):
        same = weights[copies == gradient]
        np.testing.assert_allclose(same, weight / len(same), atol=1e-9)


def test_fifty_gradients() -> None:
    generator = np.random.default_rng(0)
    for k in (5, 40, 400):
        rows = generator.normal(size=(50, k)) + 0.2
        gramian = rows @ rows.T
        assert_optimal(gramian, min_norm_weights(gramian))


def test_gradients_that_cancel_but_for_rounding_do_not_lengthen_the_point() -> None:
    # The long ones mix to 1e-9 of their lengths, which their Gramian rounds away; the short one is 1e-16.
    generator = np.random.default_rng(0)
    for _ in range(100):
        rows = np.zeros((5, 6))
        rows[:3, :4] = generator.normal(size=(3, 4))
        rows[3, :4] = -generator.dirichlet(np.ones(3)) @ rows[:3, :4] + 1e-9 * generator.normal(size=4)
        rows[4] = 1e-16 * generator.normal(size=6)
        d = min_norm_weights(rows @ rows.T) @ rows
        assert np.linalg.norm(d) <= 1.2 * np.linalg.norm(rows[4])


@pytest.mark.parametrize(
    "rows",
    [
        [[2, -2, 0], [0, -1, 0], [0, 0, 2], [2, 1, 1], [2, 1, -1]],
        [[2, 1, -1], [0, -1, 2], [0, 0, 1], [2, 2, -2], [-2, 1, 0]],
        [[1, -2, -2], [-1, -1, 2], [-2, -2, 2], [1, 0, 1]],
    ],
)
def test_of_weights_that_turn_negative_together_only_the_first_is_dropped(rows: list[list[int]]) -> None:
    gramian = np.array(rows, dtype=float) @ np.array(rows).T
    assert_optimal(gramian, min_norm_weights(gramian))


def test_the_longest_beside_the_shortest_cancel_in_silence() -> None:
    # Long gradients around 0 in a plane or in space, but for rounding, and a short one at a right angle.
    generator = np.random.default_rng(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in [2, 3] * 50:
            rows = np.zeros((k + 2, k + 1))
            rows[:k, :k] = generator.normal(size=(k, k))
            rows[k] = -generator.dirichlet(np.ones(k)) @ rows[:k]
            rows[-1, -1] = 1
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            lengths = np.append(np.full(k + 1, 1e150), 1e-150)
            weights = min_norm_weights(rows @ rows.T * lengths * lengths[:, None])
            assert (weights >= 0).all()
            assert weights.sum() == pytest.approx(1)


def test_a_gramian_in_float32_is_accurate_enough() -> None:
    generator = np.random.default_rng(1)
    for m in (2, 3, 6, 10):
        rows = generator.normal(size=(m, 4)).astype(np.float32)
        weights = min_norm_weights(rows @ rows.T)
        products = (rows @ rows.T).astype(np.float64) @ weights
        assert (products >= weights @ products - 1e-5 * (rows**2).sum(axis=1).max()).all()


def test_both_halves_of_a_roughly_symmetric_gramian_count() -> None:
    gramian = np.array([[1, 0.3, 0.1], [0.300001, 2, 0.2], [0.1, 0.2, 3]])
    np.testing.assert_allclose(min_norm_weights(gramian), min_norm_weights(gramian.T), rtol=1e-14)
    mean = (gramian + gramian.T) / 2
    np.testing.assert_allclose(min_norm_weights(gramian), min_norm_weights(mean), rtol=1e-14)


def test_nothing_depends_on_the_call() -> None:
    gramian = np.cov(np.random.default_rng(2).normal(size=(7, 9)))
    before = gramian.copy()
    assert min_norm_weights(gramian).tolist() == min_norm_weights(gramian.tolist()).tolist()
    np.testing.assert_array_equal(gramian, before)


@pytest.mark.parametrize(
    ("gramian", "message"),
    [
        ([], "shape"),
        (np.empty((0, 0)), "shape"),
        ([1, 2], "shape"),
        ([[1, 0, 0], [0, 1, 0]], "shape"),
        ([["a"]], "not an array of numbers"),
        ([[1, 2], [3]], "not an array of numbers"),
        ([[1, np.nan], [np.nan, 1]], r"\(0, 1\) is nan"),
        ([[1, 0], [0, np.inf]], "1.3e\\+154, whose squares"),
        ([[1, 0], [0, -1]], r"\(1, 1\) is -1.0, allowed are squared lengths"),
        ([[1, 0.5], [0.4, 1]], "mirror image"),
        ([[1, 2], [2, 1]], "more than the two lengths allow"),
        ([[0, 1], [1, 1]], "more than the two lengths allow"),
        ([[1e-300, 1e300], [1e300, 1e-300]], "more than the two lengths allow"),
        (np.eye(3) * 1.9 - 0.9, "not positive semi-definite"),
    ],
)
def test_bad_input_is_named_in_one_line(gramian: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        min_norm_weights(gramian)
    assert "\n" not in str(error.value)
