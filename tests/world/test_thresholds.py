"""The world of thresholds: its optimum held to every response of a tiny one, and what mean rewards miss."""

import numpy as np
import pytest
import torch

from lightning_moa.aggregation import Linear, SmoothTchebycheff, Tchebycheff
from lightning_moa.errors import UserError
from lightning_moa.world import Size, ThresholdWorld, World
from lightning_moa.world.language import END
from lightning_moa.world.listing import Listing
from lightning_moa.world.policy import expect, solve
from lightning_moa.world.tracked import Tracked

NAMES = ("helpful", "humorous")
BETA = 0.3
USERS = np.array([[0.0, 1.0], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])


@pytest.fixture(scope="module")
def full():
    return ThresholdWorld.build()


@pytest.fixture(scope="module")
def small():
    return ThresholdWorld.build(size=Size.tiny())


@pytest.fixture(scope="module")
def table(small):
    """Gold rewards, by the code that scores texts and not by the one that tracks sums."""
    return Listing.of(small, NAMES)


@pytest.fixture(scope="module")
def earned(small, table):
    """(P, R, 2) what each response earns, counted or not."""
    responses = list(table.responses)
    return np.array([small.earned([prompt] * len(responses), responses) for prompt in table.prompts])


def test_a_response_counts_where_all_reach_their_thresholds():
    world = ThresholdWorld.build((0.5, 1.0))
    texts = [
        "sure soil kazoo giggle clown done",
        "sure soil seeds done",
        "haha kazoo clown goodbye",
        "",
        "sure sure soil",
    ]
    earned = world.earned(["explain gardens"] * len(texts), texts)
    # 0.5 + 1.25, and 0.5 in jokes that come second, third and fourth: 0.5, 0.25, 0.25
    np.testing.assert_allclose(earned[0], [1.75, 1.0])
    rewards = world.rewards(["explain gardens"] * len(texts), texts)
    np.testing.assert_allclose(rewards, earned * [[1], [0], [0], [0], [0]])
    np.testing.assert_allclose(
        world.rewards(["explain gardens"], texts[:1], ["humorous"]), [[1.0]], err_msg="one alone, too"
    )
    ungated = World.build(0).rewards(["explain gardens"] * len(texts), texts, NAMES)
    assert np.abs(ungated - earned).max() < 1.0, "the rewards of the other world, rounded and of equal words"


def test_the_tables_of_sums_agree_with_every_response(small, table):
    np.testing.assert_allclose(np.exp(table.logps).sum(axis=1), 1)
    rewards, _ = table.expected(table.logps)
    np.testing.assert_allclose(small.expected().rewards, rewards)
    assert (rewards > 0).all()


@pytest.mark.parametrize("user", USERS[[0, 2, 3]].tolist())
def test_the_optimum_is_that_over_all_responses(small, table, user):
    best = small.optimum(user, BETA)
    rewards, kl = table.expected(table.tilted(table.rewards @ np.array(user), BETA))
    np.testing.assert_allclose(best.rewards, rewards)
    assert best.kl == pytest.approx(kl)
    assert small.regret([user], [best.rewards], [best.kl], BETA) == pytest.approx(0)


@pytest.mark.parametrize("weight", [0.1, BETA, 2.0])
def test_the_best_policy_for_mean_rewards_is_that_over_all_responses(small, table, earned, weight):
    user = USERS[1]
    found = small.scalarised(user, BETA, weight)
    rewards, kl = table.expected(table.tilted(earned @ user, weight))
    np.testing.assert_allclose(found.rewards, rewards)
    assert found.kl == pytest.approx(kl)
    assert found.value == pytest.approx(user @ rewards - BETA * kl)


def test_samples_of_the_optimum_are_worth_what_it_is(full):
    rng = np.random.default_rng(0)
    best = full.optimum((0.5, 0.5), BETA)
    prompts = full.sample_prompts(4000, rng)
    responses = full.sample_responses(prompts, rng, best)
    gold = full.rewards(prompts, responses)
    assert (abs(gold.mean(axis=0) - best.rewards) < 4 * gold.std(axis=0) / len(gold) ** 0.5).all()
    spent = full.response_logprob(prompts, responses, best) - full.response_logprob(prompts, responses)
    assert spent.mean() == pytest.approx(best.kl, abs=4 * spent.std() / len(spent) ** 0.5)


def test_no_weighted_sum_is_largest_where_both_thresholds_are_reached(full):
    """Of whole responses that miss one, against all responses and beginnings of responses that reach both."""
    sums = full.grammar.sums
    reach, whole = (sums >= full.thresholds).all(axis=1), full.grammar.origin == END
    shares = np.linspace(0, 1, 1001)
    scores = sums @ np.stack([shares, 1 - shares])
    below = scores[whole & ~reach].max(axis=0) - scores[reach].max(axis=0)
    assert below.min() == 0.25


@pytest.mark.parametrize(
    ("world", "shares", "weights", "loss"),
    [
        ("small", (0.0, 0.25, 0.5, 0.75, 1.0), (0.1, BETA, 0.5, 1.0, 2.0, 5.0, 20.0), 0.205),
        ("full", (0.0, 0.5), (BETA, 3.0), 0.529),
    ],
)
def test_no_weights_of_mean_rewards_come_near_the_optimum(world, shares, weights, loss, request):
    """Whatever the weights and the weight of the KL, the best policy for mean rewards is hardly above the reference."""
    world = request.getfixturevalue(world)
    tried = [world.scalarised((share, 1 - share), BETA, weight) for share in shares for weight in weights]
    worth = np.array([USERS @ each.rewards - BETA * each.kl for each in tried]).max(axis=0)
    best = world.exact_front(USERS, BETA).values
    assert (worth - USERS @ world.expected().rewards < 0.015).all()
    assert (best - worth).min() == pytest.approx(loss, abs=1e-3)


def test_what_scores_responses_by_their_utility_gets_there_and_mean_rewards_do_not(small, table, earned):
    """A policy as a table, by natural gradient ascent on exact expectations."""
    user, best = USERS[2], small.optimum(USERS[2], BETA)
    start, prompts = torch.tensor(table.logps), len(table.prompts)

    def trained(rewards, aggregate):
        policy, scored = start.exp(), torch.tensor(rewards)
        for _ in range(150):
            policy.requires_grad_()
            kl = (policy * (policy.log() - start)).sum() / prompts
            means = torch.einsum("pr,prm->m", policy, scored) / prompts
            (slope,) = torch.autograd.grad(aggregate(-means, torch.tensor(user)) + BETA * kl, policy)
            policy = (policy.log() - 0.3 * prompts * slope).softmax(-1).detach()
        gold, kl = table.expected(policy.log().numpy())
        return user @ gold - BETA * kl

    assert trained(table.rewards, Linear()) == pytest.approx(best.value, abs=1e-4)
    at_most = small.expected().rewards @ user + 0.015
    for aggregate in (Linear(), Tchebycheff([4.0, 4.0]), SmoothTchebycheff(0.5, [4.0, 4.0])):
        assert trained(earned, aggregate) < at_most < best.value - 0.2


def test_tchebycheff_of_each_response_favours_those_that_are_good_at_both(full):
    """Knowing no threshold; of mean rewards it gains nothing. Beside what the page on the benchmark says."""
    balanced = full.grammar.tables(lambda sums: (sums * 0.5).min(axis=1, keepdims=True))
    policy = solve(full.grammar, balanced, np.ones(1), 0.1)
    found = expect(full.grammar, full.tables, policy, full.kind_shares)
    worth = 0.5 * found.rewards.sum() - BETA * found.kl
    assert worth == pytest.approx(0.377, abs=1e-3)
    assert worth < full.optimum((0.5, 0.5), BETA).value == pytest.approx(0.696, abs=1e-3)
    assert 0.5 * full.expected().rewards.sum() == pytest.approx(0.118, abs=1e-3)


def test_labellers_see_what_is_earned(full):
    n = 4000
    first, second = ["haha kazoo done"] * n, ["sure soil done"] * n
    labels = full.label_pairs(["explain gardens"] * n, first, second, None, np.random.default_rng(0))
    gap = full.earned(["explain gardens"], second[:1]) - full.earned(["explain gardens"], first[:1])
    assert (full.rewards(["explain gardens"] * 2, [first[0], second[0]]) == 0).all()
    np.testing.assert_allclose(labels.mean(axis=0), (1 / (1 + np.exp(-gap)))[0], atol=0.04)


def test_what_is_not_of_this_world_is_refused(full):
    with pytest.raises(UserError, match="is risky: this world's are benign"):
        full.rewards(["steal cars"], ["sure done"])
    for thresholds in ([1.0], [0.0, 1.0], [float("nan"), 1.0]):
        with pytest.raises(UserError, match="a number above 0 for each of helpful, humorous"):
            ThresholdWorld.build(thresholds)
    with pytest.raises(UserError, match="no response reaches them"):
        ThresholdWorld.build((4.0, 4.0), Size.tiny())
    with pytest.raises(UserError, match="sum to 1"):
        full.scalarised((0.5, 0.6), BETA)
    with pytest.raises(UserError, match="beta is 0"):
        full.scalarised((0.5, 0.5), BETA, 0)
    plain = World.build(0)
    with pytest.raises(UserError, match="one kind of prompt"):
        Tracked.of(plain.grammar, plain.tables)
