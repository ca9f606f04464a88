"""The three ways to HaM's hypervolume against each other, their gradients, and the aggregator's warm-up and state."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_moa.aggregation import (
    Aggregator,
    Hypervolume,
    Linear,
    hypervolume,
    inclusion_exclusion,
    random_scalarisation,
    sample_directions,
)
from lightning_moa.errors import UserError
from lightning_moa.pareto import hypervolume as oracle
from lightning_moa.policies.settings import HeadsConfig

METHODS = ("exact", "inclusion_exclusion", "random")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(policies: int, objectives: int, seed: int = 0) -> Tensor:
    return torch.rand(policies, objectives, dtype=torch.float64, generator=generator(seed))


def gradient(volume, values: Tensor, *rest) -> Tensor:
    values = values.clone().requires_grad_()
    return torch.autograd.grad(volume(values, *rest), values)[0]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("policies", [1, 2, 5, 8])
def test_exact_equals_inclusion_exclusion_in_value_and_gradient(policies, objectives):
    values = points(policies, objectives) - 0.1
    reference = [0.05 * j for j in range(objectives)]
    exact = hypervolume(values, reference)
    torch.testing.assert_close(exact, inclusion_exclusion(values, reference), rtol=1e-9, atol=1e-12)
    assert exact.item() == pytest.approx(oracle(values.numpy(), reference), rel=1e-9, abs=1e-12)
    torch.testing.assert_close(
        gradient(hypervolume, values, reference), gradient(inclusion_exclusion, values, reference)
    )


def test_two_policies_are_the_papers_two_rectangles():
    """Section 3.2: y_11 y_12 + y_21 y_22 - min_k y_k1 min_k y_k2."""
    values = torch.tensor([[0.2, 0.9], [0.7, 0.4]])
    for volume in (hypervolume, inclusion_exclusion):
        torch.testing.assert_close(volume(values), torch.tensor(0.2 * 0.9 + 0.7 * 0.4 - 0.2 * 0.4))


def test_a_doubled_and_a_dominated_policy_add_nothing():
    values = points(4, 3)
    more = torch.cat([values, values[:1], values[1:2] - 0.1])
    for volume in (hypervolume, inclusion_exclusion):
        torch.testing.assert_close(volume(more), volume(values))
    slopes = gradient(hypervolume, more)
    assert (slopes[4:] == 0).all()
    torch.testing.assert_close(slopes[:4], gradient(hypervolume, values))
    # Inclusion-exclusion shares what equal policies have together.
    torch.testing.assert_close(gradient(inclusion_exclusion, more)[[0, 4]].sum(0), slopes[0])


@pytest.mark.parametrize("volume", [hypervolume, inclusion_exclusion])
@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_gradcheck(volume, objectives):
    values = points(6, objectives, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: volume(x, [-0.2] * objectives), values)


def test_gradcheck_of_the_random_estimate():
    directions = sample_directions(3, 50, generator(0))
    values = points(5, 3, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: random_scalarisation(x, directions, [-0.2] * 3), values)


@pytest.mark.parametrize("volume", [hypervolume, inclusion_exclusion])
def test_what_comes_before_and_after_is_differentiated_too(volume):
    weights = torch.tensor([[0.5, 1.0], [1.0, 0.3]], requires_grad=True)
    loss = -2 * volume(weights**2)
    loss.backward()
    torch.testing.assert_close(weights.grad, -4 * weights.detach() * gradient(volume, weights.detach() ** 2))


def test_the_gradient_is_not_differentiated_again():
    values = points(4, 2).requires_grad_()
    (first,) = torch.autograd.grad(hypervolume(values), values, create_graph=True)
    torch.testing.assert_close(first.detach(), gradient(hypervolume, values.detach()))
    with pytest.raises(UserError, match="inclusion_exclusion"):
        (first**2).sum().backward()
    assert torch.autograd.gradgradcheck(inclusion_exclusion, values)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_type_and_device_are_those_of_the_values(dtype):
    values = points(5, 3).to(dtype).requires_grad_()
    directions = sample_directions(3, 10, generator(0))
    for volume in (hypervolume, inclusion_exclusion, lambda x: random_scalarisation(x, directions)):
        result = volume(values)
        (slopes,) = torch.autograd.grad(result, values)
        assert result.dtype == slopes.dtype == dtype
        assert result.shape == ()
    assert hypervolume(values).item() == pytest.approx(
        oracle(values.detach().double().numpy(), [0] * 3), rel=1e-2
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu():
    values = points(5, 3)
    directions = sample_directions(3, 100, generator(0))
    for volume in (hypervolume, inclusion_exclusion, lambda x: random_scalarisation(x, directions)):
        torch.testing.assert_close(volume(values.cuda()).cpu(), volume(values))
        torch.testing.assert_close(gradient(volume, values.cuda()).cpu(), gradient(volume, values))


def test_policies_at_or_below_the_reference_have_no_gradient():
    values = torch.tensor([[0.0, 0.5], [0.5, 0.0], [-1.0, 2.0]], dtype=torch.float64)
    directions = sample_directions(2, 50, generator(0))
    for volume, rest in ((hypervolume, ()), (inclusion_exclusion, ()), (random_scalarisation, (directions,))):
        assert volume(values, *rest).item() == 0
        assert (gradient(volume, values, *rest) == 0).all()


def test_directions_are_unit_vectors_without_a_preferred_objective():
    directions = sample_directions(4, 20_000, generator(0))
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(20_000, dtype=torch.float64))
    assert (directions > 0).all()
    # On the unit sphere the mean of w_j^2 is 1 / J, and that of w_j^4 is 3 / (J (J + 2)).
    torch.testing.assert_close((directions**2).mean(0), torch.full((4,), 0.25).double(), atol=0.01, rtol=0)
    torch.testing.assert_close((directions**4).mean(0), torch.full((4,), 3 / 24).double(), atol=0.01, rtol=0)
    assert torch.equal(sample_directions(3, 5, generator(7)), sample_directions(3, 5, generator(7)))


@pytest.mark.parametrize("objectives", [1, 2, 3, 5])
def test_the_random_estimate_is_unbiased_in_value_and_gradient(objectives):
    values, reference = points(6, objectives, seed=1), [-0.1] * objectives
    estimates, slopes = [], []
    for seed in range(300):
        directions = sample_directions(objectives, 64, generator(seed))
        estimates.append(random_scalarisation(values, directions, reference).item())
        slopes.append(gradient(random_scalarisation, values, directions, reference).numpy())
    for found, exact in (
        (np.array(estimates), hypervolume(values, reference).item()),
        (np.stack(slopes), gradient(hypervolume, values, reference).numpy()),
    ):
        standard_error = found.std(axis=0, ddof=1) / math.sqrt(len(found))
        assert (np.abs(found.mean(axis=0) - exact) <= 4 * standard_error + 1e-12).all()
        assert np.max(standard_error) < 0.1 * np.max(exact)


def test_the_random_estimates_error_falls_as_one_over_the_root_of_n():
    values = points(6, 3, seed=1)
    exact = hypervolume(values).item()
    counts = [50, 200, 800, 3200]
    errors = []
    for count in counts:
        found = [
            random_scalarisation(values, sample_directions(3, count, generator(s))).item() for s in range(200)
        ]
        errors.append(math.sqrt(np.mean((np.array(found) - exact) ** 2)))
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.06)


@pytest.mark.parametrize("method", METHODS)
def test_the_scalar_is_minus_the_volume_of_the_negated_losses(method):
    values, reference = points(5, 3), [-0.5, 0.0, 0.1]
    aggregator: Aggregator = Hypervolume(reference, method=method, directions=100_000)
    losses = (-values).requires_grad_()
    scalar = aggregator(losses, torch.full((5, 3), 1 / 3))
    assert scalar.item() == pytest.approx(-oracle(values.numpy(), reference), rel=0.01)
    (slopes,) = torch.autograd.grad(scalar, losses)
    torch.testing.assert_close(slopes, gradient(hypervolume, values, reference), rtol=0.05, atol=0.005)


@pytest.mark.parametrize("method", METHODS)
def test_descent_spreads_policies_over_a_front(method):
    """On the quarter circle two policies dominate most at mirror images: by symmetry, (pi/4 -+ a)."""
    angles = torch.tensor([0.7, 0.75, 0.8], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([angles], lr=0.02)
    aggregator = Hypervolume(method=method, directions=512)
    for _ in range(200):
        optimiser.zero_grad()
        aggregator(-torch.stack([angles.cos(), angles.sin()], dim=1), torch.full((3, 2), 0.5)).backward()
        optimiser.step()
    first, middle, last = angles.detach().sort().values.tolist()
    assert middle == pytest.approx(math.pi / 4, abs=0.05)
    assert first + last == pytest.approx(math.pi / 2, abs=0.05)
    assert last - first > 0.6


def test_the_warm_up_gives_each_policy_its_preference_of_a_grid():
    losses, preference = points(5, 2), torch.full((5, 2), 0.5)
    aggregator = Hypervolume([-2.0, -2.0], warm_up=2)
    grid = torch.tensor([[0.0, 1.0], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]).double()
    for step in range(2):
        assert aggregator.step == step
        torch.testing.assert_close(aggregator(losses, preference), Linear()(losses, grid))
        torch.testing.assert_close(gradient(Hypervolume(warm_up=1), losses, preference), grid / 5)
    torch.testing.assert_close(aggregator(losses, preference), -hypervolume(-losses, [-2.0, -2.0]))
    assert aggregator.step == 3


def test_a_dominated_policy_is_moved_by_the_warm_up_alone():
    losses, preference = torch.tensor([[0.1, 0.1], [0.5, 0.5]]), torch.full((2, 2), 0.5)
    assert (gradient(Hypervolume([-1.0, -1.0]), losses, preference)[1] == 0).all()
    assert gradient(Hypervolume([-1.0, -1.0], warm_up=1), losses, preference)[1].sum() > 0


def test_a_run_that_is_taken_up_again_goes_on_as_it_would_have():
    losses, preference = -points(5, 2), torch.full((5, 2), 0.5)

    def settings() -> Hypervolume:
        return Hypervolume(method="random", directions=20, seed=3, warm_up=1)

    whole = settings()
    scalars = [whole(losses, preference).item() for _ in range(4)]
    assert len(set(scalars)) == 4
    torch.manual_seed(5)
    resumed = settings()
    state = whole.state_dict()
    assert state == {"step": 4}
    resumed.load_state_dict({"step": 2})
    assert [resumed(losses, preference).item() for _ in range(2)] == scalars[2:]
    assert resumed.state_dict() == state
    other = Hypervolume(method="random", directions=20, seed=4)
    other.load_state_dict({"step": 2})
    assert other(losses, preference).item() != scalars[2]


NAN = torch.tensor([[float("nan"), 1.0]])


@pytest.mark.parametrize("volume", [hypervolume, inclusion_exclusion])
@pytest.mark.parametrize(
    ("values", "reference", "words"),
    [
        (torch.empty(0, 2), None, "at least one"),
        (torch.empty(3, 0), None, "one column per objective"),
        (NAN, None, "NaN or infinite value in row 0"),
        (torch.tensor([[float("inf"), 1.0]]), None, "NaN or infinite value in row 0"),
        (torch.ones(2, 2), [0.0], "allowed is"),
        (torch.ones(2, 2), torch.zeros(3), "allowed is"),
        (torch.ones(2, 2), [0.0, float("nan")], "reference_point"),
        (torch.ones(2), None, r"\(K, J\)"),
        (torch.ones(2, 2, dtype=torch.int64), None, "floating-point"),
    ],
)
def test_bad_values_are_a_user_error_of_one_line(volume, values, reference, words):
    with pytest.raises(UserError, match=words) as caught:
        volume(values, reference)
    assert "\n" not in str(caught.value)


def test_other_bad_input_is_a_user_error():
    values, preference = points(2, 2), torch.full((2, 2), 0.5)
    with pytest.raises(UserError, match="at most 20"):
        inclusion_exclusion(points(21, 2))
    for directions in (torch.ones(3, 3), torch.ones(2), torch.empty(0, 2), torch.tensor([[1.0, 0.0]]), NAN):
        with pytest.raises(UserError, match="directions"):
            random_scalarisation(values, directions)
    with pytest.raises(UserError, match="NaN"):
        random_scalarisation(NAN, torch.ones(1, 2))
    with pytest.raises(UserError, match="at least 1"):
        sample_directions(2, 0, generator(0))
    for bad in ({"method": "fast"}, {"fronts": "last"}, {"warm_up": -1}, {"directions": 0}, {"seed": -1}):
        with pytest.raises(UserError, match=next(iter(bad))):
            Hypervolume(**bad)
    with pytest.raises(UserError, match="one row per policy"):
        Hypervolume()(values[0], preference[0])
    for state in ({}, {"step": -1}, {"step": 1.5}, {"step": 1, "more": 2}):
        with pytest.raises(UserError, match="state"):
            Hypervolume().load_state_dict(state)


def run(stage=0, accumulate=1, seed=3, options=(), **heads):
    """What a training hands to `Hypervolume.build`."""
    settings = HeadsConfig(**heads)
    return SimpleNamespace(
        seed=seed, stage=stage, accumulate=accumulate, options=dict(options), section=lambda name: settings
    )


def test_a_study_says_how_it_is_computed():
    made = Hypervolume.build(run(volume="random", scalarisations=7))
    assert (made.method, made.directions) == ("random", 7)
    assert Hypervolume.build(run(volume="inclusion_exclusion")).method == "inclusion_exclusion"
    assert [Hypervolume.build(run(**heads)).fronts for heads in ({}, {"fronts": "all"})] == ["first", "all"]
    assert Hypervolume.build(run(options={"reference_point": [-1.0, -2.0]})).reference_point == [-1.0, -2.0]


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_warm_up_is_counted_in_batches_and_is_the_first_stages_alone(accumulate):
    assert Hypervolume.build(run(warm_up=5, accumulate=accumulate)).warm_up == 5 * accumulate
    assert Hypervolume.build(run(warm_up=5, accumulate=accumulate, stage=1)).warm_up == 0


def test_directions_are_each_seeds_and_rounds_own():
    losses, preference = -points(5, 2), torch.full((5, 2), 0.5)
    runs = [
        run(seed=seed, stage=stage, volume="random", scalarisations=20) for seed in (0, 1) for stage in (0, 1)
    ]
    found = [Hypervolume.build(each)(losses, preference).item() for each in runs]
    assert len(set(found)) == 4
    assert Hypervolume.build(runs[0])(losses, preference).item() == found[0]
    # Where none are drawn, no seed tells runs apart that are the same.
    assert {Hypervolume.build(run(seed=seed)).seed for seed in (0, 1)} == {0}


@pytest.mark.parametrize("objectives", [2, 3])
def test_it_is_monotone_and_submodular(objectives):
    """HaM, Proposition 1: a policy adds something, and less to more policies."""
    for seed in range(20):
        values = points(6, objectives, seed)
        few, more, new = values[:2], values[:5], values[5:]
        gains = [float(hypervolume(torch.cat([each, new])) - hypervolume(each)) for each in (few, more)]
        assert gains[0] >= gains[1] - 1e-12
        assert gains[1] >= -1e-12
