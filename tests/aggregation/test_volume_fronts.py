"""The sum of the hypervolumes of all fronts (`heads.fronts=all`), which gives dominated policies a gradient."""

import pytest
import torch

from lightning_moa.aggregation import (
    Hypervolume,
    fronts_of,
    hypervolume,
)
from lightning_moa.pareto import is_non_dominated

from .test_volume import gradient, points

METHODS = ("exact", "inclusion_exclusion", "random")


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_fronts_are_peeled_off_one_by_one(objectives):
    values = points(9, objectives, seed=2)
    fronts = fronts_of(values)
    assert sorted(row for front in fronts for row in front) == list(range(9))
    assert len(fronts) > 1
    for place, front in enumerate(fronts):
        left = [row for later in fronts[place:] for row in later]
        alone = is_non_dominated(values[left].numpy())
        assert set(front) == {row for row, on_front in zip(left, alone, strict=True) if on_front}


def test_equal_policies_have_fronts_of_their_own_and_clipped_ones_none():
    values = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.9, 0.0], [-1.0, 0.9]])
    assert fronts_of(values) == [[0], [1]]
    assert fronts_of(values, [-2.0, -1.0]) == [[0, 2, 3], [1]]
    assert fronts_of(values, [1.0, 1.0]) == []


@pytest.mark.parametrize("method", METHODS)
def test_all_fronts_are_the_hypervolume_where_no_policy_is_dominated(method):
    angles = torch.tensor([0.2, 0.5, 0.9, 1.3], dtype=torch.float64)
    losses, preference = -torch.stack([angles.cos(), angles.sin()], dim=1), torch.full((4, 2), 0.5)
    first, every = (Hypervolume([-0.1, -0.2], method, fronts=fronts) for fronts in ("first", "all"))
    assert every(losses, preference) == first(losses, preference)
    assert torch.equal(gradient(every, losses, preference), gradient(first, losses, preference))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("objectives", [2, 3])
def test_with_all_fronts_every_policy_above_the_reference_has_a_gradient(method, objectives):
    losses = -points(8, objectives, seed=2)
    preference = torch.full((8, objectives), 1 / objectives)
    first, every = (
        gradient(Hypervolume(method=method, directions=20_000, fronts=fronts), losses, preference)
        for fronts in ("first", "all")
    )
    top, *below = fronts_of(-losses)
    rest = [row for front in below for row in front]
    torch.testing.assert_close(every[top], first[top])
    torch.testing.assert_close(first[rest], torch.zeros(len(rest), objectives).double())
    assert (every[rest] > 0).any(dim=1).all()
    # Each front as if there were no other.
    torch.testing.assert_close(
        every[below[0]], gradient(Hypervolume(method=method, directions=20_000), losses[below[0]], preference)
    )


def test_with_all_fronts_at_or_below_the_reference_nothing_moves():
    losses, preference = torch.zeros(3, 2).requires_grad_(), torch.full((3, 2), 0.5)
    scalar = Hypervolume(fronts="all")(losses, preference)
    scalar.backward()
    assert scalar == 0
    assert losses.grad is not None
    assert (losses.grad == 0).all()


def test_all_fronts_bring_back_a_policy_that_is_dominated():
    """On the quarter disc the third begins below the others; the hypervolume itself leaves it there."""
    start = torch.tensor([[0.8, 0.3], [0.3, 0.8], [0.2, 0.2]], dtype=torch.float64)
    ends = {}
    for fronts in ("first", "all"):
        values = start.clone().requires_grad_()
        optimiser = torch.optim.SGD([values], lr=0.02)
        for _ in range(200):
            optimiser.zero_grad()
            on_disc = values / values.detach().norm(dim=1, keepdim=True).clamp(min=1)
            Hypervolume(fronts=fronts)(-on_disc, torch.full((3, 2), 0.5)).backward()
            optimiser.step()
        ends[fronts] = values.detach() / values.detach().norm(dim=1, keepdim=True).clamp(min=1)
    assert torch.equal(ends["first"][2], start[2])
    assert len(fronts_of(ends["all"])) == 1
    assert hypervolume(ends["all"]) > hypervolume(ends["first"])
