"""Tchebycheff's optimum from linear scalarisation's, on fronts whose answer is known."""

import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.pareto.scalarised import tchebycheff_optimum


def circle(weights):
    """The point of the unit sphere's positive part that is best for weights."""
    return weights / np.linalg.norm(weights)


@pytest.mark.parametrize("preference", [[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]])
def test_on_a_circle_weighted_distances_are_equal(preference):
    found = tchebycheff_optimum(circle, preference, [1, 1])
    assert np.linalg.norm(found) == pytest.approx(1)
    distances = np.array(preference) * (1 - found)
    assert distances[0] == pytest.approx(distances[1], rel=1e-4)


def test_it_beats_every_point_of_the_front():
    angles = np.linspace(0, np.pi / 2, 1001)
    front = np.column_stack([np.cos(angles), np.sin(angles)])
    preference = np.array([0.3, 0.7])
    best = (preference * (front - 1)).min(axis=1).max()
    found = (preference * (tchebycheff_optimum(circle, preference, [1, 1]) - 1)).min()
    assert best <= found <= best + 1e-3


@pytest.mark.parametrize("preference", [[1.0, 0.0], [0.2, 0.3, 0.5]])
def test_other_preferences_are_refused(preference):
    with pytest.raises(UserError, match="allowed are m = 2 weights above 0"):
        tchebycheff_optimum(circle, preference, [1, 1])
