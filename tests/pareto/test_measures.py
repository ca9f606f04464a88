"""Measures of fronts against hand arithmetic and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_moa.errors import UserError
from lightning_moa.pareto import (
    additive_epsilon,
    coverage,
    dominates,
    expected_utility,
    igd,
    igd_plus,
    inner_product,
    is_non_dominated,
    maximum_utility_loss,
    spacing,
    sparsity,
)

# Few distinct values, so that ties and duplicates are common; negative ones too.
pairs = st.integers(1, 4).flatmap(
    lambda m: st.tuples(
        *[
            arrays(
                np.float64,
                st.tuples(st.integers(1, 7), st.just(m)),
                elements=st.sampled_from([-1, 0, 0.5, 2]),
            )
            for _ in range(2)
        ]
    )
)


def test_igd_is_the_mean_distance_from_the_front() -> None:
    generator = np.random.default_rng(0)
    points, front = generator.normal(size=(6, 3)), generator.normal(size=(9, 3))
    oracle = np.mean([min(np.linalg.norm(f - p) for p in points) for f in front])
    assert igd(points, front) == pytest.approx(oracle)
    plus = np.mean([min(np.linalg.norm(np.maximum(f - p, 0)) for p in points) for f in front])
    assert igd_plus(points, front) == pytest.approx(plus)
    assert igd(front, front) == 0


def test_igd_plus_forgives_points_beyond_the_front() -> None:
    assert igd_plus([[2, 2]], [[1, 1]]) == 0
    assert igd([[2, 2]], [[1, 1]]) == pytest.approx(np.sqrt(2))


def test_spacing_by_hand() -> None:
    # Nearest-neighbour distances 1, 1, 3.
    assert spacing([[0, 0], [0, 1], [0, 4]]) == pytest.approx(np.std([1, 1, 3]))
    assert spacing([[0, 2], [1, 1], [2, 0]]) == pytest.approx(0, abs=1e-12)
    assert np.isnan(spacing([[1, 1]]))


def test_sparsity_by_hand() -> None:
    # Sorted along the front: gaps (1, -1) and (2, -3), in any order of rows or objectives.
    front = np.array([[1, 3], [0, 4], [3, 0]], dtype=float)
    expected = (1 + 1 + 4 + 9) / (2 * 2)
    assert sparsity(front) == pytest.approx(expected)
    assert sparsity(front[::-1]) == pytest.approx(expected)
    assert sparsity(front[:, ::-1]) == pytest.approx(expected)
    assert np.isnan(sparsity([[1, 1]]))


def test_sparsity_of_three_objectives_does_not_depend_on_their_order() -> None:
    points = np.random.default_rng(1).normal(size=(12, 3))
    assert sparsity(points) == pytest.approx(sparsity(points[:, [2, 0, 1]]))


def test_a_collapsed_method_is_perfectly_even() -> None:
    assert spacing([[1, 1]] * 4) == 0
    assert sparsity([[1, 1]] * 4) == 0


def test_inner_product_by_hand() -> None:
    assert inner_product([[1, 0], [0.5, 0.5]], [[2, 7], [4, 6]]) == pytest.approx((2 + 5) / 2)
    assert np.isnan(inner_product(np.empty((0, 2)), np.empty((0, 2))))
    with pytest.raises(UserError, match="one per point"):
        inner_product([[1, 0]], [[1, 2], [3, 4]])


def test_an_empty_set_has_no_distance() -> None:
    with pytest.raises(UserError, match="no points"):
        igd(np.empty((0, 2)), [[1, 1]])


@given(pairs)
@settings(max_examples=150, deadline=None)
def test_additive_epsilon_is_its_definition_and_its_sign_is_coverage(pair) -> None:
    a, b = pair
    expected = max(min(max(y - x for x, y in zip(p, q, strict=True)) for p in a) for q in b)
    assert additive_epsilon(a, b) == expected
    assert (additive_epsilon(a, b) <= 0) == (coverage(a, b) == 1)
    if additive_epsilon(a, b) < 0:
        assert dominates(a, b)
    if dominates(a, b):
        assert additive_epsilon(a, b) <= 0


@given(pairs, st.floats(-3, 3))
@settings(max_examples=80, deadline=None)
def test_additive_epsilon_is_the_least_lift_that_covers(pair, lift) -> None:
    a, b = pair
    epsilon = additive_epsilon(a, b)
    assert coverage(a + epsilon, b) == 1
    assert coverage(a + epsilon - 1e-6, b) < 1
    # Lifting one front takes as much off the other's need.
    assert additive_epsilon(a + lift, b) == pytest.approx(epsilon - lift)
    assert additive_epsilon(a, b + lift) == pytest.approx(epsilon + lift)
    assert additive_epsilon(a, a) == 0


@given(pairs)
@settings(max_examples=80, deadline=None)
def test_dominated_points_do_not_change_additive_epsilon(pair) -> None:
    a, b = pair
    fronts = [points[is_non_dominated(points)] for points in pair]
    assert additive_epsilon(*fronts) == additive_epsilon(a, b)


def test_additive_epsilon_needs_points_of_one_dimension() -> None:
    for empty in (([], [[1, 1]]), ([[1, 1]], [])):
        with pytest.raises(UserError, match="no points"):
            additive_epsilon(*empty)
    with pytest.raises(UserError, match="front_b: 3 objectives, allowed is 2"):
        additive_epsilon([[1, 1]], [[1, 1, 1]])


def test_expected_utility_takes_the_best_policy_for_each_preference() -> None:
    """Of three policies at two preferences."""
    utilities = [[1.0, 0.0], [0.0, 4.0], [0.5, 1.0]]
    assert expected_utility(utilities) == pytest.approx(2.5)
    assert maximum_utility_loss(utilities, [3.0, 4.5]) == pytest.approx(2.0)
    assert maximum_utility_loss(utilities, [1.0, 4.0]) == 0


def test_utilities_of_nobody_and_of_other_preferences_are_refused() -> None:
    with pytest.raises(UserError, match="no policies"):
        expected_utility(np.zeros((0, 2)))
    with pytest.raises(UserError, match="each of 2 preferences"):
        maximum_utility_loss([[1.0, 2.0]], [1.0])
