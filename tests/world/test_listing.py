"""A tiny world as a table, held to the dynamic programming of the same world."""

import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.world import World
from lightning_moa.world.listing import Listing

NAMES = ("helpful", "harmless")


@pytest.fixture(scope="module")
def table(tiny):
    return Listing.of(World.build(seed=5, size=tiny.grammar.size), NAMES)


def test_all_responses_are_there(table):
    np.testing.assert_allclose(np.exp(table.logps).sum(axis=1), 1)
    assert table.rewards.shape == (len(table.prompts), len(table.responses), 2)
    assert len(table.prompts) == 4


def test_the_best_policy_is_the_worlds_own(table, tiny):
    world = World.build(seed=5, size=tiny.grammar.size)
    for weights in ([0.3, 0.7], [1.0, 0.0]):
        rewards, kl = table.expected(table.tilted(table.rewards @ np.array(weights), 0.3))
        best = world.optimum(weights, 0.3, NAMES)
        np.testing.assert_allclose(rewards, best.rewards)
        assert kl == pytest.approx(best.kl)


def test_the_reference_spends_nothing(table):
    assert table.expected(table.logps)[1] == 0


def test_a_large_world_is_refused(world):
    with pytest.raises(UserError, match=r"listing: .* texts of up to 16; allowed are 100,000"):
        Listing.of(world, NAMES)
