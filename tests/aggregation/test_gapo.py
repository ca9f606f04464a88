"""MGDA, GAPO and P-GAPO: the properties that define their directions, an independent solver, and what scaling does."""

import numpy as np
import pytest
import quadprog
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_moa.aggregation import GAPO, MGDA, PGAPO
from lightning_moa.errors import UserError
from lightning_moa.policies import LoRA, Probe
from tests.objectives.rollouts import ppo, prompts
from tests.policies.models import preferences, shake, tiny

ROUNDING = 1e-12
"""Relative to the lengths that a sum is mixed of."""

quick = settings(max_examples=60, deadline=None, derandomize=True)

POWERS = st.sampled_from([0.0, 0.5, 1.0, 2.0])


@st.composite
def rows(draw, smallest=2, largest=8, decades=12):
    """(m, n) random gradients with m <= n, of lengths spread over so many decades."""
    m = draw(st.integers(smallest, largest))
    n = draw(st.integers(m, 20))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = 10.0 ** random.uniform(-decades / 2, decades / 2, m)
    # A common part makes some agree; without it independent directions are nearly orthogonal.
    made = random.normal(size=(m, n)) + draw(st.sampled_from([0.0, 0.5])) * random.normal(size=n)
    return made * lengths[:, None]


def solve(aggregator, gradients, preference=None):
    """The weights of gradients (m, n), and the direction d."""
    m = len(gradients)
    even = np.full(m, 1 / m) if preference is None else np.asarray(preference)
    weights = aggregator.solve(gradients @ gradients.T, even)
    return weights, weights @ gradients


def norms(gradients):
    return np.linalg.norm(gradients, axis=1)


def rescaled(gradients, p):
    return gradients / (norms(gradients) ** p)[:, None]


def mixed_of(weights, gradients):
    """sum_j w_j ||g_j||, what the rounding of d is relative to."""
    return weights @ norms(gradients)


# What defines the direction


@quick
@given(rows(), POWERS)
def test_weights_are_not_negative_and_mix_the_rescaled_gradients(gradients, p):
    weights, _ = solve(GAPO(p), gradients)
    assert weights.shape == (len(gradients),)
    assert (weights >= 0).all()
    assert (weights * norms(gradients) ** p).sum() == pytest.approx(1)


@quick
@given(rows(), POWERS)
def test_the_direction_is_no_longer_than_any_rescaled_gradient(gradients, p):
    _, direction = solve(GAPO(p), gradients)
    assert np.linalg.norm(direction) <= norms(rescaled(gradients, p)).min() * (1 + 1e-9)


@quick
@given(rows(), POWERS)
def test_no_objective_gets_worse(gradients, p):
    weights, direction = solve(GAPO(p), gradients)
    assert (gradients @ direction >= -ROUNDING * norms(gradients) * mixed_of(weights, gradients)).all()


@quick
@given(rows(), POWERS)
def test_progress_grows_with_the_power_of_the_gradients_norm(gradients, p):
    """<g_i, d> = ||d||^2 ||g_i||^p where objective i has weight, and at least that where it has none."""
    weights, direction = solve(GAPO(p), gradients)
    surplus = gradients @ direction - direction @ direction * norms(gradients) ** p
    rounding = ROUNDING * norms(gradients) * mixed_of(weights, gradients)
    assert (surplus >= -rounding).all()
    assert (surplus[weights > 0] <= rounding[weights > 0]).all()


@quick
@given(st.integers(0, 2**32 - 1), st.integers(3, 8), POWERS)
def test_gradients_that_outnumber_the_dimensions(seed, m, p):
    """Their hull often holds 0, and there is then no direction that improves all."""
    random = np.random.default_rng(seed)
    gradients = random.normal(size=(m, 2)) * 10.0 ** random.uniform(-2, 2, m)[:, None]
    weights, direction = solve(GAPO(p), gradients)
    least = (gradients @ direction) / (norms(gradients) * mixed_of(weights, gradients))
    assert (least >= -1e-11).all()
    angles = np.sort(np.arctan2(gradients[:, 1], gradients[:, 0]))
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    if gaps.max() < np.pi - 1e-3:
        # All of a common power of their norms, so that the hull of the rescaled ones holds 0 as well.
        assert np.linalg.norm(direction) < 1e-7 * mixed_of(weights, gradients)


@quick
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), POWERS)
def test_another_solver_finds_the_same_direction(seed, m, p):
    """quadprog (Goldfarb and Idnani, 1983): min a'Ha over the simplex, H the rescaled gradients' inner products."""
    random = np.random.default_rng(seed)
    gradients = random.normal(size=(m, m + 4)) * 10.0 ** random.uniform(-1, 1, m)[:, None]
    scaled = rescaled(gradients, p)
    bounds = np.hstack([np.ones((m, 1)), np.eye(m)])
    alpha = quadprog.solve_qp(scaled @ scaled.T, np.zeros(m), bounds, np.eye(m + 1)[0], meq=1)[0]
    _, direction = solve(GAPO(p), gradients)
    np.testing.assert_allclose(direction, alpha @ scaled, rtol=1e-6, atol=1e-7 * np.linalg.norm(direction))


@quick
@given(rows(), POWERS)
def test_orthogonal_gradients_weigh_by_hand(gradients, p):
    """The min-norm point of orthogonal h_i has weights 1 / ||h_i||^2, so the g_i have ||g_i||^(p - 2)."""
    lengths = norms(gradients)[:4] ** 0.25  # within three decades: their powers are summed
    weights, _ = solve(GAPO(p), np.diag(lengths))
    wanted = lengths ** (p - 2) / (lengths ** (2 * p - 2)).sum()
    np.testing.assert_allclose(weights, wanted, rtol=1e-9)


# Identities between the methods


@quick
@given(rows())
def test_the_power_0_is_mgda(gradients):
    for found, wanted in zip(solve(GAPO(0.0), gradients), solve(MGDA(), gradients), strict=True):
        np.testing.assert_array_equal(found, wanted)


@quick
@given(rows(), st.floats(0.0, 3.0))
def test_gradients_of_equal_length_have_mgdas_direction_whatever_the_power(gradients, p):
    equal = 0.3 * rescaled(gradients, 1.0)
    _, direction = solve(GAPO(p), equal)
    np.testing.assert_allclose(
        direction * 0.3**p, solve(MGDA(), equal)[1], rtol=1e-7, atol=1e-8 * np.linalg.norm(direction)
    )


@quick
@given(rows(largest=2))
def test_two_unit_gradients_are_always_averaged_which_is_pgapo_at_the_centre(gradients):
    weights, direction = solve(GAPO(1.0), gradients)
    first, second = rescaled(gradients, 1.0)
    # The closer two directions are, the less their weights matter, and the more rounding moves them.
    rounding = 1e-14 / (1 - first @ second)
    np.testing.assert_allclose(weights * norms(gradients), [0.5, 0.5], rtol=rounding)
    np.testing.assert_allclose(solve(PGAPO(), gradients, [0.5, 0.5])[0], weights, rtol=rounding)
    np.testing.assert_allclose(direction, rescaled(gradients, 1.0).mean(0), rtol=1e-9, atol=1e-15)


@quick
@given(rows(), st.integers(0, 2**32 - 1))
def test_pgapo_weighs_unit_gradients_by_the_preference(gradients, seed):
    preference = np.random.default_rng(seed).dirichlet(np.ones(len(gradients)))
    weights, direction = solve(PGAPO(), gradients, preference)
    np.testing.assert_allclose(weights, preference / norms(gradients), rtol=1e-12)
    np.testing.assert_allclose(direction, preference @ rescaled(gradients, 1.0), rtol=1e-9, atol=1e-15)


def test_pgapo_takes_no_notice_of_an_objective_with_weight_0():
    weights, _ = solve(PGAPO(), np.array([[3.0, 4.0], [1.0, 1.0]]), [1.0, 0.0])
    assert weights.tolist() == pytest.approx([0.2, 0.0])


# What changes nothing


@quick
@given(rows(decades=6), st.integers(0, 2**32 - 1))
def test_scaling_the_objectives_leaves_the_directions_of_p_1_and_pgapo_alone(gradients, seed):
    random = np.random.default_rng(seed)
    scaled = gradients * 10.0 ** random.uniform(-3, 3, len(gradients))[:, None]
    preference = random.dirichlet(np.ones(len(gradients)))
    for aggregator in (GAPO(1.0), PGAPO()):
        one, other = (solve(aggregator, each, preference)[1] for each in (gradients, scaled))
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)


@quick
@given(rows(), POWERS, st.randoms())
def test_the_order_of_objectives_does_not_matter(gradients, p, random):
    order = random.sample(range(len(gradients)), len(gradients))
    preference = preferences(1, len(gradients))[0].double().numpy()
    for aggregator in (GAPO(p), MGDA(), PGAPO()):
        one, direction = solve(aggregator, gradients, preference)
        other, same = solve(aggregator, gradients[order], preference[order])
        rounding = 1e-9 * mixed_of(one, gradients)
        np.testing.assert_allclose(same, direction, rtol=0, atol=rounding)
        np.testing.assert_allclose(other, one[order], rtol=1e-6, atol=1e-9 * one.max())


# Where there is no common direction


@quick
@given(rows(largest=2), POWERS)
def test_opposite_gradients_cancel(gradients, p):
    opposite = np.stack([gradients[0], -np.linalg.norm(gradients[1]) * gradients[0]])
    weights, direction = solve(GAPO(p), opposite)
    assert np.linalg.norm(direction) <= 1e-7 * mixed_of(weights, opposite)
    assert weights.min() > 0


@quick
@given(rows(), POWERS)
def test_an_objective_without_a_gradient_allows_no_update(gradients, p):
    gradients[0] = 0
    weights, direction = solve(GAPO(p), gradients)
    assert np.isfinite(weights).all()
    assert (direction == 0).all()


def test_pgapo_leaves_out_an_objective_without_a_gradient():
    weights, direction = solve(PGAPO(), np.array([[0.0, 0.0], [0.0, 2.0]]), [0.6, 0.4])
    assert weights.tolist() == pytest.approx([0.0, 0.2])
    assert direction.tolist() == pytest.approx([0.0, 0.4])


def test_one_objective_is_a_gradient_brought_to_length():
    gradient = np.array([[3.0, 4.0]])
    for p, wanted in ((0.0, 1.0), (1.0, 0.2), (2.0, 0.04)):
        assert solve(GAPO(p), gradient)[0].tolist() == pytest.approx([wanted])
    assert solve(PGAPO(), gradient, [1.0])[0].tolist() == pytest.approx([0.2])


# As an aggregator of losses


def linear_losses(gradients, seed=0):
    """Losses (m,) of a float64 leaf x, whose gradients are the rows given."""
    x = torch.randn(gradients.shape[-1], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    x.requires_grad_()
    return torch.from_numpy(gradients) @ x, x


@pytest.mark.parametrize("aggregator", [MGDA(), GAPO(0.0), GAPO(1.0), GAPO(2.0), PGAPO()])
@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_the_scalars_gradient_is_the_direction(aggregator, m):
    gradients = np.random.default_rng(m).normal(size=(m, 7)) * np.arange(1, m + 1)[:, None]
    preference = preferences(1, m)[0].double()
    losses, x = linear_losses(gradients)
    total = aggregator(losses, preference, [x])
    weights, direction = solve(aggregator, gradients, preference.numpy())
    assert total.item() == pytest.approx(float(weights @ losses.detach().numpy()))
    total.backward()
    np.testing.assert_allclose(x.grad.numpy(), direction, rtol=1e-9)
    logs = aggregator.logs()
    assert [logs[f"weight_{i}"] for i in range(m)] == pytest.approx(weights.tolist())
    assert [logs[f"gradient_norm_{i}"] for i in range(m)] == pytest.approx(norms(gradients).tolist())


@pytest.mark.parametrize("aggregator", [MGDA(), GAPO(1.0), PGAPO()])
def test_groups_are_weighed_by_the_gradients_of_their_mean(aggregator):
    gradients = np.random.default_rng(0).normal(size=(4, 3, 7))
    weights = preferences(4, 3).double()
    losses, x = linear_losses(gradients)
    total = aggregator(losses, weights, [x])
    total.backward()
    mean = gradients.mean(0)
    if isinstance(aggregator, PGAPO):
        wanted = np.einsum("gm,gmn->n", weights.numpy() / norms(mean), gradients) / 4
    else:
        wanted = solve(aggregator, mean)[1]
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-9)


@pytest.mark.parametrize("probe", ["last_layer", "all", "activations"])
@pytest.mark.parametrize("m", [2, 3])
def test_scaling_a_reward_leaves_the_update_of_p_1_alone(probe, m):
    """End to end: without a KL term the scaled reward's surrogate is scaled, so is its gradient."""

    def update(p, scale):
        policy = shake(LoRA(tiny(), 2, seed=0), std=0.3)
        probed = Probe(policy, probe)
        objective = ppo(m, kl_coeff=0.0, scale=scale)
        rollout = objective.rollout(policy, prompts(6), None, step=0)
        losses = objective.losses(policy, rollout, None)
        GAPO(p)(losses, torch.full((m,), 1 / m), probed.tensors()).backward()
        return torch.cat([each.grad.flatten() for each in policy.trainable_parameters()])

    plain, scaled = [1.0] * m, [0.05, *[1.0] * (m - 1)]
    assert update(1.0, plain).norm() > 1e-2
    torch.testing.assert_close(update(1.0, scaled), update(1.0, plain), rtol=1e-3, atol=1e-5)
    # The scaled gradient becomes the short one, which MGDA leans on.
    assert torch.cosine_similarity(update(0.0, scaled), update(0.0, plain), dim=0) < 0.99


@pytest.mark.parametrize("aggregator", [MGDA(), GAPO(1.0), PGAPO()])
def test_scaling_a_loss_of_a_policy(aggregator):
    policy = shake(LoRA(tiny(), 2, seed=0), std=0.3)
    objective = ppo(3, kl_coeff=0.3)
    rollout = objective.rollout(policy, prompts(6), None, step=0)
    found = []
    for factor in (1.0, 0.05):
        losses = objective.losses(policy, rollout, None) * torch.tensor([factor, 1.0, 1.0])
        policy.zero_grad()
        aggregator(losses, torch.full((3,), 1 / 3), Probe(policy, "all").tensors()).backward()
        found.append(torch.cat([each.grad.flatten() for each in policy.trainable_parameters()]))
    same = torch.allclose(*found, rtol=1e-3, atol=1e-5)
    assert same == (not isinstance(aggregator, MGDA))


# What is refused


@pytest.mark.parametrize("aggregator", [MGDA(), GAPO(1.0), PGAPO()])
def test_nothing_to_take_gradients_of_is_refused(aggregator):
    losses, _ = linear_losses(np.eye(2))
    with pytest.raises(UserError, match=f"{type(aggregator).__name__} needs probed tensors"):
        aggregator(losses, torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize("aggregator", [MGDA(), GAPO(1.0), PGAPO()])
def test_losses_that_were_scalarised_before_are_refused(aggregator):
    losses, x = linear_losses(np.ones((1, 3)))
    with pytest.raises(UserError, match=r"1 loss for 2 objectives.*surrogates"):
        aggregator(losses, torch.tensor([0.5, 0.5]), [x])


@pytest.mark.parametrize("aggregator", [MGDA(), GAPO(1.0), PGAPO()])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_refused(aggregator, value):
    losses, x = linear_losses(np.array([[1.0, 0.0], [0.0, value]]))
    with pytest.raises(UserError, match=f"{type(aggregator).__name__}: a gradient is not finite"):
        aggregator(losses, torch.tensor([0.5, 0.5]), [x])


@pytest.mark.parametrize("p", [-1.0, float("nan"), float("inf")])
def test_a_power_that_cannot_be_is_refused(p):
    with pytest.raises(UserError, match="allowed are 0 and above"):
        GAPO(p)
