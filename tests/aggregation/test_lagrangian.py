"""PPO-Lagrangian's multipliers against arithmetic: how they move, over what they average, and what is kept."""

import math

import pytest
import torch

from lightning_moa.aggregation import Multipliers
from lightning_moa.errors import UserError


def scores(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_one_update_by_hand():
    """log lambda += lr * (threshold - mean score) * lambda, from lambda = 1: the cost's mean is 0.5 above its limit."""
    multipliers = Multipliers(1, lr=0.1)
    found = multipliers.update(scores([-1.0], [0.0]))
    assert found.tolist() == pytest.approx([math.exp(0.1 * 0.5)], rel=1e-12)
    assert multipliers.values().tolist() == found.tolist()


def test_a_second_update_starts_from_where_the_first_ended():
    multipliers = Multipliers(2, lr=0.2, initial=0.5, thresholds=[0.3, -1.0])
    logs = [math.log(0.5)] * 2
    seen = []
    for batch in ([(0.1, 0.2), (0.5, -3.0)], [(1.0, -2.0), (-0.6, -1.0)]):
        seen += batch
        found = multipliers.update(scores(*batch))
        means = [sum(column) / len(seen) for column in zip(*seen, strict=True)]
        logs = [
            log + 0.2 * (threshold - mean) * math.exp(log)
            for log, mean, threshold in zip(logs, means, (0.3, -1.0), strict=True)
        ]
        assert found.tolist() == pytest.approx([math.exp(log) for log in logs], rel=1e-12)


def test_it_is_safe_rlhfs_update_of_a_cost():
    """SGD on -(mean cost - limit) * exp(log lambda), as its authors write it, for the negated cost."""
    costs = torch.tensor([0.7, -0.1, 1.3], dtype=torch.float64)
    log = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([log], lr=0.1)
    (-(costs.mean() - 0.2) * log.exp()).backward()
    optimiser.step()
    multipliers = Multipliers(1, lr=0.1, initial=math.exp(0.4), thresholds=[-0.2])
    assert multipliers.update(-costs[:, None]).item() == pytest.approx(log.exp().item(), rel=1e-12)


@pytest.mark.parametrize(("score", "sign"), [(1.0, -1), (-1.0, 1), (0.25, 0)])
def test_they_fall_where_the_constraint_holds_and_rise_where_it_is_violated(score, sign):
    multipliers = Multipliers(1, thresholds=[0.25], largest=1e9)
    path = [multipliers.values().item()]
    for _ in range(5):
        path.append(multipliers.update(scores([score])).item())
    assert torch.tensor(path).diff().sign().tolist() == [sign] * 5


def test_a_constraint_that_always_holds_is_forgotten():
    multipliers = Multipliers(1)
    for _ in range(2000):
        multipliers.update(scores([1.0]))
    assert 0 < multipliers.values().item() < 0.01
    assert multipliers.weights()[0] > 0.99


def test_they_are_kept_at_or_below_the_largest_and_come_back_from_it():
    multipliers = Multipliers(2, largest=1.5, lr=1.0)
    for _ in range(10):
        multipliers.update(scores([-3.0, 0.0]))
    assert multipliers.values().tolist() == pytest.approx([1.5, 1.0], rel=1e-12)
    multipliers.window.zero_()
    assert multipliers.update(scores([3.0 * len(multipliers.window), 0.0]))[0] < 0.1


def test_the_mean_is_of_the_last_episodes():
    multipliers = Multipliers(1, episodes=3, lr=1.0)
    multipliers.update(scores([-4.0], [1.0]))
    before = multipliers.log_multipliers.item()
    multipliers.update(scores([2.0], [5.0]))
    # The window holds 1, 2, 5: the first score has left it.
    assert multipliers.log_multipliers.item() == pytest.approx(before - 8 / 3 * math.exp(before))


def test_a_batch_larger_than_the_window_counts_by_its_last_rows():
    multipliers = Multipliers(1, episodes=2, lr=1.0)
    multipliers.update(scores([-100.0], [0.5], [1.5]))
    assert multipliers.log_multipliers.item() == pytest.approx(-1.0)


def test_episodes_that_were_not_seen_yet_do_not_count_as_zeros():
    multipliers = Multipliers(1, episodes=100, lr=1.0)
    multipliers.update(scores([2.0]))
    assert multipliers.log_multipliers.item() == pytest.approx(-2.0)


def test_a_delay_keeps_them_while_scores_are_taken_in():
    multipliers = Multipliers(1, delay=2, lr=1.0)
    assert multipliers.update(scores([-1.0])).item() == 1.0
    assert multipliers.update(scores([-2.0])).item() == 1.0
    assert multipliers.update(scores([-6.0])).item() == pytest.approx(5.0)  # exp(3), kept at 5
    assert Multipliers(1, delay=0).update(scores([-1.0])).item() > 1


@pytest.mark.parametrize("constraints", [1, 2, 4])
def test_weights_are_on_the_simplex_with_the_first_objectives_first(constraints):
    multipliers = Multipliers(constraints, largest=50.0)
    assert multipliers.weights().tolist() == pytest.approx([1 / (1 + constraints)] * (1 + constraints))
    multipliers.update(torch.linspace(-3, 2, constraints)[None])
    weights, values = multipliers.weights(), multipliers.values()
    assert weights.sum().item() == pytest.approx(1)
    assert (weights > 0).all()
    torch.testing.assert_close(weights[1:] / weights[0], values)


def test_one_objective_alone_has_no_constraint():
    multipliers = Multipliers(0)
    assert multipliers.update(torch.empty(4, 0)).shape == (0,)
    assert multipliers.weights().tolist() == [1.0]


@pytest.mark.parametrize("thresholds", [[], [0.0], [0.0, 0.0, 0.0]])
def test_thresholds_of_another_length_are_refused(thresholds):
    with pytest.raises(UserError, match=f"{len(thresholds)} values for 2 constrained objectives"):
        Multipliers(2, thresholds=thresholds)


def test_a_checkpoint_holds_all_that_an_update_hangs_on():
    def fresh():
        return Multipliers(2, episodes=4, delay=1, thresholds=[0.1, -0.2])

    batches = [torch.randn(3, 2, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    whole, first, second = fresh(), fresh(), fresh()
    expected = [whole.update(batch).tolist() for batch in batches]
    for batch in batches[:2]:
        first.update(batch)
    second.load_state_dict(first.state_dict())
    assert [second.update(batch).tolist() for batch in batches[2:]] == expected[2:]
    assert not list(first.parameters())


def test_scores_without_a_zero_are_counted_from_where_the_policy_began():
    """A constant more on such scores, which no model of pairs can tell, changes nothing."""
    batches = [scores((0.2, 1.0), (0.6, 3.0)), scores((0.0, 1.0)), scores((1.0, 4.0))]

    def path(constant, from_start):
        multipliers = Multipliers(2, lr=0.3, thresholds=[0.1, -0.5], from_start=from_start)
        return [multipliers.update(batch + scores(constant)).tolist() for batch in batches]

    own = path((0.0, 0.0), [True, False])
    assert path((3.67, 0.0), [True, False]) == [pytest.approx(each, rel=1e-12) for each in own]
    assert path((3.67, 0.0), None) != own
    # As if the first batch's mean were 0.
    plain = Multipliers(2, lr=0.3, thresholds=[0.1, -0.5])
    expected = [plain.update(batch - scores((0.4, 0.0))).tolist() for batch in batches]
    assert own == [pytest.approx(each, rel=1e-12) for each in expected]
    with pytest.raises(UserError, match="from_start has 1 values for 2 constrained"):
        Multipliers(2, from_start=[True])


def test_where_it_began_is_in_the_checkpoint():
    multipliers, other = (Multipliers(1, lr=0.3, from_start=[True]) for _ in range(2))
    multipliers.update(scores([2.0]))
    other.load_state_dict(multipliers.state_dict())
    assert other.update(scores([3.0])).tolist() == multipliers.update(scores([3.0])).tolist()
    assert float(other.origin) == 2.0
