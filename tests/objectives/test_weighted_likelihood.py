"""Shifted and scaled likelihood (HaM, eq. 4), its directions, and the matrix of several heads, by hand."""

import pytest
import torch

from lightning_moa.aggregation import Linear
from lightning_moa.errors import UserError
from lightning_moa.objectives import RewardWeightedLikelihood
from lightning_moa.policies import Policy, SVDLoRA, response_logps
from tests.methods.heads import heads_of, scored
from tests.policies.models import preferences, shake, tiny

DIRECTIONS = [[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]]


def logps_of(policy, batch):
    return response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)


def by_hand(logps, weights, z):
    """(m,) of max((mean_b w_bj log p_b + z) / z, 0), number by number."""
    out = []
    for j in range(len(weights[0])):
        mean = sum(row[j] * logp for row, logp in zip(weights, logps, strict=True)) / len(logps)
        out.append(max((mean + z) / z, 0.0))
    return torch.tensor(out)


@pytest.mark.parametrize("power", [0.5, 1.0, 4.0])
def test_equation_4_by_hand(power):
    batch, policy = scored(), Policy(tiny())
    weights = [[reward**power for reward in row] for row in batch.rewards.tolist()]
    expected = by_hand(logps_of(policy, batch).tolist(), weights, 40.0)
    losses = RewardWeightedLikelihood(40.0, power).losses(policy, batch)
    torch.testing.assert_close(losses, -expected, rtol=1e-5, atol=1e-6)
    assert (-losses > 0).all()
    assert (-losses < 1).all()


def test_directions_scalarise_first():
    batch, policy = scored(), Policy(tiny())
    weights = [
        [sum(w * r for w, r in zip(row, rewards, strict=True)) ** 3 for row in DIRECTIONS]
        for rewards in batch.rewards.tolist()
    ]
    losses = RewardWeightedLikelihood(40.0, 3.0, DIRECTIONS).losses(policy, batch)
    assert losses.shape == (3,)
    torch.testing.assert_close(losses, -by_hand(logps_of(policy, batch).tolist(), weights, 40.0))
    apart = RewardWeightedLikelihood(40.0, 3.0).losses(policy, batch)
    torch.testing.assert_close(losses[0], apart[0])
    assert not torch.isclose(losses[2], apart.mean(), rtol=1e-3), "a power tells the two weightings apart"


def test_without_a_power_directions_are_mixtures_of_the_objectives():
    batch, policy = scored(), heads_of(3)
    apart = RewardWeightedLikelihood(60.0).losses(policy, batch)
    first = RewardWeightedLikelihood(60.0, directions=DIRECTIONS).losses(policy, batch)
    torch.testing.assert_close(first, apart @ torch.tensor(DIRECTIONS).T)


@pytest.mark.parametrize("head_rank", [None, 2])
@pytest.mark.parametrize("directions", [None, DIRECTIONS])
def test_a_row_for_each_head(head_rank, directions):
    """The one pass of all heads against each head by itself, a policy like any other."""
    policy, batch = heads_of(3, head_rank=head_rank), scored()
    objective = RewardWeightedLikelihood(60.0, 2.0, directions)
    losses = objective.losses(policy, batch)
    assert losses.shape == (3, 3 if directions else 2)
    for k in range(3):
        torch.testing.assert_close(losses[k], objective.losses(policy.head(k), batch), rtol=1e-4, atol=1e-5)
    assert len({round(value, 5) for value in losses[:, 0].tolist()}) == 3


def test_the_gradients_of_a_heads_row_are_those_of_the_head_alone():
    policy, batch = heads_of(3), scored()
    objective = RewardWeightedLikelihood(60.0)
    for k in range(3):
        own = policy.head(k).trainable_parameters()
        together = torch.autograd.grad(objective.losses(policy, batch)[k, 1], own)
        alone = torch.autograd.grad(objective.losses(policy.head(k), batch)[1], own)
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_gradient_of_the_value_is_that_of_the_logps_over_z():
    policy, batch = heads_of(1), scored()
    parameters = policy.trainable_parameters()
    got = torch.autograd.grad(RewardWeightedLikelihood(60.0, 2.0).losses(policy, batch)[0, 0], parameters)
    value = (batch.rewards[:, 0] ** 2 * logps_of(policy, batch)).mean() / 60.0
    for a, b in zip(got, torch.autograd.grad(-value, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_what_z_cuts_off_is_0_has_no_gradient_and_is_counted():
    policy, batch = heads_of(2), scored()
    batch.rewards[:, 1] *= 0.01
    plain = RewardWeightedLikelihood().losses(policy, batch).detach()
    z = float(plain[:, 0].sort().values.mean())
    assert (plain[:, 0] < z).sum() == 1, "between the two heads' first objectives"
    objective = RewardWeightedLikelihood(z)
    losses = objective.losses(policy, batch)
    worse = int(plain[:, 0].argmax())
    assert losses[worse, 0] == 0
    assert (losses.flatten() == 0).sum() == 1
    assert objective.logs()["clipped"] == 0.25
    own = list(policy.bank.heads[worse].parameters())
    gradients = torch.autograd.grad(losses[worse, 0], own, retain_graph=True, allow_unused=True)
    assert all(g is None or not g.any() for g in gradients)
    assert any(g.any() for g in torch.autograd.grad(losses[1 - worse, 0], policy.trainable_parameters()))


def test_nothing_is_cut_off_without_z():
    objective = RewardWeightedLikelihood()
    objective.losses(heads_of(2), scored())
    assert objective.logs() == {}


def test_one_head_with_linear_weights_is_equation_5():
    policy, batch, weights = heads_of(1), scored(), torch.tensor([0.3, 0.7])
    losses = RewardWeightedLikelihood(60.0).losses(policy, batch)
    assert losses.shape == (1, 2)
    values = by_hand(logps_of(policy, batch).tolist(), batch.rewards.tolist(), 60.0)
    torch.testing.assert_close(Linear()(losses, weights), -(weights * values).sum(), rtol=1e-5, atol=1e-6)


def test_each_preference_has_its_share_of_the_batch():
    policy, batch = shake(SVDLoRA(tiny(), k=2, m=2, seed=0)), scored()
    objective, given = RewardWeightedLikelihood(80.0, 2.0), preferences(2, 2)
    losses = objective.losses(policy, batch, given)
    for group, preference in enumerate(given):
        part = slice(4 * group, 4 * group + 4)
        share = type(batch)(*(getattr(batch, name)[part] for name in vars(batch)))
        torch.testing.assert_close(losses[group], objective.losses(policy, share, preference))


@pytest.mark.parametrize("z", [0.0, -1.0, float("nan")])
def test_z_and_power_must_be_above_0(z):
    with pytest.raises(UserError, match=f"^z={z}: must be above 0"):
        RewardWeightedLikelihood(z)
    with pytest.raises(UserError, match=f"^power={z}: must be above 0"):
        RewardWeightedLikelihood(1.0, z)


@pytest.mark.parametrize("rows", [[[0.5, 0.6]], [[1.5, -0.5]], [[float("nan"), 1.0]]])
def test_directions_off_the_simplex_are_refused(rows):
    with pytest.raises(UserError, match="preference"):
        RewardWeightedLikelihood(1.0, 1.0, rows)
