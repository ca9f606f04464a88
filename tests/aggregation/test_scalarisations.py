"""Smooth and augmented Tchebycheff and penalty boundary intersection: their limits, and the points of a front without
which linear scalarisation stays."""

import math

import pytest
import torch

from lightning_moa.aggregation import (
    AugmentedTchebycheff,
    BoundaryIntersection,
    Linear,
    SmoothTchebycheff,
    Tchebycheff,
)
from lightning_moa.errors import UserError
from tests.policies.models import preferences

SCALARISATIONS = [
    SmoothTchebycheff(0.3, [0.5, 0.1, 0.2]),
    AugmentedTchebycheff(0.1, [0.5, 0.1, 0.2]),
    BoundaryIntersection(3.0, [0.5, 0.1, 0.2]),
]
LOSSES = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHTS = preferences(5, 3).double()


@pytest.mark.parametrize("aggregator", SCALARISATIONS)
def test_groups_are_aggregated_each_by_its_preference_and_averaged(aggregator):
    one_by_one = [aggregator(row, weight) for row, weight in zip(LOSSES, WEIGHTS, strict=True)]
    torch.testing.assert_close(aggregator(LOSSES, WEIGHTS), torch.stack(one_by_one).mean())


@pytest.mark.parametrize("aggregator", SCALARISATIONS)
def test_an_ideal_point_of_another_length_is_refused(aggregator):
    with pytest.raises(UserError, match="3 values for 2 objectives"):
        aggregator(LOSSES[0, :2], WEIGHTS[0, :2])


@pytest.mark.parametrize("mu", [2.0, 0.1, 1e-3])
def test_the_smooth_one_is_at_most_mu_log_m_above_tchebycheff(mu):
    gap = SmoothTchebycheff(mu)(LOSSES, WEIGHTS) - Tchebycheff()(LOSSES, WEIGHTS)
    assert -1e-12 <= gap <= mu * math.log(3)


def test_the_smooth_ones_gradient_is_the_preference_times_a_softmax():
    losses = LOSSES[0].clone().requires_grad_()
    SmoothTchebycheff(0.2)(losses, WEIGHTS[0]).backward()
    shares = (WEIGHTS[0] * LOSSES[0] / 0.2).exp()
    torch.testing.assert_close(losses.grad, WEIGHTS[0] * shares / shares.sum())


def test_a_large_mu_is_linear_scalarisation_in_all_but_a_constant():
    """mu log sum_i exp(t_i / mu) = mu log m + mean_i t_i + O(1 / mu)."""
    smooth = SmoothTchebycheff(1e5)(LOSSES[0], WEIGHTS[0]) - 1e5 * math.log(3)
    torch.testing.assert_close(smooth, Linear()(LOSSES[0], WEIGHTS[0]) / 3, atol=1e-5, rtol=0)


def test_the_augmented_one_is_by_hand():
    losses, weights = torch.tensor([0.5, 2.0, 1.0]), torch.tensor([0.5, 0.2, 0.3])
    assert AugmentedTchebycheff(0.1)(losses, weights).item() == pytest.approx(0.4 + 0.1 * 3.5)
    assert AugmentedTchebycheff(0.0)(losses, weights) == Tchebycheff()(losses, weights)


def test_of_two_points_that_tchebycheff_holds_equal_the_augmented_one_takes_the_better():
    weak, strong, even = torch.tensor([1.0, 0.9]), torch.tensor([1.0, 0.2]), torch.full((2,), 0.5)
    assert Tchebycheff()(weak, even) == Tchebycheff()(strong, even)
    assert AugmentedTchebycheff()(strong, even) < AugmentedTchebycheff()(weak, even)


def test_the_boundary_intersection_is_by_hand():
    """Weights (.25, .75): the ray is (3, 1) / sqrt 10. v = (3, 1) lies on it; (4, -2) is (1, -3) off it."""
    weights, length = torch.tensor([0.25, 0.75]), math.sqrt(10)
    assert BoundaryIntersection(5)(torch.tensor([3.0, 1.0]), weights).item() == pytest.approx(length)
    off = BoundaryIntersection(5)(torch.tensor([4.0, -2.0]), weights)
    assert off.item() == pytest.approx(length + 5 * length)


def at_the_minimum(aggregator, preference, steps=4000):
    """The point of a concave front, L = (cos t, sin t), that gradient descent on t comes to from its middle."""
    angle = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    for step in range(steps):
        (slope,) = torch.autograd.grad(aggregator(torch.stack([angle.cos(), angle.sin()]), preference), angle)
        with torch.no_grad():
            angle -= 0.2 / (1 + step / 20) * slope
            angle.clamp_(0, math.pi / 2)
    return torch.stack([angle.cos(), angle.sin()]).detach()


@pytest.mark.parametrize("first", [0.3, 0.5, 0.8])
@pytest.mark.parametrize(
    "aggregator", [SmoothTchebycheff(1e-3), AugmentedTchebycheff(1e-3), BoundaryIntersection(5.0)]
)
def test_a_concave_front_is_met_where_the_weighted_losses_are_equal(aggregator, first):
    """At 1 / lambda, brought to the unit circle; linear scalarisation knows but the ends of such a front."""
    preference = torch.tensor([first, 1 - first], dtype=torch.float64)
    exact = torch.nn.functional.normalize(1 / preference, dim=0)
    torch.testing.assert_close(at_the_minimum(aggregator, preference), exact, atol=6e-3, rtol=0)
    assert at_the_minimum(Linear(), preference).min() < 1e-6


def test_at_a_corner_the_boundary_intersection_holds_down_the_losses_that_count():
    losses = torch.tensor([0.3, 0.9], requires_grad=True)
    BoundaryIntersection()(losses, torch.tensor([1.0, 0.0])).backward()
    assert losses.grad.tolist() == pytest.approx([5.0, 1.0], abs=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmoothTchebycheff(0.0), "mu=0.0"),
        (lambda: SmoothTchebycheff(float("nan")), "mu=nan"),
        (lambda: AugmentedTchebycheff(-1), "rho=-1"),
        (lambda: BoundaryIntersection(-1), "theta=-1"),
    ],
)
def test_constants_out_of_range_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
