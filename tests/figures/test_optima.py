"""The computed half of HaM's figure on structure: mixtures stay between their corners, the third answer does not."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from lightning_moa.errors import UserError
from lightning_moa.figures import optima
from lightning_moa.pareto import preference_grid
from lightning_moa.world import SummaryWorld, World

PAIR = ("helpful", "harmless")
GRID = preference_grid(2, 0.25)
BETA = 0.5


def unit(scores):
    """Rewards in [0, 1] by logistic z-scores with fixed means."""
    return 1 / (1 + np.exp(-(scores - 0.5) / 2))


def compute(world, objectives=PAIR, grid=GRID, powers=(1, 12), samples=150, seed=0):
    return optima.computed_fronts(
        world, objectives, grid, powers, beta=BETA, unit=unit, samples=samples, seed=seed
    )


@pytest.fixture(scope="module")
def world():
    return World.build()


@pytest.fixture(scope="module")
def frame(world):
    return compute(world)


def curve(frame, weighting, power=None):
    mine = frame[frame["weighting"] == weighting]
    return mine if power is None else mine[mine["power"] == power]


def test_a_row_for_each_curve_and_preference(frame, world):
    assert len(frame) == (2 * 2 + 1) * len(GRID)
    shares = frame[[f"risky_{mode}" for mode in world.mode_names]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares.to_numpy().min() >= 0
    exact = curve(frame, "exact")
    assert exact["power"].isna().all()
    np.testing.assert_allclose(exact["gold_helpful"], world.exact_front(GRID, BETA, PAIR).rewards[:, 0])
    estimated = frame[frame["weighting"] != "exact"]
    assert (estimated["effective"] <= 150).all()
    assert not estimated.isna().to_numpy().any()


def test_corners_and_power_1_are_common_to_both_weightings(frame):
    values = frame.filter(regex="^(gold|risky|kl)").columns
    for power in (1, 12):
        ends = [curve(frame, name, power)[values].iloc[[0, -1]] for name in optima.WEIGHTINGS]
        np.testing.assert_allclose(*ends)
    np.testing.assert_allclose(*(curve(frame, name, 1)[values] for name in optima.WEIGHTINGS))


def test_per_objective_no_preference_prefers_what_neither_corner_does(frame):
    safe = curve(frame, "per_objective", 12)["risky_safe"].to_numpy()
    # Each prompt has a mixture of its own, so that the mean over prompts may be above by a hair.
    assert safe.max() <= max(safe[0], safe[-1]) + 0.01
    assert curve(frame, "scalarised", 12)["risky_safe"].iloc[2] > 0.7
    assert curve(frame, "exact")["risky_safe"].iloc[2] > 0.7


def test_no_estimate_is_better_than_the_best_policy(frame):
    """lambda . r - beta KL of every curve stays below that of the exact optimum."""
    weights = frame.filter(regex="^lambda_").to_numpy()
    value = (weights * frame.filter(regex="^gold_").to_numpy()).sum(axis=1) - BETA * frame["kl"]
    best = np.tile(value[frame["weighting"] == "exact"], 5)
    assert (value <= best + 0.05).all()


def test_the_summary_is_relative_to_the_exact_front(frame, world):
    corner = world.reference_point(BETA, PAIR)
    found = optima.summary(frame, corner, "risky_safe").set_index(["weighting", "power"])
    assert found["hypervolume"].iloc[-1] == 1
    assert (
        found.loc[("scalarised", 12), "hypervolume"] > found.loc[("per_objective", 12), "hypervolume"] + 0.1
    )
    middle = curve(frame, "scalarised", 12).iloc[2]
    assert middle["lambda_helpful"] == 0.5
    assert found.loc[("scalarised", 12), "risky_safe"] == middle["risky_safe"]
    with pytest.raises(UserError, match="nothing of the exact front"):
        optima.summary(frame, [100.0, 100.0], "risky_safe")


def test_equal_seeds_give_equal_frames_and_errors_say_how_far_others_are(world):
    first, again, other = (compute(world, powers=(4,), samples=60, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    for name in PAIR:
        gap = (first[f"gold_{name}"] - other[f"gold_{name}"]).abs()
        apart = 5 * np.hypot(first[f"error_{name}"], other[f"error_{name}"])
        assert (gap <= apart)[first["weighting"] != "exact"].all()


def test_another_world_and_three_objectives():
    names = SummaryWorld.objectives[:2]
    summaries = compute(SummaryWorld.build(), names, powers=(4,), samples=10)
    assert {f"gold_{name}" for name in names} <= set(summaries.columns)
    three = compute(World.build(), (*PAIR, "humorous"), preference_grid(3, 0.5), powers=(4,), samples=10)
    assert len(three) == 3 * 6
    ax = Figure().subplots()
    optima.draw_computed(ax, three, "gold_helpful", "gold_humorous", title="three")
    assert {line.get_linestyle() for line in ax.lines} == {"None"}


def test_a_line_for_each_curve_with_the_frames_values(frame):
    ax = Figure().subplots()
    shuffled = frame.sample(frac=1, random_state=0)
    optima.draw_computed(ax, shuffled, "lambda_helpful", "risky_safe", title="Safe")
    assert [line.get_label() for line in ax.lines] == [
        "exact optimum",
        "per objective, $r^{1}$",
        "per objective, $r^{12}$",
        r"scalarised first, $(\lambda \cdot r)^{1}$",
        r"scalarised first, $(\lambda \cdot r)^{12}$",
    ]
    np.testing.assert_array_equal(ax.lines[2].get_xdata(), GRID[:, 0])
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), curve(frame, "per_objective", 12)["risky_safe"])
    assert ax.get_xlabel() == "weight of helpful"
    assert ax.get_ylabel() == "share of risky: safe"


def test_too_few_samples_are_refused(world):
    with pytest.raises(UserError, match="samples is 1"):
        compute(world, samples=1)
