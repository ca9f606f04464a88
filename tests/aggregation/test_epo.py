"""EPO: the exact point of a front that linear scalarisation cannot reach, and the promises of each step."""

import numpy as np
import pytest
import torch

from lightning_moa.aggregation import EPO, Linear
from lightning_moa.errors import NotFinite, UserError
from lightning_moa.pareto import min_norm_weights

DIMENSIONS = 5


def losses(x, m):
    """1 - exp(-||x - c_i||^2), i < m: the paper's problem for two, whose front is concave, and the same for three."""
    centres = 1.4 * torch.eye(m, DIMENSIONS, dtype=torch.float64)
    return 1 - (-(x[None] - centres).square().sum(1)).exp()


def descend(aggregator, preference, m, seed, steps=400):
    x = (
        0.4
        * torch.randn(
            DIMENSIONS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
        ).requires_grad_()
    )
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(aggregator(losses(x, m), preference, [x]), x)
        with torch.no_grad():
            x -= 0.1 * gradient
    return x


def shortest_mixture(x, m):
    gradients = torch.autograd.functional.jacobian(lambda at: losses(at, m), x.detach()).numpy()
    weights = min_norm_weights(gradients @ gradients.T)
    return np.linalg.norm(weights @ gradients)


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.65, 0.35], [0.3, 0.4, 0.3], [0.4, 0.33, 0.27]])
def test_it_ends_on_the_front_where_the_weighted_losses_are_equal(weights):
    preference, m = torch.tensor(weights, dtype=torch.float64), len(weights)
    x = descend(EPO(), preference, m, seed=m)
    weighed = (preference * losses(x, m)).detach().numpy()
    assert weighed.max() / weighed.min() < 1.05
    assert shortest_mixture(x, m) < 0.02


def test_linear_scalarisation_ends_at_a_corner_of_that_front():
    x = descend(Linear(), torch.tensor([0.5, 0.5], dtype=torch.float64), 2, seed=2)
    found = losses(x, 2)
    assert found.max() / found.min() > 50


def setup(seed, m=3):
    random = np.random.default_rng(seed)
    return random.normal(size=(m, m + 2)), random.uniform(0.1, 2.0, m), random.dirichlet(np.ones(m))


@pytest.mark.parametrize("seed", range(20))
def test_a_step_off_the_ray_lowers_the_unbalance_most_of_all_that_do_not_raise_the_largest(seed):
    """Of 20,000 mixtures drawn at random, those that meet the paper's conditions; the slope of u is by autograd."""
    gradients, short, preference = setup(seed)
    losses = torch.tensor(short, requires_grad=True)
    share = torch.tensor(preference) * losses / (torch.tensor(preference) * losses).sum()
    (slope,) = torch.autograd.grad((share * (3 * share).log()).sum(), losses)
    products, towards = gradients @ gradients.T, gradients @ gradients.T @ slope.numpy()
    floor = np.where(towards > 0, -np.inf, towards * (preference @ short))
    if (towards > 0).any():
        floor[np.argmax(preference * short)] = 0.0
    else:
        floor[:] = 0.0
    weights = EPO().weights(products, short, preference)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert (products @ weights >= floor - 1e-6).all()
    others = np.random.default_rng(seed).dirichlet(np.full(3, 0.5), size=20_000)
    allowed = others[(others @ products >= floor).all(1)]
    assert len(allowed)
    assert weights @ towards >= (allowed @ towards).max() - 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_a_step_on_the_ray_raises_no_loss(seed):
    gradients, _, preference = setup(seed)
    weights = EPO().weights(gradients @ gradients.T, 1 / preference, preference)
    assert (gradients @ (weights @ gradients) >= -1e-7).all()


def test_each_preference_of_a_batch_has_its_own_losses_and_weights():
    gradients, _, _ = setup(0)
    rows, short = np.random.default_rng(1).dirichlet(np.ones(3), size=2), np.array([[1.0, 2, 3], [3, 1, 1]])
    aggregator = EPO()
    values = torch.from_numpy(short)
    total = aggregator.weighted(values, torch.from_numpy(rows), gradients @ gradients.T)
    each = [aggregator.weights(gradients @ gradients.T, *one) for one in zip(short, rows, strict=True)]
    assert total.item() == pytest.approx((np.stack(each) * short).sum(1).mean())


def test_losses_below_the_ideal_are_refused_and_a_wrong_bound_too():
    with pytest.raises(UserError, match="a loss is -1 below"):
        EPO().weighted(torch.tensor([-1.0, 1.0]), torch.ones(2) / 2, np.eye(2))
    with pytest.raises(UserError, match="balanced=0"):
        EPO(balanced=0.0)
    with pytest.raises(NotFinite):
        EPO().weighted(torch.ones(2), torch.ones(2) / 2, np.full((2, 2), np.nan))


def test_a_row_for_one_policy_is_the_policy():
    """A policy of one head gives its losses as a row."""
    x = torch.randn(
        DIMENSIONS, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    preference = torch.tensor([0.3, 0.7], dtype=torch.float64)
    plain = EPO()(losses(x, 2), preference, [x])
    torch.testing.assert_close(EPO()(losses(x, 2)[None], preference, [x]), plain)
