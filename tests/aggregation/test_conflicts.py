"""Conflict-aware aggregations: TorchJD's weightings as adapters give them, and those written here against solvers and
definitions of their own."""

import sys

import numpy as np
import pytest
import quadprog
import torch
import torchjd.aggregation
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_moa.aggregation import IMTLG, AlignedMTL, CAGrad, FromTorchJD, NashMTL, PCGrad, UPGrad
from lightning_moa.answers import load
from lightning_moa.errors import UserError

quick = settings(max_examples=40, deadline=None, derandomize=True)
OURS = [UPGrad(), CAGrad(), NashMTL(), AlignedMTL()]


@st.composite
def problems(draw, smallest=2, largest=5, decades=2):
    """(m, n) random gradients that often conflict, of lengths over so many decades, and a preference (m,)."""
    m = draw(st.integers(smallest, largest))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = 10.0 ** random.uniform(-decades / 2, decades / 2, m)
    return random.normal(size=(m, m + 3)) * lengths[:, None], random.dirichlet(np.ones(m))


def even(m):
    return np.full(m, 1 / m)


# TorchJD's


def test_torchjds_direction_is_that_of_its_own_aggregator():
    gradients = np.random.default_rng(0).normal(size=(3, 6))
    for ours, theirs in ((AlignedMTL(), "AlignedMTL"), (IMTLG(), "IMTLG"), (FromTorchJD("MGDA"), "MGDA")):
        wanted = getattr(torchjd.aggregation, theirs)()(torch.from_numpy(gradients)).numpy()
        np.testing.assert_allclose(
            ours.solve(gradients @ gradients.T, even(3)) @ gradients, wanted, rtol=1e-6
        )


def test_the_preference_is_torchjds_vector_of_it():
    gradients = np.random.default_rng(1).normal(size=(3, 6))
    rows = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    found = AlignedMTL().solve(gradients @ gradients.T, rows) @ gradients
    for direction, row in zip(found, rows, strict=True):
        wanted = torchjd.aggregation.AlignedMTL(torch.from_numpy(row))(torch.from_numpy(gradients))
        np.testing.assert_allclose(direction, wanted.numpy(), rtol=1e-6)


def test_pcgrad_of_two_takes_from_each_what_conflicts_with_the_other():
    first, second = np.array([1.0, 0.0]), np.array([-1.0, 2.0])
    rows = np.stack([first, second])
    wanted = (first - first @ second / (second @ second) * second) + (second + first)
    np.testing.assert_allclose(PCGrad().solve(rows @ rows.T, even(2)) @ rows, wanted)


def test_what_is_drawn_hangs_on_seed_and_step_and_leaves_torchs_generator_alone():
    gradients = np.random.default_rng(3).normal(size=(6, 7)) - 0.4
    gramian = gradients @ gradients.T
    before = torch.get_rng_state()
    run = PCGrad(seed=1)
    drawn = [run.solve(gramian, even(6)) for _ in range(4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert any((one != drawn[0]).any() for one in drawn), "the order is drawn anew"
    again = PCGrad(seed=1)
    again.load_state_dict({"step": 2})
    np.testing.assert_array_equal(again.solve(gramian, even(6)), drawn[2])
    assert again.state_dict() == {"step": 3}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Best", {}, "allowed are AlignedMTL, CAGrad, .*UPGrad$"),
        ("GradVac", {}, "allowed are"),
        ("TrimmedMean", {}, "allowed are"),
        ("IMTLG", {"c": 1}, "unexpected keyword argument 'c'"),
        ("CAGrad", {"c": -1.0}, "cvxpy|non-negative"),
    ],
)
def test_what_torchjd_cannot_give_is_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        FromTorchJD(name, **options)


def test_without_torchjd_its_names_are_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    monkeypatch.delitem(sys.modules, "lightning_moa.aggregation.from_torchjd")
    with pytest.raises(UserError, match=r"aggregation=.*PCGrad: its module needs torchjd, which is not inst"):
        load("lightning_moa.aggregation.from_torchjd:PCGrad", "aggregation")


# All of ours


@pytest.mark.parametrize("aggregator", OURS, ids=lambda one: type(one).__name__)
def test_each_preference_of_a_batch_has_weights_of_its_own(aggregator):
    gradients = np.random.default_rng(2).normal(size=(3, 6))
    rows = np.random.default_rng(2).dirichlet(np.ones(3), size=4)
    together = aggregator.solve(gradients @ gradients.T, rows)
    for weights, row in zip(together, rows, strict=True):
        np.testing.assert_allclose(weights, aggregator.solve(gradients @ gradients.T, row))


@pytest.mark.parametrize("aggregator", [UPGrad(), CAGrad(0.0)], ids=lambda one: type(one).__name__)
def test_without_conflicts_it_is_linear_scalarisation(aggregator):
    gradients = np.abs(np.random.default_rng(3).normal(size=(3, 6)))
    preference = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(aggregator.solve(gradients @ gradients.T, preference), preference, atol=1e-12)


# UPGrad


class Projector:
    """TorchJD's projection on the dual cone, by quadprog: min v'Gv over v >= u."""

    def __call__(self, rows, gramian):
        matrix = gramian.numpy()
        eye = np.eye(len(matrix))
        found = [quadprog.solve_qp(matrix, np.zeros(len(matrix)), eye, row.numpy())[0] for row in rows]
        return torch.from_numpy(np.stack(found))


@quick
@given(problems())
def test_upgrad_is_torchjds_with_another_solver(problem):
    gradients, preference = problem
    gramian = gradients @ gradients.T
    theirs = torchjd.aggregation.UPGradWeighting(torch.from_numpy(preference), projector=Projector())
    wanted = theirs(torch.from_numpy(gramian)).numpy() @ gradients
    found = UPGrad().solve(gramian, preference) @ gradients
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7 * np.linalg.norm(wanted))
    lengths = np.linalg.norm(gradients, axis=1)
    assert (gradients @ found >= -1e-9 * lengths * np.linalg.norm(found)).all(), "no objective gets worse"


def test_upgrad_passes_an_objective_without_gradient_by():
    gradients = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 1.0]])
    weights = UPGrad().solve(gradients @ gradients.T, even(3))
    wanted = UPGrad().solve(gradients[::2] @ gradients[::2].T, even(2)) * 2 / 3
    np.testing.assert_allclose(weights[::2], wanted)


# CAGrad


@quick
@given(problems(), st.sampled_from([0.2, 0.5, 0.9]))
def test_cagrads_least_gain_is_the_bound_that_duality_gives(problem, c):
    """max over the ball of min_i <g_i, d> = min over the simplex of <g_w, g_0> + c ||g_0|| ||g_w||."""
    gradients, preference = problem
    weights = CAGrad(c).solve(gradients @ gradients.T, preference)
    direction, base = weights @ gradients, preference @ gradients
    radius = c * np.linalg.norm(base)
    assert np.linalg.norm(direction - base) == pytest.approx(radius, rel=1e-6)
    mixed = (weights - preference) / (weights - preference).sum()
    bound = mixed @ gradients @ base + radius * np.linalg.norm(mixed @ gradients)
    largest = np.linalg.norm(gradients, axis=1).max() * np.linalg.norm(direction)
    assert (gradients @ direction).min() == pytest.approx(bound, abs=1e-5 * largest)


def test_of_opposed_gradients_cagrad_follows_linear_scalarisation_more_slowly():
    """On a line there is no way round: within the ball the least gain is largest closest to 0, (1 - c) g_0."""
    gradients = np.array([[1.0, 0.0], [-2.0, 0.0]])
    direction = CAGrad(0.5).solve(gradients @ gradients.T, even(2)) @ gradients
    np.testing.assert_allclose(direction, [-0.25, 0.0], atol=1e-9)


def test_without_any_gradient_cagrads_weights_are_the_preference():
    np.testing.assert_array_equal(CAGrad().solve(np.zeros((2, 2)), even(2)), even(2))


# Nash-MTL


@quick
@given(problems(decades=6))
def test_nash_mtls_gains_are_the_preference_over_the_weights(problem):
    gradients, preference = problem
    weights = NashMTL().solve(gradients @ gradients.T, preference)
    direction = weights @ gradients
    np.testing.assert_allclose(gradients @ direction * weights, preference, rtol=1e-6)
    assert np.linalg.norm(direction) == pytest.approx(1)


@quick
@given(problems())
def test_nash_mtl_at_equal_weights_is_torchjds_fairgrad_with_alpha_1(problem):
    gradients, _ = problem
    m = len(gradients)
    gramian = gradients @ gradients.T
    wanted = FromTorchJD("FairGrad", alpha=1.0).solve(gramian, even(m))
    found = NashMTL().solve(gramian, even(m))
    np.testing.assert_allclose(found / found.sum(), wanted / wanted.sum(), rtol=1e-4)


def test_nash_mtl_knows_no_scale_leaves_out_weight_0_and_rests_on_the_front():
    gradients = np.random.default_rng(5).normal(size=(3, 6))
    scaled = gradients * np.array([[1e4], [1.0], [1e-3]])
    preference = np.array([0.6, 0.4, 0.0])
    one, other = (NashMTL().solve(rows @ rows.T, preference) @ rows for rows in (gradients, scaled))
    np.testing.assert_allclose(one, other, rtol=1e-6)
    assert NashMTL().solve(gradients @ gradients.T, preference)[2] == 0
    opposed = np.array([[1.0, 0.0], [-3.0, 0.0]])
    np.testing.assert_array_equal(NashMTL().solve(opposed @ opposed.T, even(2)), 0)


@pytest.mark.parametrize("c", [-0.1, float("nan")])
def test_a_c_out_of_range_is_refused(c):
    with pytest.raises(UserError, match="c="):
        CAGrad(c)
