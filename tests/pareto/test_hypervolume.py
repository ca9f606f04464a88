"""Hypervolume against independent oracles: inclusion-exclusion, a grid of cells, BoTorch."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_moa.errors import UserError
from lightning_moa.pareto import default_reference, hypervolume


def inclusion_exclusion(points: np.ndarray, reference: np.ndarray) -> float:
    sides = np.maximum(points - reference, 0)
    total = 0.0
    for size in range(1, len(points) + 1):
        for subset in combinations(range(len(points)), size):
            total += (-1) ** (size - 1) * np.prod(sides[list(subset)].min(axis=0))
    return total


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_equals_inclusion_exclusion(m: int) -> None:
    generator = np.random.default_rng(m)
    for n in (1, 2, 5, 9):
        points = generator.normal(size=(n, m))
        reference = generator.normal(size=m) - 1
        assert hypervolume(points, reference) == pytest.approx(
            inclusion_exclusion(points, reference), abs=1e-12
        )


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_counts_the_dominated_cells_of_a_grid(m: int) -> None:
    # Whole-number points: the volume is the number of unit cells whose upper corner some point reaches.
    side = 4
    points = np.random.default_rng(m).integers(0, side + 1, size=(30, m)).astype(float)
    cells = np.stack(np.meshgrid(*[np.arange(1, side + 1)] * m), axis=-1).reshape(-1, m)
    dominated = (points[None] >= cells[:, None]).all(axis=2).any(axis=1).sum()
    assert hypervolume(points, np.zeros(m)) == pytest.approx(dominated)


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_equals_botorch(m: int) -> None:
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("botorch.utils.multi_objective.hypervolume")
    points = np.random.default_rng(10 + m).normal(size=(25, m))
    reference = np.full(m, -1.0)
    oracle = module.Hypervolume(torch.tensor(reference)).compute(torch.tensor(points))
    assert hypervolume(points, reference) == pytest.approx(oracle, rel=1e-10)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(-5, 5)),
    st.permutations(range(3)),
)
@settings(max_examples=60, deadline=None)
def test_order_of_points_and_objectives_does_not_matter_and_more_points_never_hurt(
    points: np.ndarray, order: list[int]
) -> None:
    reference = np.array([-1.0, -2.0, 0.5])
    volume = hypervolume(points, reference)
    assert hypervolume(points[::-1][:, order], reference[order]) == pytest.approx(volume, rel=1e-9, abs=1e-12)
    assert hypervolume(points[:-1], reference) <= volume + 1e-12


def test_points_at_or_below_the_reference_count_nothing() -> None:
    assert hypervolume([[0, 5], [5, 0], [-1, 9]], [0, 0]) == 0.0
    assert hypervolume([[0, 5], [2, 3]], [0, 0]) == 6.0
    assert hypervolume(np.empty((0, 4)), np.zeros(4)) == 0.0
    assert hypervolume([], [0, 0]) == 0.0


@pytest.mark.parametrize(
    ("points", "reference"),
    [
        ([[np.nan, 1]], [0, 0]),
        ([[np.inf, 1]], [0, 0]),
        ([[1, 1]], [0, np.nan]),
        ([[1, 1, 1]], [0, 0]),
        ([1, 2], [0, 0]),
        ([[1, 2]], 0.0),
        ([["a", "b"]], [0, 0]),
    ],
)
def test_bad_input_is_a_user_error_of_one_line(points: object, reference: object) -> None:
    with pytest.raises(UserError) as caught:
        hypervolume(points, reference)
    assert "\n" not in str(caught.value)


def test_default_reference_lies_a_margin_below_the_worst_values() -> None:
    np.testing.assert_allclose(default_reference([[0, 10], [2, 30]]), [-0.2, 8])
    np.testing.assert_allclose(default_reference([[0, 10], [2, 30]], margin=0), [0, 10])
    with pytest.raises(UserError, match="no points"):
        default_reference([])


def test_an_objective_that_all_points_share_does_not_hide_the_others() -> None:
    points = np.array([[1.0, 3.0], [2.0, 3.0]])
    reference = default_reference(points)
    np.testing.assert_allclose(reference, [0.9, 2.9])
    assert hypervolume(points[:1], reference) < hypervolume(points[1:], reference)


def test_a_tensor_that_takes_a_gradient_is_told_where_it_is_kept():
    import torch

    from lightning_moa.aggregation import volume

    values = torch.tensor([[0.5, 0.8], [0.9, 0.2]], requires_grad=True)
    with pytest.raises(
        UserError, match=r"points: a tensor .* is lightning_moa\.aggregation\.volume\.hypervolume"
    ):
        hypervolume(values, [0, 0])
    kept = volume.hypervolume(values)
    assert float(kept.detach()) == pytest.approx(hypervolume(values.detach(), [0, 0]))
    kept.backward()
    assert values.grad is not None
