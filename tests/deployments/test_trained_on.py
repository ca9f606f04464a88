"""Which preferences policies are trained for, and what makes none."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_moa.deployments import TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.pareto import preference_grid

ONE = {
    "sampled": TrainedOn.sampled(),
    "centre": TrainedOn.centre(),
    "corner": TrainedOn.corner(1),
    "one given": TrainedOn.given([[0.2, 0.8]]),
}
SEVERAL = {
    "corners": TrainedOn.corners(),
    "grid": TrainedOn.grid(),
    "interior": TrainedOn.interior(),
    "two given": TrainedOn.given([[0.2, 0.8], [1, 0]]),
}


@pytest.mark.parametrize("step", [0.5, 0.25, 0.1])
@pytest.mark.parametrize("m", [2, 3, 4])
def test_preferences_of_each_kind(m, step):
    grid = preference_grid(m, step)
    assert TrainedOn.sampled().preferences(m, step) == [None]
    assert TrainedOn.corners().preferences(m, step) == np.eye(m).tolist()
    assert TrainedOn.centre().preferences(m, step) == [[1 / m] * m]
    assert TrainedOn.grid().preferences(m, step) == grid.tolist()
    inner = [row for row in grid.tolist() if all(value > 0 for value in row)]
    if inner:
        assert TrainedOn.interior().preferences(m, step) == inner
    else:
        with pytest.raises(UserError, match=rf"interior: no preference of {m} objectives is left"):
            TrainedOn.interior().preferences(m, step)
    for i in range(m):
        assert TrainedOn.corner(i).preferences(m, step) == [np.eye(m)[i].tolist()]
    with pytest.raises(UserError, match=rf"corner: no preference of {m} objectives is left"):
        TrainedOn.corner(m).preferences(m, step)


def test_given_ones_come_as_they_are_given_and_for_their_number_of_objectives_alone():
    rows = [[0.2, 0.8], [1, 0], [0.2, 0.8]]
    for given in (rows, np.array(rows), tuple(map(tuple, rows))):
        assert TrainedOn.given(given) == TrainedOn.given(rows)
        assert TrainedOn.given(given).preferences(2, 0.5) == rows
    assert hash(TrainedOn.given(rows)) == hash(TrainedOn.given(np.array(rows)))
    with pytest.raises(UserError, match="given: preferences of 2 objectives; the study has 3"):
        TrainedOn.given(rows).preferences(3, 0.5)


@pytest.mark.parametrize("made", ONE.values(), ids=list(ONE))
def test_one_policy(made):
    assert made.one_policy
    assert len(made.preferences(2, 0.25)) == 1


@pytest.mark.parametrize("made", SEVERAL.values(), ids=list(SEVERAL))
def test_several_policies(made):
    assert not made.one_policy
    assert len(made.preferences(2, 0.25)) > 1


@pytest.mark.parametrize(
    "preferences",
    [
        [],
        [[]],
        [0.5, 0.5],
        0.5,
        None,
        [["a", "b"]],
        [[0.5, 0.6]],
        [[1.5, -0.5]],
        [[float("nan"), 1]],
        [[0.5, 0.5], [0.2, 0.3, 0.5]],
    ],
)
def test_what_is_no_preference_is_refused_when_it_is_written(preferences):
    with pytest.raises(UserError) as refused:
        TrainedOn.given(preferences)
    assert "\n" not in str(refused.value)


def test_an_objective_has_a_place_from_0():
    with pytest.raises(UserError, match=r"TrainedOn.corner\(-1\): an objective's place, from 0"):
        TrainedOn.corner(-1)
