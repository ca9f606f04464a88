"""Weights that follow the hypervolume's gain: against a volume differentiated by finite differences, and what scale,
checkpoints and standing still do to them."""

import numpy as np
import pytest
import torch

from lightning_moa.aggregation import Linear
from lightning_moa.methods.dynamic_weights import KEPT, DynamicWeights
from lightning_moa.pareto import hypervolume
from lightning_moa.policies import LoRA
from tests.methods.fitting import sgd, train
from tests.objectives.rollouts import prompts
from tests.objectives.test_grpo import objective
from tests.policies.models import tiny


def method(m=2, **dynamic):
    settings = {"rate": 1.0, "smoothing": 0.0} | dynamic
    at = None if m != 3 else [0.2, 0.5, 0.3]
    return DynamicWeights(
        LoRA(tiny(), 2, seed=0), objective(m=m), Linear(), sgd(), m=m, seed=0, at=at, dynamic=settings
    )


def scores(*means, spread=1.0):
    """Two rows with these means and deviations of `spread`."""
    return torch.tensor([means]) + spread * torch.tensor([[1.0], [-1.0]])


def test_at_first_what_lags_behind_the_corner_has_more_weight():
    """Alone above the corner at (-1, -1), at (1, 0): the sides are 2 and 1, so the weights are 1/3 and 2/3."""
    made = method()
    made.follow(scores(0.0, 0.0))
    torch.testing.assert_close(made.weights, torch.tensor([0.5, 0.5], dtype=torch.float64))
    made.follow(scores(1.0, 0.0))
    torch.testing.assert_close(made.weights, torch.tensor([1 / 3, 2 / 3], dtype=torch.float64))


@pytest.mark.parametrize("m", [2, 3])
def test_the_weights_are_the_preference_times_what_the_volume_gains(m):
    made, random = method(m), np.random.default_rng(m)
    path = random.normal(size=(12, m)).cumsum(0) * 0.3
    for place, point in enumerate(path):
        made.follow(scores(*point))
        corner, front = path[0] - 1.0, path[:place]

        def volume(at, corner=corner, front=front):
            return hypervolume(np.vstack([at[None], front]), corner)

        slope = np.array([(volume(point + 1e-6 * one) - volume(point)) / 1e-6 for one in np.eye(m)])
        if slope.sum() > 1e-6:
            wanted = made.own.numpy() * slope
            np.testing.assert_allclose(made.weights.numpy(), wanted / wanted.sum(), atol=1e-4)
    assert made.weights.sum() == pytest.approx(1)


def test_what_is_dominated_by_where_it_was_moves_no_weight():
    made = method()
    for point in ((0.0, 0.0), (2.0, 1.0)):
        made.follow(scores(*point))
    before = made.weights.clone()
    made.follow(scores(1.0, 0.5))
    assert torch.equal(made.weights, before)


def test_a_rewards_scale_divides_its_weight_and_changes_no_balance():
    one, other = method(), method()
    for point in ((0.0, 0.0), (1.0, 0.3), (0.8, 0.9)):
        one.follow(scores(*point))
        other.follow(scores(*point) * torch.tensor([1.0, 8.0]))
    ratio = (one.weights[1] / one.weights[0]) / (other.weights[1] / other.weights[0])
    assert ratio == pytest.approx(8)


def test_rate_and_smoothing_say_how_fast():
    made = method(rate=0.1, smoothing=0.5)
    made.follow(scores(0.0, 0.0))
    made.follow(scores(2.0, 0.0))
    assert made.mean.tolist() == pytest.approx([1.0, 0.0])
    assert made.weights.tolist() == pytest.approx([0.9 * 0.5 + 0.1 / 3, 0.9 * 0.5 + 0.2 / 3])


def test_scores_that_do_not_differ_and_a_long_way_are_borne():
    made = method()
    made.follow(torch.zeros(4, 2))
    assert (made.reference < 0).all()
    for step in range(2 * KEPT):
        made.follow(scores(float(step), -float(step) / 100))
    assert torch.isfinite(made.weights).all()
    assert made.archive.shape == (KEPT, 2)


def test_rollouts_are_trained_with_the_weights_that_they_have_moved():
    made = method(rate=0.5, smoothing=0.9)
    train(made, [prompts(4)] * 3)
    assert int(made.updates) == 3
    assert made.preference(0).tolist() == pytest.approx(made.weights.tolist())
    assert set(made.logs()) == {"weight_0", "weight_1"}
    assert {"weights", "archive", "mean", "reference", "updates"} <= set(made.state_dict())
