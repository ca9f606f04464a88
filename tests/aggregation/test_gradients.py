"""Gradients and their inner products against autograd by hand, and whole aggregations against TorchJD's."""

import numpy as np
import pytest
import torch
import torchjd.autojac
from torch import nn
from torchjd.aggregation import MGDA as TorchJDsMGDA

from lightning_moa.aggregation import GAPO, MGDA, PGAPO
from lightning_moa.aggregation.gradients import GradientAggregator, gradients, gramian
from lightning_moa.errors import BrokenContract, UserError
from lightning_moa.policies import PROBES, LoRA, Probe, SVDLoRA
from tests.objectives.rollouts import centred, ppo, prompts
from tests.policies.models import shake, tiny, tokens


class Net(nn.Module):
    """Two layers in float64, three losses; the last layer's bias enters none but the first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(5, 4).double()
        self.second = nn.Linear(4, 3).double()
        self.extra = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def losses(self):
        x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        self.hidden = torch.tanh(self.first(x))
        out = self.second(self.hidden)
        first = out[:, 0].square().mean() + self.extra.prod()
        return torch.stack([first, out[:, 1].exp().mean(), out[:, 1:].sum(-1).sin().mean()])


def by_hand(net, tensors):
    """(m, total size) each loss's gradient, by an ordinary backward pass of its own."""
    rows = []
    for i in range(3):
        net.zero_grad()
        losses = net.losses()
        hidden = net.hidden
        hidden.retain_grad()
        losses[i].backward()
        found = [hidden.grad if each is None else each.grad for each in tensors]
        shapes = [hidden if each is None else each for each in tensors]
        rows.append(
            torch.cat(
                [
                    (torch.zeros_like(shape) if grad is None else grad).flatten()
                    for grad, shape in zip(found, shapes, strict=True)
                ]
            )
        )
    net.zero_grad()
    return torch.stack(rows)


def test_gradients_and_their_inner_products_are_autograds():
    net = Net()
    tensors = [net.first.weight, net.second.bias, net.extra, net.unused]
    expected = by_hand(net, tensors)
    losses = net.losses()
    found = gradients(losses, tensors)
    assert [tuple(each.shape) for each in found] == [(3, each.numel()) for each in tensors]
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-12, atol=1e-15)
    products = gramian(found, tensors)
    assert products.dtype == np.float64
    np.testing.assert_allclose(products, (expected @ expected.T).numpy(), rtol=1e-12)


def test_a_loss_that_does_not_reach_a_tensor_has_no_gradient_there():
    net = Net()
    extra, unused = gradients(net.losses(), [net.extra, net.unused])
    assert extra.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert not unused.any()


def test_activations_are_probed_beside_parameters():
    net = Net()
    expected = by_hand(net, [None, net.second.weight])
    losses = net.losses()
    tensors = [net.hidden, net.second.weight]
    found = gradients(losses, tensors)
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(gramian(found, tensors), (expected @ expected.T).numpy(), rtol=1e-12)


def test_the_graph_and_the_gradients_of_parameters_are_left_as_they_were():
    net = Net()
    before = torch.full_like(net.first.weight, 3.0)
    net.first.weight.grad = before.clone()
    losses = net.losses()
    gradients(losses, list(net.parameters()))
    assert torch.equal(net.first.weight.grad, before)
    assert net.second.weight.grad is None
    losses.sum().backward()
    expected = by_hand(net, [net.second.weight]).sum(0)
    losses = net.losses()
    gradients(losses, [net.second.weight])
    losses.sum().backward()
    torch.testing.assert_close(net.second.weight.grad.flatten(), expected, rtol=1e-12, atol=1e-15)


def test_where_all_tensors_are_probed_the_update_is_known_and_no_pass_is_gone_back_through_again():
    """What no loss reaches gets no gradient either way; a weight hangs on where it is, as one that enters a norm."""
    found = []
    for whole in (False, True):
        net, aggregator, passed = Net(), GAPO(2.0), []
        aggregator.whole = whole
        losses = net.losses()
        net.hidden.register_hook(passed.append)
        total = aggregator(losses, torch.full((3,), 1 / 3), list(net.parameters()))
        assert len(passed) == 3
        (total / 2).backward()
        assert len(passed) == (3 if whole else 4)
        assert net.unused.grad is None
        rest = [each.grad for each in net.parameters() if each is not net.unused]
        found.append((total.detach(), aggregator.logs(), torch.cat([each.flatten() for each in rest])))
    assert found[0][:2] == found[1][:2]
    torch.testing.assert_close(found[1][2], found[0][2], rtol=1e-12, atol=1e-15)


def test_of_several_preferences_the_weights_are_each_ones_own_and_a_pass_is_gone_back_through():
    preferences = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    found = []
    for whole in (False, True):
        net, aggregator = Net(), PGAPO()
        aggregator.whole = whole
        losses = torch.stack([net.losses(), 2 * net.losses()])
        aggregator(losses, preferences, [each for each in net.parameters()]).backward()
        found.append(net.first.weight.grad)
    assert torch.equal(*found)


def test_losses_that_hang_on_none_of_the_tensors_are_refused():
    net = Net()
    with pytest.raises(UserError, match="do not hang on the probed tensors"):
        gradients(net.losses(), [net.unused])


class Solved(GradientAggregator):
    """What its constructor was given."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def solve(self, gramian, preference):
        return self.weights


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_weights_may_be_any_numbers_of_the_right_shape(kind):
    net, preference = Net(), torch.full((3,), 1 / 3)
    total = Solved(kind([0.5, 0.25, 2.0]))(net.losses(), preference, list(net.first.parameters()))
    expected = net.losses() @ torch.tensor([0.5, 0.25, 2.0], dtype=torch.float64)
    assert total.item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("weights", "came"),
    [
        (np.ones(1), r"\(1,\)"),
        (np.ones((3, 1)), r"\(3, 1\)"),
        (np.ones(4), r"\(4,\)"),
        (np.ones(()), r"\(\)"),
        (None, r"\(\)"),
        ("one", "str"),
        ([[1.0], [2.0, 3.0]], "list"),
    ],
)
def test_weights_of_another_shape_are_refused_and_not_broadcast(weights, came):
    net, preference = Net(), torch.full((3,), 1 / 3)
    with pytest.raises(
        BrokenContract, match=rf"^Solved\.solve: weights of shape \(3,\) are expected, {came} came"
    ):
        Solved(weights)(net.losses(), preference, list(net.first.parameters()))


def test_inner_products_of_reduced_precision_are_taken_in_double():
    """bfloat16's own sum of so many products would stop growing at 256."""
    x = torch.ones(100_000, dtype=torch.bfloat16, requires_grad=True)
    losses = torch.stack([x.sum(), (2 * x).sum()])
    found = gradients(losses, [x])
    assert found[0].dtype == torch.bfloat16
    assert gramian(found, [x]).tolist() == [[1e5, 2e5], [2e5, 4e5]]


def test_inner_products_that_nearly_cancel():
    """Of two vectors of length 1000 whose product is 1."""
    first, second = torch.full((1000,), 31.62), torch.full((1000,), 31.62)
    second[500:] *= -1
    first[0] += 1 / second[0]
    wide = torch.stack([first, second]).double()
    found = gramian([torch.stack([first, second])], [nn.Parameter(first)])
    np.testing.assert_allclose(found, (wide @ wide.T).numpy(), rtol=1e-12)


# On policies


def surrogates(m=3, checkpointing=False, dtype=torch.float64):
    """A tiny policy, and a function that makes the losses (m,) of a rollout of its own."""
    policy = shake(LoRA(tiny(), 2, seed=0), std=0.3).to(dtype)
    if checkpointing:
        policy.enable_gradient_checkpointing()
    objective = ppo(m, kl_coeff=0.1, rules=centred(m)).to(dtype)
    rollout = objective.rollout(policy, prompts(8), None, step=0)
    return policy, lambda: objective.losses(policy, rollout, None)


def gradient(policy):
    found = torch.cat([each.grad.flatten() for each in policy.trainable_parameters()])
    policy.zero_grad()
    return found


@pytest.mark.parametrize("probe", ["last_layer", "all"])
def test_gradient_checkpointing_changes_no_gradient(probe):
    found = []
    for checkpointing in (False, True):
        policy, losses = surrogates(checkpointing=checkpointing)
        probed = Probe(policy, probe)
        values = losses()
        tensors = probed.tensors()
        each = torch.cat(gradients(values, tensors), 1)
        GAPO(1.0)(values, torch.full((3,), 1 / 3), tensors).backward()
        found.append((each, gradient(policy)))
    for plain, recomputed in zip(*found, strict=True):
        assert plain.norm() > 0
        torch.testing.assert_close(recomputed, plain)


def test_a_layer_is_recomputed_for_each_gradient_under_its_own_preference():
    found = []
    for checkpointing in (False, True):
        policy = shake(SVDLoRA(tiny(), 2, 2, seed=0), std=0.3).double()
        if checkpointing:
            policy.enable_gradient_checkpointing()
        ids, mask = tokens()
        logits = policy(ids, mask, torch.tensor([0.2, 0.8]))
        losses = torch.stack([logits.square().mean(), logits.logsumexp(-1).mean()])
        policy.set_preference(torch.tensor([1.0, 0.0]))  # what the policy is used for meanwhile
        found.append(torch.cat(gradients(losses, policy.trainable_parameters()), 1))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("probe", PROBES)
def test_a_policys_gramian_is_that_of_its_gradients_by_hand(probe):
    policy, losses = surrogates()
    probed = Probe(policy, probe)
    values = losses()
    tensors = probed.tensors()
    found = gramian(gradients(values, tensors), tensors)
    rows = []
    for value in values:
        each = torch.autograd.grad(value, tensors, retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in each]))
    np.testing.assert_allclose(found, (torch.stack(rows) @ torch.stack(rows).T).numpy(), rtol=1e-10)
    assert (np.diag(found) > 0).all()


# Against TorchJD

EXACT = TorchJDsMGDA(epsilon=1e-14, max_iters=2000)
"""Frank-Wolfe's steps shrink as 1/n: its default of 100 is far off where three gradients mix."""


def torchjds(policy, losses):
    parameters = policy.trainable_parameters()
    torchjd.autojac.backward(losses, inputs=parameters, parallel_chunk_size=1)
    weights = torchjd.autojac.jac_to_grad(parameters, EXACT)
    return gradient(policy), weights


def ours(policy, losses, aggregator):
    aggregator(losses, torch.full((len(losses),), 1 / len(losses)), policy.trainable_parameters()).backward()
    return gradient(policy)


def distance(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("m", [2, 3])
def test_mgda_is_torchjds(m):
    policy, losses = surrogates(m)
    wanted, weights = torchjds(policy, losses())
    assert (weights > 0.01).all()  # a mixture
    assert distance(ours(policy, losses(), MGDA()), wanted) < 1e-4


@pytest.mark.parametrize(("m", "p"), [(2, 1.0), (3, 1.0), (2, 2.0)])
def test_gapo_is_torchjds_mgda_of_the_rescaled_losses(m, p):
    policy, losses = surrogates(m)
    values = losses()
    rows = torch.cat(gradients(values, policy.trainable_parameters()), 1)
    wanted, weights = torchjds(policy, values / rows.norm(dim=1) ** p)
    assert (weights > 0.01).all()
    assert distance(ours(policy, losses(), GAPO(p)), wanted) < 1e-4


def test_in_single_precision_the_aggregation_stays_torchjds():
    policy, losses = surrogates(2, dtype=torch.float32)
    wanted, _ = torchjds(policy, losses())
    assert distance(ours(policy, losses(), MGDA()), wanted) < 1e-4
