"""What a method draws, what an update is, and that a fit learns and leaves the base model alone."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightning_moa.aggregation import Linear, Tchebycheff
from lightning_moa.errors import BrokenContract, Diverged, NotFinite, UserError
from lightning_moa.methods.dps import DPS
from lightning_moa.methods.panacea import Panacea
from lightning_moa.methods.rewarded_soups import RewardedSoups
from lightning_moa.objectives import DPO
from lightning_moa.objectives.settings import DPOConfig
from lightning_moa.policies import LoRA
from tests.methods.fitting import adam, adapter, labelled, sgd, state, train
from tests.objectives.batches import share
from tests.objectives.rollouts import ppo, prompts
from tests.policies.models import shake, tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")

AT = [0.25, 0.75]


def panacea(seed=0, m=2, **options):
    return Panacea(shake(adapter(m)), DPO(0.3), Linear(), sgd(), m=m, seed=seed, **options)


def dps(policy, optimiser, **options):
    return DPS(policy, DPO(0.3), Linear(), optimiser, m=2, seed=0, at=AT, **options)


def test_panaceas_preference_is_a_function_of_seed_and_step():
    module, same, other = panacea(seed=3), panacea(seed=3), panacea(seed=4)
    forwards = [module.preference(step) for step in range(4)]
    backwards = [same.preference(step) for step in reversed(range(4))][::-1]
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global generators must not matter
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert torch.equal(module.preference(2), forwards[2])
    assert not any(torch.equal(other.preference(step), forwards[step]) for step in range(4))
    assert len({tuple(row.tolist()) for row in forwards}) == 4


@pytest.mark.parametrize("m", [2, 3, 5])
def test_panaceas_preferences_lie_on_the_simplex(m):
    module = panacea(m=m)
    drawn = torch.stack([module.preference(step) for step in range(200)])
    assert drawn.shape == (200, m)
    assert (drawn >= 0).all()
    torch.testing.assert_close(drawn.sum(1), torch.ones(200))
    # Uniform on the simplex: each weight has mean 1/m and variance (m-1) / (m^2 (m+1)).
    error = 4 * np.sqrt((m - 1) / (m * m * (m + 1)) / 200)
    assert (drawn.mean(0) - 1 / m).abs().max() < error


def test_panacea_draws_several_preferences_for_a_batch():
    module = panacea(preferences_per_batch=4, concentration=0.2)
    drawn = module.preference(0)
    assert drawn.shape == (4, 2)
    assert len({tuple(row.tolist()) for row in drawn}) == 4


def test_panacea_draws_as_many_single_objectives_as_it_is_told():
    corners = panacea(m=3, vertex_share=1.0, preferences_per_batch=4)
    for step in range(5):
        assert (corners.preference(step).amax(1) == 1).all()
    some = panacea(vertex_share=0.25)
    drawn = torch.stack([some.preference(step) for step in range(400)])
    assert (drawn.amax(1) == 1).float().mean() == pytest.approx(0.25, abs=0.07)
    run = SimpleNamespace(settings=DPOConfig(vertex_share=0.4), options={}, section=None)
    assert Panacea.arguments(run)["vertex_share"] == 0.4


def test_dps_needs_its_preference():
    module = DPS(adapter(0), DPO(0.3), Linear(), sgd(), m=2, seed=0)
    with pytest.raises(UserError, match="DPS: a policy needs the preference"):
        module.preference(0)
    assert dps(adapter(0), sgd()).preference(7).tolist() == AT


@pytest.mark.parametrize("at", [None, AT])
def test_rewarded_soups_trains_corners_only(at):
    module = RewardedSoups(adapter(0), DPO(0.3), Linear(), sgd(), m=2, seed=0, at=at)
    with pytest.raises(UserError, match="a corner of the simplex"):
        module.preference(0)


def test_rewarded_soups_corner_is_its_preference():
    module = RewardedSoups(adapter(0), DPO(0.3), Linear(), sgd(), m=3, seed=0, at=[0, 1, 0])
    assert module.preference(5).tolist() == [0, 1, 0]


@pytest.mark.parametrize("at", [[0.5, 0.6], [1.0], [-0.1, 1.1], [float("nan"), 1.0]])
def test_a_preference_off_the_simplex_is_refused(at):
    with pytest.raises(UserError, match="preference"):
        DPS(adapter(0), DPO(0.3), Linear(), sgd(), m=2, seed=0, at=at)


def test_an_update_is_the_gradient_of_the_aggregated_loss():
    policy, batch = shake(adapter(0)), labelled(6)
    before = state(policy)
    loss = (torch.tensor(AT) * DPO(0.3).losses(policy, batch, None)).sum()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, policy.trainable_parameters())])
    train(dps(policy, sgd(lr=0.05)), [batch])
    torch.testing.assert_close(state(policy), before - 0.05 * gradient)


def test_two_half_batches_make_the_update_of_the_whole():
    batch = labelled(8)
    halves = [share(batch, slice(0, 4)), share(batch, slice(4, 8))]
    whole, split = shake(adapter(0)), shake(adapter(0))
    train(dps(whole, sgd()), [batch, batch])
    train(dps(split, sgd(), accumulate=2), [*halves, *halves])
    assert not torch.equal(state(whole), state(shake(adapter(0))))
    torch.testing.assert_close(state(split), state(whole), rtol=1e-4, atol=1e-6)


def test_the_schedule_steps_once_an_update():
    batch = labelled(2)
    module = train(dps(adapter(0), sgd(lr=1.0), accumulate=2), [batch] * 6)
    assert module.optimizers().param_groups[0]["lr"] == pytest.approx(0.9**3)


def test_gradients_are_clipped_to_the_norm():
    policy, batch = shake(adapter(0)), labelled(6)
    before = state(policy)
    train(dps(policy, sgd(lr=1.0), grad_clip=0.01), [batch])
    assert (state(policy) - before).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_clipping_looks_at_the_sum_of_accumulated_gradients():
    batch = labelled(8)
    halves = [share(batch, slice(0, 4)), share(batch, slice(4, 8))]
    whole, split = shake(adapter(0)), shake(adapter(0))
    train(dps(whole, sgd(), grad_clip=0.01), [batch])
    train(dps(split, sgd(), grad_clip=0.01, accumulate=2), halves)
    torch.testing.assert_close(state(split), state(whole), rtol=1e-4, atol=1e-6)


def test_the_orthogonality_penalty_enters_the_update():
    policy, batch = shake(adapter(2, orthogonality=0.1)), labelled(4)
    with torch.no_grad():
        before = policy.orthogonality().item()
    plain = shake(adapter(2))
    for trained in (policy, plain):
        train(DPS(trained, DPO(0.3), Linear(), sgd(lr=1e-3), m=2, seed=0, at=AT), [batch] * 3)
    assert policy.orthogonality().item() < min(before, plain.orthogonality().item())


def test_a_policys_penalty_is_in_the_update_as_it_is():
    policy, plain, batch = shake(adapter(2, orthogonality=0.1)), shake(adapter(2)), labelled(4)
    before = state(policy)
    found = torch.autograd.grad(policy.penalty(), policy.trainable_parameters(), allow_unused=True)
    slopes = torch.cat(
        [
            (torch.zeros_like(parameter) if slope is None else slope).flatten()
            for slope, parameter in zip(found, policy.trainable_parameters(), strict=True)
        ]
    )
    for trained in (policy, plain):
        train(DPS(trained, DPO(0.3), Linear(), sgd(lr=1e-4), m=2, seed=0, at=AT), [batch])
    torch.testing.assert_close(state(policy) - state(plain), -1e-4 * slopes, rtol=1e-2, atol=1e-6)
    assert not torch.equal(state(policy), before)


@pytest.mark.parametrize("aggregator", [Linear(), Tchebycheff()])
def test_a_short_fit_lowers_the_loss_at_every_preference_and_leaves_the_base_alone(aggregator):
    policy, batch = adapter(2), labelled(8)
    base = copy.deepcopy({name: p for name, p in policy.model.named_parameters() if not p.requires_grad})
    grid = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])

    def values():
        with torch.no_grad():
            return [aggregator(DPO(0.3).losses(policy, batch, at), at).item() for at in grid]

    before = values()
    train(Panacea(policy, DPO(0.3), aggregator, adam(0.03), m=2, seed=0), [batch] * 30)
    assert all(after < 0.8 * start for after, start in zip(values(), before, strict=True))
    after = dict(policy.model.named_parameters())
    assert base
    assert all(torch.equal(after[name], value) for name, value in base.items())


def test_a_steered_policy_ends_up_better_at_the_objective_that_is_asked_for():
    """Labels that contradict each other, so that one policy cannot serve both."""
    policy, batch = adapter(2), labelled(8)
    batch.labels[:, 1] = 1 - batch.labels[:, 0]
    train(Panacea(policy, DPO(0.3), Linear(), adam(0.03), m=2, seed=0), [batch] * 60)
    with torch.no_grad():
        first, second = (DPO(0.3).losses(policy, batch, corner) for corner in torch.eye(2))
    assert first[0] < first[1]
    assert second[1] < second[0]


class Breaks(Linear):
    """An aggregation that does something else from the third update on."""

    def __init__(self, then):
        self.then, self.calls = then, 0

    def __call__(self, losses, preference, parameters=()):
        self.calls += 1
        total = super().__call__(losses, preference, parameters)
        return total if self.calls < 3 else self.then(total)


def refuse(total):
    raise UserError("Breaks: a gradient is not finite")


def stumble(total):
    raise ZeroDivisionError("no weights")


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (refuse, "step 2: Breaks: a gradient is not finite; try a smaller learning rate (dpo.lr)"),
        (
            lambda total: total * float("inf"),
            r"step 2: the losses are \[.*\], and their aggregate inf; try a smaller learning rate (dpo.lr)",
        ),
    ],
)
def test_what_goes_wrong_in_a_training_says_when_and_what_to_try(then, message):
    module = DPS(adapter(0), DPO(0.3), Breaks(then), sgd(), m=2, seed=0, at=AT)
    with pytest.raises(Diverged, match=f"^{message.replace('(dpo.lr)', '.dpo.lr.')}$"):
        train(module, [labelled(4)] * 5)
    assert torch.isfinite(state(module.policy)).all()


def test_a_reward_that_fails_on_the_way_is_no_divergence():
    calls = []

    def nan_later(prompts, responses):
        calls.append(len(responses))
        return np.full(len(responses), np.nan if len(calls) > 2 else 1.0)

    objective = ppo(2, rules={"even": lambda p, r: np.ones(len(r)), "broken": nan_later}, kl_coeff=0.1)
    module = DPS(shake(LoRA(tiny(), 2, seed=0)), objective, Linear(), sgd(), m=2, seed=0, at=AT)
    with pytest.raises(UserError, match=r"^step 2: reward 'broken' gave nan for response 0") as raised:
        train(module, [prompts(4)] * 5)
    assert not isinstance(raised.value, Diverged)


def test_an_error_in_a_training_is_told_with_its_step():
    module = DPS(adapter(0), DPO(0.3), Breaks(stumble), sgd(), m=2, seed=0, at=AT)
    with pytest.raises(ZeroDivisionError) as caught:
        train(module, [labelled(4)] * 5)
    assert caught.value.__notes__ == ["in step 2"]


def test_a_broken_contract_stays_bad_input():
    module = DPS(adapter(0), DPO(0.3), Breaks(None), sgd(), m=2, seed=0, at=AT)
    module.aggregator = lambda losses, preference, parameters: losses
    with pytest.raises(BrokenContract, match="one scalar is expected"):
        train(module, [labelled(4)] * 2)


def test_gradients_that_are_not_finite_at_once_end_that_training_too():
    def overflow(total):
        raise NotFinite("Breaks: a gradient is not finite")

    module = DPS(adapter(0), DPO(0.3), Breaks(overflow), sgd(), m=2, seed=0, at=AT)
    module.aggregator.calls = 2
    with pytest.raises(Diverged, match=r"^step 0: Breaks: a gradient is not finite; try"):
        train(module, [labelled(4)] * 2)
    module.aggregator = Breaks(refuse)
    module.aggregator.calls = 2
    with pytest.raises(UserError, match=r"^Breaks: a gradient is not finite$"):
        train(module, [labelled(4)] * 2)
