"""The hypervolume's gradient against finite differences of moocore; its value against three oracles; its kinks."""

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_moa.errors import UserError
from lightning_moa.pareto import hypervolume, hypervolume_gradient
from tests.pareto.test_hypervolume import inclusion_exclusion

KINDS = ("random", "duplicated", "dominated", "degenerate")
MATRICES = st.integers(1, 4).flatmap(
    # Few different numbers, so that ties, copies and dominated points are common.
    lambda m: arrays(np.float64, st.tuples(st.integers(1, 7), st.just(m)), elements=st.integers(-1, 3))
)


def cloud(kind: str, n: int, m: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng([seed, m])
    points = generator.normal(loc=0.5, size=(n, m))
    if kind == "duplicated":
        points = points[generator.integers(max(n // 2, 1), size=n)]
    elif kind == "dominated":
        points[n // 2 :] = points[: n - n // 2] - generator.random((n - n // 2, m))
    elif kind == "degenerate":
        points = np.round(points)
    return points


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_the_value_equals_inclusion_exclusion_and_moocore(m: int, kind: str) -> None:
    for n in (1, 2, 5, 9):
        points, reference = cloud(kind, n, m), np.full(m, -0.5)
        value, gradient = hypervolume_gradient(points, reference)
        assert value == pytest.approx(inclusion_exclusion(points, reference), rel=1e-9, abs=1e-12)
        assert value == pytest.approx(hypervolume(points, reference), rel=1e-9, abs=1e-12)
        # Linear in the sides along each objective alone.
        np.testing.assert_allclose(
            ((points - reference) * gradient).sum(axis=0), value, rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_the_value_equals_botorchs_box_decomposition(m: int, kind: str) -> None:
    torch = pytest.importorskip("torch")
    boxes = pytest.importorskip("botorch.utils.multi_objective.box_decompositions.dominated")
    points, reference = cloud(kind, 9, m, seed=1), np.full(m, -1.0)
    oracle = boxes.DominatedPartitioning(torch.tensor(reference), torch.tensor(points)).compute_hypervolume()
    assert hypervolume_gradient(points, reference)[0] == pytest.approx(oracle.item(), rel=1e-9)


@pytest.mark.parametrize("kind", ["random", "dominated"])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (6, 1), (1, 2), (30, 2), (1, 3), (20, 3), (12, 4), (10, 5)])
def test_the_gradient_equals_central_differences_of_moocore(n: int, m: int, kind: str) -> None:
    points, reference = cloud(kind, n, m, seed=2), np.full(m, -0.8)
    _, gradient = hypervolume_gradient(points, reference)
    step = 1e-6
    for k, j in np.ndindex(n, m):
        move = np.zeros((n, m))
        move[k, j] = step
        up, down = (hypervolume(points + sign * move, reference) for sign in (1, -1))
        assert gradient[k, j] == pytest.approx((up - down) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_only_the_front_has_a_gradient_and_all_of_it_does(m: int) -> None:
    points = np.concatenate(
        [cloud("random", 15, m), [np.full(m, -0.5), np.full(m, 9.0) - 9.5 * np.eye(m)[0]]]
    )
    reference = np.full(m, -0.5)
    counted = (points > reference).all(axis=1)
    front = counted.copy()
    front[counted] = moocore.is_nondominated(points[counted], maximise=True)
    _, gradient = hypervolume_gradient(points, reference)
    assert (gradient[~front] == 0).all()
    assert (gradient[front] > 0).all()
    assert not front.all()


@given(MATRICES)
@settings(max_examples=150, deadline=None)
def test_at_a_kink_it_is_the_gradient_of_points_whose_earlier_rows_are_larger_by_a_hair(
    points: np.ndarray,
) -> None:
    n, m = points.shape
    value, gradient = hypervolume_gradient(points, np.zeros(m))
    front = moocore.is_nondominated(points, maximise=True)
    hair = 1e-7 * (n - np.arange(n))[:, None] * front[:, None] * (points > 0).all(axis=1)[:, None]
    near_value, near = hypervolume_gradient(points + hair, np.zeros(m))
    assert near_value == pytest.approx(value, abs=1e-3)
    np.testing.assert_allclose(gradient, near, atol=1e-3)


@pytest.mark.parametrize(("m", "side"), [(3, 20), (4, 14)])
def test_ties_of_many_points_go_to_the_earlier_rows_too(m: int, side: int) -> None:
    # A third of the whole-number points of one sum: none dominates another, values recur, and faces overlap.
    points = np.stack(np.meshgrid(*[np.arange(1, side)] * m), axis=-1).reshape(-1, m).astype(float)
    points = points[points.sum(axis=1) == side + 1]
    points = np.random.default_rng(0).permutation(points)[: len(points) // 3]
    assert len(points) > 50
    hair = 1e-7 * np.arange(len(points), 0, -1)[:, None]
    expected = hypervolume_gradient(points + hair, np.zeros(m))[1]
    np.testing.assert_allclose(hypervolume_gradient(points, np.zeros(m))[1], expected, atol=1e-2)


def test_of_equal_points_the_first_has_all() -> None:
    _, gradient = hypervolume_gradient([[2.0, 3.0], [2.0, 3.0]], [0, 0])
    np.testing.assert_array_equal(gradient, [[3, 2], [0, 0]])
    # The faces at 2 overlap in a unit square, which the first point keeps.
    _, gradient = hypervolume_gradient([[2.0, 2.0, 1.0], [2.0, 1.0, 2.0]], [0, 0, 0])
    np.testing.assert_array_equal(gradient[:, 0], [2, 1])
    _, gradient = hypervolume_gradient([[2.0, 1.0, 2.0], [2.0, 2.0, 1.0]], [0, 0, 0])
    np.testing.assert_array_equal(gradient[:, 0], [2, 1])


@given(MATRICES, st.data())
@settings(max_examples=100, deadline=None)
def test_more_points_never_hurt_and_gain_less_and_less(points: np.ndarray, data: st.DataObject) -> None:
    n, m = points.shape
    few = data.draw(st.integers(1, n))
    extra = data.draw(arrays(np.float64, (1, m), elements=st.floats(-1, 4)))

    def value(*parts: np.ndarray) -> float:
        return hypervolume_gradient(np.concatenate(parts), np.full(m, -0.5))[0]

    assert value(points[:few]) <= value(points) + 1e-9
    gain_of_few = value(points[:few], extra) - value(points[:few])
    gain_of_all = value(points, extra) - value(points)
    assert -1e-9 <= gain_of_all <= gain_of_few + 1e-9


@given(MATRICES)
@settings(max_examples=50, deadline=None)
def test_the_order_of_objectives_does_not_matter(points: np.ndarray) -> None:
    reference = np.full(points.shape[1], -0.5)
    value, gradient = hypervolume_gradient(points, reference)
    turned_value, turned = hypervolume_gradient(points[:, ::-1], reference)
    assert turned_value == pytest.approx(value)
    np.testing.assert_allclose(turned[:, ::-1], gradient, atol=1e-12)


def test_what_is_handed_in_is_left_alone() -> None:
    points = cloud("random", 8, 3)
    before = points.copy()
    hypervolume_gradient(points, np.zeros(3))
    np.testing.assert_array_equal(points, before)


@pytest.mark.parametrize(
    ("points", "reference", "words"),
    [
        (np.empty((0, 2)), [0, 0], "no points"),
        ([], [0, 0], "no points"),
        ([[np.nan, 1]], [0, 0], "row 0"),
        ([[1, np.inf]], [0, 0], "row 0"),
        ([[1, 1]], [0, np.nan], "reference_point"),
        ([[1, 1]], [0, 0, 0], "2 objectives, allowed is 3"),
        ([1, 2], [0, 0], "shape"),
        ([[1, 2]], 0.0, "allowed is 1"),
    ],
)
def test_bad_input_is_a_user_error_of_one_line(points: object, reference: object, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        hypervolume_gradient(points, reference)
    assert "\n" not in str(caught.value)
