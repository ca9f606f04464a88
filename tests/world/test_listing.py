"""A tiny world as a table, held to the dynamic programming of the same world."""

import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.world import SummaryWorld, World
from lightning_moa.world.listing import Listing
from lightning_moa.world.summary_lexicon import SummarySize
from lightning_moa.world.thresholds import ThresholdWorld

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


def test_no_response_has_a_larger_reward_than_the_worlds_largest(table, tiny):
    world = World.build(seed=5, size=tiny.grammar.size)
    np.testing.assert_allclose(world.largest_rewards(NAMES), table.rewards.max(axis=(0, 1)))
    assert (world.largest_rewards(NAMES) > world.ideal_point(1e-3, NAMES) + 1e-3).any(), (
        "a mean is no largest"
    )
    made = ThresholdWorld.build(size=tiny.grammar.size)
    listed = Listing.of(made, made.objectives)
    np.testing.assert_allclose(made.largest_rewards(), listed.rewards.max(axis=(0, 1)))
    # Prompts of the summaries are alike in what can be had, so there the best policy without a KL has it always.
    alike = SummaryWorld.build(3, SummarySize.tiny())
    greedy = alike.exact_front(np.eye(3), 1e-3).rewards
    np.testing.assert_allclose(alike.largest_rewards(), np.diag(greedy))


def test_samples_come_close_to_the_largest_reward_and_not_over_it(world):
    rng, largest = np.random.default_rng(0), world.largest_rewards(NAMES)
    for i, weights in enumerate(np.eye(2)):
        prompts = world.sample_prompts(2000, rng)
        best = world.rewards(
            prompts, world.sample_responses(prompts, rng, world.optimum(weights, 0.01, NAMES))
        )
        assert largest[i] - 0.3 < best[:, world.objectives.index(NAMES[i])].max() <= largest[i] + 1e-9


def test_the_reference_spends_nothing(table):
    assert table.expected(table.logps)[1] == 0


def test_a_large_world_is_refused(world):
    with pytest.raises(UserError, match=r"listing: .* texts of up to 16; allowed are 100,000"):
        Listing.of(world, NAMES)


def test_a_world_that_it_would_tell_wrongly_of_is_refused(tiny):
    uneven = World.build(seed=5, risky_share=0.25, size=tiny.grammar.size)
    with pytest.raises(
        UserError, match=r"listing: each prompt must be as likely .* benign 0\.75 of 2, risky 0\.25 of 2"
    ):
        Listing.of(uneven, NAMES)
    alike = SummaryWorld.build(3, SummarySize.tiny())
    with pytest.raises(
        UserError, match=r"listing: the responses of words that no prompt has make up 0\.\d+ of"
    ):
        Listing.of(alike, alike.objectives)
