"""Preferences: the lattice, sampling and the check."""

from math import comb, fsum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_moa.errors import UserError
from lightning_moa.pareto import check_preference, even_preferences, preference_grid, sample_preferences


@given(st.integers(1, 5), st.integers(1, 10))
@settings(max_examples=40, deadline=None)
def test_the_grid_is_the_whole_lattice_once_and_in_order(m: int, parts: int) -> None:
    grid = preference_grid(m, 1 / parts)
    assert grid.shape == (comb(parts + m - 1, m - 1), m)
    rows = [tuple(row) for row in grid]
    assert rows == sorted(set(rows))
    counts = np.round(grid * parts)
    np.testing.assert_array_equal(grid, counts / parts)
    assert (counts.sum(axis=1) == parts).all()
    assert all(fsum(row) == 1.0 for row in grid)
    check_preference(grid, m)


def test_two_objectives_rise_from_zero_to_one_and_sum_exactly() -> None:
    grid = preference_grid(2, 0.1)
    assert grid[:, 0].tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    assert (grid.sum(axis=1) == 1).all()


@pytest.mark.parametrize("step", [0.3, 0, -0.1, 1.5, np.nan, np.inf])
def test_a_step_must_divide_one(step: float) -> None:
    with pytest.raises(UserError, match="divide 1"):
        preference_grid(2, step)


def test_no_objectives_no_grid() -> None:
    with pytest.raises(UserError):
        preference_grid(0, 0.1)


@pytest.mark.parametrize(("m", "step"), [(2, 1e-9), (10, 0.05), (4, 0.01)])
def test_a_grid_that_no_machine_could_hold_is_refused(m: int, step: float) -> None:
    with pytest.raises(
        UserError, match=r"preference grid: step .* makes [\d,]+ preferences .* at most 100,000"
    ):
        preference_grid(m, step)


def test_the_largest_grids_that_are_allowed() -> None:
    for m, parts in ((2, 99_999), (3, 445)):
        assert len(preference_grid(m, 1 / parts)) == comb(parts + m - 1, m - 1)


@given(st.integers(1, 6), st.floats(0.05, 20), st.floats(0, 1), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_samples_lie_on_the_simplex_and_repeat(m: int, alpha: float, share: float, seed: int) -> None:
    sample = sample_preferences(m, 20, seed, alpha, share)
    check_preference(sample, m)
    np.testing.assert_array_equal(sample, sample_preferences(m, 20, seed, alpha, share))


def test_a_generator_is_advanced() -> None:
    generator = np.random.default_rng(0)
    assert (sample_preferences(2, 5, generator) != sample_preferences(2, 5, generator)).any()


def test_concentration_one_is_uniform_and_vertices_come_as_often_as_asked() -> None:
    first = sample_preferences(3, 4000, 0)[:, 0]
    assert stats.kstest(first, stats.beta(1, 2).cdf).pvalue > 0.01
    sample = sample_preferences(3, 4000, 0, vertex_share=0.3)
    vertices = sample[sample.max(axis=1) == 1]
    assert len(vertices) / 4000 == pytest.approx(0.3, abs=0.03)
    np.testing.assert_allclose(vertices.mean(axis=0), 1 / 3, atol=0.05)
    spread = [sample_preferences(3, 2000, 0, alpha).max(axis=1).mean() for alpha in (0.1, 1, 10)]
    assert spread[0] > spread[1] > spread[2]


@pytest.mark.parametrize("kwargs", [{"concentration": 0}, {"concentration": np.nan}, {"vertex_share": 1.1}])
def test_bad_sampling_options(kwargs: dict[str, float]) -> None:
    with pytest.raises(UserError, match="allowed"):
        sample_preferences(2, 3, 0, **kwargs)
    with pytest.raises(UserError):
        sample_preferences(2, -1, 0)


def test_a_good_preference_is_returned_as_given() -> None:
    assert check_preference([0.3, 0.7], 2).tolist() == [0.3, 0.7]
    assert check_preference(np.float32([0.1, 0.2, 0.7]), 3).dtype == np.float64
    assert check_preference([[1, 0], [0, 1]], 2).shape == (2, 2)


@pytest.mark.parametrize(
    "preference",
    [[0.5, 0.6], [1.5, -0.5], [np.nan, 1], [1.0], [0.2, 0.3, 0.5], 1.0, ["a", "b"], [[0.5, 0.5], [1, 1]]],
)
def test_a_bad_preference_is_refused(preference: object) -> None:
    with pytest.raises(UserError, match="allowed"):
        check_preference(preference, 2)


@pytest.mark.parametrize(
    ("policies", "objectives", "expected"),
    [
        (1, 3, [[1 / 3] * 3]),
        (4, 1, [[1.0]] * 4),
        (3, 2, [[0, 1], [0.5, 0.5], [1, 0]]),
        (3, 3, [[0, 0, 1], [0, 1, 0], [1, 0, 0]]),
        (2, 3, [[0, 0, 1], [0, 1, 0]]),
    ],
)
def test_even_preferences_of_small_numbers(policies: int, objectives: int, expected: list) -> None:
    np.testing.assert_allclose(even_preferences(policies, objectives), expected)


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("policies", [4, 5, 8, 13])
def test_even_preferences_are_distinct_and_hold_every_corner(policies: int, objectives: int) -> None:
    preferences = even_preferences(policies, objectives)
    assert preferences.shape == (policies, objectives)
    np.testing.assert_allclose(preferences.sum(axis=1), 1)
    assert len({tuple(row) for row in preferences.tolist()}) == policies
    assert {tuple(corner) for corner in np.eye(objectives)} <= {tuple(row) for row in preferences.tolist()}
