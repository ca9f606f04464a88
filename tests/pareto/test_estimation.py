"""HaM's Theorem 1: each link of its chain on random data, its bound's frequency, and where the printed form fails."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_moa.errors import UserError
from lightning_moa.pareto.estimation import (
    batch_errors,
    batch_estimates,
    chained_bound,
    hypervolume_bound,
    normalised,
    smallest_z,
)


def data(seed: int, k: int, j: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return -rng.gamma(2.0, 5.0, size=(k, n)), rng.beta(0.6, 0.6, size=(n, j))


def test_normalised_keeps_the_order_and_clips_below_minus_z() -> None:
    values = np.array([[0.0, -1.0], [-2.0, -7.0]])
    np.testing.assert_array_equal(normalised(values, 4.0), [[1.0, 0.75], [0.5, 0.0]])
    assert normalised(np.zeros((3, 2, 5)), 1.0).shape == (3, 2, 5)


def test_the_bound_by_hand_and_its_scaling() -> None:
    assert hypervolume_bound(5, 2, 8, 0.05) == pytest.approx(10 * np.sqrt(np.log(200) / 16))
    for batch in (1, 8, 50):
        assert hypervolume_bound(3, 2, 4 * batch, 0.1) == pytest.approx(
            hypervolume_bound(3, 2, batch, 0.1) / 2
        )
    assert hypervolume_bound(3, 4, 8, 0.1) == hypervolume_bound(4, 3, 8, 0.1)
    assert hypervolume_bound(3, 2, 8, 0.01) > hypervolume_bound(3, 2, 8, 0.1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 5),
    j=st.integers(1, 4),
    batch=st.integers(1, 60),
    slack=st.floats(1.0, 3.0),
)
def test_each_draw_stays_below_the_sum_of_its_deviations(
    seed: int, k: int, j: int, batch: int, slack: float
) -> None:
    logps, rewards = data(seed, k, j)
    z = slack * smallest_z(logps)
    errors = batch_errors(logps, rewards, z, batch, 5, np.random.default_rng(seed))
    sums = chained_bound(logps, rewards, z, batch, 5, np.random.default_rng(seed))
    assert errors.shape == sums.shape == (5,)
    assert (errors <= sums + 1e-12).all()
    assert (errors >= 0).all()
    assert errors.max() <= 1


def test_one_policy_and_one_objective_make_the_first_link_an_equality() -> None:
    logps, rewards = data(0, 1, 1)
    arguments = (logps, rewards, smallest_z(logps), 7, 20)
    errors = batch_errors(*arguments, np.random.default_rng(1))
    np.testing.assert_allclose(errors, chained_bound(*arguments, np.random.default_rng(1)), atol=1e-12)
    assert errors.min() > 0


@pytest.mark.parametrize("delta", [0.05, 0.5])
@pytest.mark.parametrize(("k", "j", "batch"), [(1, 2, 1), (2, 2, 8), (5, 3, 64), (1, 1, 32)])
def test_the_bound_holds_as_often_as_it_says(k: int, j: int, batch: int, delta: float) -> None:
    logps, rewards = data(3, k, j)
    draws = 400
    # The worst rewards for a fixed range are 0 and 1, the worst log-probabilities are equal.
    for values, gains in ((logps, rewards), (np.full_like(logps, -9.0), np.round(rewards))):
        sums = chained_bound(values, gains, smallest_z(values), batch, draws, np.random.default_rng(4))
        assert (sums <= hypervolume_bound(k, j, batch, delta)).mean() >= 1 - delta


def test_where_the_printed_form_fails() -> None:
    logps, rewards = np.array([[-2.0, -2.0]]), np.array([[0.0], [1.0]])
    errors = batch_errors(logps, rewards, 2.0, 1, 50, np.random.default_rng(0))
    np.testing.assert_allclose(errors, 0.5)
    assert hypervolume_bound(1, 1, 1, 0.65) < 0.5


def test_errors_shrink_with_the_root_of_the_batch() -> None:
    logps, rewards = data(5, 3, 2, n=200)
    z = smallest_z(logps)
    means = [batch_errors(logps, rewards, z, b, 400, np.random.default_rng(b)).mean() for b in (16, 64, 256)]
    assert means[0] / means[1] == pytest.approx(2, rel=0.2)
    assert means[1] / means[2] == pytest.approx(2, rel=0.2)


def test_estimates_are_unbiased_and_equal_states_give_equal_batches() -> None:
    logps, rewards = data(6, 3, 2)
    z = 1.1 * smallest_z(logps)
    values, estimates = batch_estimates(logps, rewards, z, 4, 4000, np.random.default_rng(0))
    by_hand = [[1 + (logps[k] * rewards[:, j]).mean() / z for j in range(2)] for k in range(3)]
    np.testing.assert_allclose(values, by_hand)
    assert (abs(estimates.mean(axis=0) - values) < 5 * estimates.std(axis=0) / np.sqrt(4000)).all()
    _, some = batch_estimates(logps, rewards, z, 4, 4000, np.random.default_rng(0), policies=[2, 0])
    np.testing.assert_array_equal(some, estimates[:, [2, 0]])


def test_smallest_z_is_the_largest_surprise() -> None:
    assert smallest_z([[-1.0, -4.0], [-2.5, 0.0]]) == 4.0


GOOD = {"logps": [[-1.0, -2.0]], "rewards": [[0.0], [1.0]], "z": 2.0, "batch": 1, "draws": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": [[0.0], [1.5]]}, r"rewards: \[1.5\] in row 1, allowed are numbers from 0 to 1"),
        ({"rewards": [[-0.1], [1.0]]}, "row 0"),
        ({"rewards": [[0.0]]}, "rewards: 1 rows, allowed are 2"),
        ({"rewards": [0.0, 1.0]}, "rewards: shape"),
        ({"logps": [-1.0, -2.0]}, "logps: shape"),
        ({"logps": np.empty((0, 2))}, "at least one policy"),
        ({"logps": [[-1.0, 0.5]]}, "0.5 is above 0"),
        ({"logps": [[-1.0, -np.inf]]}, "logps: NaN or infinite"),
        ({"z": 1.9}, "z is 1.9: the theorem needs at least the largest .*, 2.0"),
        ({"z": np.nan}, "the theorem needs"),
        ({"z": np.inf}, "allowed are finite numbers"),
        ({"batch": 0}, "batch is 0"),
        ({"draws": 0}, "draws is 0"),
        ({"policies": [1]}, r"policies \[1\]: allowed are one or more of 0 to 0"),
        ({"policies": []}, "one or more"),
    ],
)
def test_bad_input_is_named(change: dict[str, object], message: str) -> None:
    for function in (batch_errors, chained_bound):
        with pytest.raises(UserError, match=message):
            function(**{**GOOD, **change}, rng=np.random.default_rng(0))


def test_bounds_and_values_are_checked() -> None:
    for delta in (0.0, 1.0, np.nan):
        with pytest.raises(UserError, match="delta"):
            hypervolume_bound(2, 2, 8, delta)
    with pytest.raises(UserError, match="batch is 0"):
        hypervolume_bound(2, 2, 0, 0.1)
    with pytest.raises(UserError, match="0 policies, 2 objectives"):
        hypervolume_bound(0, 2, 8, 0.1)
    with pytest.raises(UserError, match="z is 0"):
        normalised([-1.0], 0.0)
    with pytest.raises(UserError, match="positive value or NaN"):
        normalised([0.5], 1.0)
