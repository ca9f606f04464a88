"""HaM's update, heads that are dominated, its warm-up; SCA on one backbone; RiC's loss."""

import moocore
import numpy as np
import pytest
import torch

from lightning_moa.aggregation import Linear
from lightning_moa.aggregation.volume import Hypervolume, inclusion_exclusion
from lightning_moa.errors import UserError
from lightning_moa.methods.dps import DPS
from lightning_moa.methods.ham import HaM
from lightning_moa.methods.ric import RiC
from lightning_moa.methods.sca import HeadwiseSCA
from lightning_moa.objectives import Likelihood, RewardWeightedLikelihood
from lightning_moa.pareto import even_preferences
from lightning_moa.policies import SVDLoRA
from tests.methods.fitting import sgd, train
from tests.methods.heads import Z, heads_of, matrix, scored
from tests.policies.models import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")

THREE = [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]


def ham(policy, m=2, optimiser=None, **options):
    return HaM(policy, RewardWeightedLikelihood(Z), Hypervolume(**options), optimiser or sgd(), m=m, seed=0)


def head_values(policy):
    return [torch.cat([p.detach().flatten() for p in head.parameters()]) for head in policy.bank.heads]


def backbone(policy):
    own = {id(p) for p in policy.bank.parameters()}
    return [p for p in policy.trainable_parameters() if id(p) not in own]


@pytest.mark.parametrize(("heads", "m"), [(1, 2), (3, 2), (4, 3)])
def test_the_loss_is_minus_the_volume_of_the_heads_values(heads, m):
    policy, batch = heads_of(heads), scored(m=m)
    module = ham(policy, m)
    losses, total = module._aggregated(batch, module.preference(0))
    assert losses.shape == (heads, m)
    values = matrix(policy, batch)
    torch.testing.assert_close(total, -inclusion_exclusion(values), rtol=1e-5, atol=1e-7)
    expected = moocore.hypervolume(values.detach().double().numpy(), ref=np.zeros(m), maximise=True)
    assert -total.item() == pytest.approx(expected, rel=1e-5)


def test_an_update_goes_up_the_paper_formulas_gradient():
    policy, batch = heads_of(3), scored()
    parameters = policy.trainable_parameters()
    before = [p.detach().clone() for p in parameters]
    gradients = torch.autograd.grad(inclusion_exclusion(matrix(policy, batch)), parameters)
    assert any(g.any() for g in gradients)
    train(ham(policy, optimiser=sgd(lr=0.5)), [batch])
    for p, old, g in zip(parameters, before, gradients, strict=True):
        torch.testing.assert_close(p.detach(), old + 0.5 * g, rtol=1e-4, atol=1e-6)


def test_a_dominated_head_stays_as_it_is():
    policy, batch = heads_of(4), scored()
    values = matrix(policy, batch)
    beaten = [
        any((values[i] >= values[k]).all() and (values[i] > values[k]).any() for i in range(4))
        for k in range(4)
    ]
    assert 0 < sum(beaten) < 4, "some heads of each kind"
    before = head_values(policy)
    train(ham(policy), [batch])
    for k, (old, new) in enumerate(zip(before, head_values(policy), strict=True)):
        assert torch.equal(old, new) == beaten[k]


def test_a_fit_enlarges_the_volume():
    policy, batch = heads_of(3), scored()
    before = inclusion_exclusion(matrix(policy, batch)).item()
    train(ham(policy, optimiser=sgd(lr=1.0)), [batch] * 10)
    assert inclusion_exclusion(matrix(policy, batch)).item() > before + 1e-3


def test_the_warm_up_draws_each_head_its_own_way_and_then_ends():
    policy, batch = heads_of(3), scored()
    weights = torch.from_numpy(even_preferences(3, 2)).float()
    parameters = policy.trainable_parameters()
    before = [p.detach().clone() for p in parameters]
    wanted = (weights * matrix(policy, batch)).sum(-1).mean()
    gradients = torch.autograd.grad(wanted, parameters)
    module = train(ham(policy, optimiser=sgd(lr=0.5), warm_up=1), [batch])
    for p, old, g in zip(parameters, before, gradients, strict=True):
        torch.testing.assert_close(p.detach(), old + 0.5 * g, rtol=1e-4, atol=1e-6)
    _, total = module._aggregated(batch, module.preference(1))
    torch.testing.assert_close(total, -inclusion_exclusion(matrix(policy, batch)), rtol=1e-5, atol=1e-7)


def test_sca_gives_each_head_the_gradient_of_a_model_of_its_own():
    """The mean over K heads: 1 / K of it."""
    policy, batch = heads_of(3), scored()
    objective = RewardWeightedLikelihood(Z)
    module = HeadwiseSCA(policy, objective, Linear(), sgd(), m=2, seed=0, head_preferences=THREE)
    together = module._aggregated(batch, module.preference(4))[1]
    shared = backbone(policy)
    sums = [torch.zeros_like(p) for p in shared]
    for k, preference in enumerate(THREE):
        single = DPS(policy.head(k), objective, Linear(), sgd(), m=2, seed=0, at=preference)
        alone = single._aggregated(batch, single.preference(0))[1]
        own = list(policy.bank.heads[k].parameters())
        expected = torch.autograd.grad(alone, [*own, *shared])
        got = torch.autograd.grad(together, own, retain_graph=True)
        for a, b in zip(got, expected[: len(own)], strict=True):
            assert b.any()
            torch.testing.assert_close(3 * a, b, rtol=1e-3, atol=1e-6)
        sums = [total + part for total, part in zip(sums, expected[len(own) :], strict=True)]
    for a, b in zip(torch.autograd.grad(together, shared), sums, strict=True):
        torch.testing.assert_close(3 * a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rows", [THREE[:2], [[0.5, 0.5]], [*THREE, [0.1, 0.9]]])
def test_sca_needs_a_preference_for_each_head(rows):
    with pytest.raises(UserError, match="one for each head of the policy is needed"):
        HeadwiseSCA(
            heads_of(3), RewardWeightedLikelihood(Z), Linear(), sgd(), m=2, seed=0, head_preferences=rows
        )


def test_sca_refuses_policies_without_heads_and_preferences_off_the_simplex():
    build = lambda policy, rows: HeadwiseSCA(  # noqa: E731
        policy, RewardWeightedLikelihood(Z), Linear(), sgd(), m=2, seed=0, head_preferences=rows
    )
    with pytest.raises(UserError, match="one for each head"):
        build(SVDLoRA(tiny(), k=2, m=0, seed=0), THREE)
    with pytest.raises(UserError, match="preference"):
        build(heads_of(2), [[0.5, 0.6], [1.0, 0.0]])


def test_ric_is_supervised_fine_tuning():
    policy, batch = heads_of(1), scored()
    module = RiC(policy, Likelihood(), Linear(), sgd(), m=2, seed=0)
    losses, total = module._aggregated(batch, module.preference(3))
    assert losses.shape == (1,)
    torch.testing.assert_close(total, Likelihood().losses(policy, batch)[0])
    batch.rewards = None
    torch.testing.assert_close(module._aggregated(batch, module.preference(3))[1], total)


def test_likelihoods_that_lie_below_the_reference_are_refused():
    """Without z every value is a likelihood, below 0: a hypervolume of nothing, and no gradient."""
    method = HaM(heads_of(2), RewardWeightedLikelihood(), Hypervolume(), sgd(), m=2, seed=0)
    with pytest.raises(
        UserError, match=r"^HaM: RewardWeightedLikelihood without z has no value above .*z_factor"
    ):
        train(method, [scored()])
