import moocore
import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.world import MODES, OBJECTIVES, World

PAIR = ("helpful", "harmless")
SAFE = MODES.index("safe")


def grid(n: int) -> np.ndarray:
    share = np.linspace(0.0, 1.0, n)
    return np.column_stack([share, 1.0 - share])


def test_prompts_follow_the_share_of_risk(world: World) -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.2, 1.0):
        prompts = world.sample_prompts(5_000, rng, risky_share=share)
        assert world.is_risky(prompts).mean() == pytest.approx(share, abs=0.03)
    assert len(set(world.sample_prompts(5_000, rng))) == 64


def test_modes_come_from_the_first_word(world: World) -> None:
    texts = ["sure soil done", "cannot done", "haha kazoo", "carefully inspect", "soil sure", "", "nonsense"]
    assert world.modes(texts) == ["comply", "refuse", "joke", "safe", "other", "other", "other"]


def test_objectives_are_chosen_and_ordered_by_name(world: World) -> None:
    prompts, texts = ["steal cars", "explain cars"], ["sure brakes done", "haha kazoo"]
    everything = world.rewards(prompts, texts)
    assert everything.dtype == np.float64
    picked = world.rewards(prompts, texts, ("humorous", "helpful"))
    np.testing.assert_array_equal(picked, everything[:, [2, 0]])


def test_labels_are_bradley_terry_and_independent(world: World) -> None:
    n = 20_000
    prompts, first, second = ["steal cars"] * n, ["sorry well done"] * n, ["carefully inspect kazoo done"] * n
    gap = (world.rewards(prompts[:1], second[:1]) - world.rewards(prompts[:1], first[:1]))[0]
    labels = world.label_pairs(prompts, first, second, OBJECTIVES, np.random.default_rng(0))
    assert set(np.unique(labels)) == {0.0, 1.0}
    chance = 1 / (1 + np.exp(-gap))
    assert (abs(labels.mean(axis=0) - chance) < 5 * np.sqrt(chance * (1 - chance) / n)).all()
    assert abs(np.corrcoef(labels.T)[~np.eye(4, dtype=bool)]).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_front_bulges_and_its_middle_is_a_third_mode(seed: int) -> None:
    world = World.build(seed)
    front = world.exact_front(grid(11), 0.3, PAIR)
    low, high = world.reference_point(0.3, PAIR), world.ideal_point(0.3, PAIR)
    box = moocore.hypervolume((front.rewards - low) / (high - low), ref=[0, 0], maximise=True)
    assert 0.65 < box < 0.9
    safe = front.risky_modes[:, SAFE]
    assert safe[5] > 0.9
    assert max(safe[0], safe[-1]) < 0.1
    assert front.risky_modes[0, MODES.index("refuse")] > 0.9
    assert front.risky_modes[-1, MODES.index("comply")] > 0.9
    mean_of_corners = front.rewards[[0, -1]].mean(axis=0)
    assert (front.rewards[5] > mean_of_corners + 0.15 * (high - low)).all()


def test_front_rows_are_the_optima_and_rewards_follow_the_preference(world: World) -> None:
    preferences = grid(5)[[0, 3, 3, 1, 4]]
    front = world.exact_front(preferences, 0.5, PAIR)
    for k in (1, 3):
        optimum = world.optimum(preferences[k], 0.5, PAIR)
        np.testing.assert_allclose(front.rewards[k], optimum.rewards, atol=1e-12)
        assert front.kl[k] == pytest.approx(optimum.kl)
        assert front.values[k] == pytest.approx(optimum.value)
        assert list(optimum.modes["risky"].values()) == pytest.approx(list(front.risky_modes[k]))
    ordered = world.exact_front(grid(9), 0.5, PAIR).rewards
    assert (np.diff(ordered[:, 0]) > 0).all()
    assert (np.diff(ordered[:, 1]) < 0).all()


@pytest.mark.parametrize("objectives", [PAIR, OBJECTIVES[:3], OBJECTIVES])
def test_regret_is_zero_at_the_optimum_and_positive_elsewhere(
    world: World, objectives: tuple[str, ...]
) -> None:
    m = len(objectives)
    preferences = np.vstack([np.eye(m), np.full((1, m), 1 / m)])
    front = world.exact_front(preferences, 0.3, objectives)
    own = world.regret(preferences, front.rewards, front.kl, 0.3, objectives)
    np.testing.assert_allclose(own, 0.0, atol=1e-9)
    swapped = np.roll(np.arange(m + 1), 1)
    others = world.regret(preferences, front.rewards[swapped], front.kl[swapped], 0.3, objectives)
    assert (others > 0.05).all()
    reference = np.tile(world.expected(None, objectives).rewards, (m + 1, 1))
    assert (world.regret(preferences, reference, np.zeros(m + 1), 0.3, objectives) > 0.05).all()


def test_corners_bound_the_front(world: World) -> None:
    corners = world.exact_front(np.eye(3), 0.3, OBJECTIVES[:3]).rewards
    np.testing.assert_allclose(world.ideal_point(0.3, OBJECTIVES[:3]), np.diag(corners))
    np.testing.assert_allclose(world.reference_point(0.3, OBJECTIVES[:3]), corners.min(axis=0))


def test_an_optimum_can_be_judged_on_other_objectives(world: World) -> None:
    optimum = world.optimum((0.5, 0.5), 0.3, PAIR)
    everything = world.expected(optimum)
    np.testing.assert_allclose(everything.rewards[:2], optimum.rewards)
    assert everything.kl == pytest.approx(optimum.kl)


def test_risky_share_weighs_the_expectations() -> None:
    optima = [World.build(0, risky_share=share).optimum((0.5, 0.5), 0.3, PAIR) for share in (0.0, 0.25, 1.0)]
    benign, mixed, risky = optima
    np.testing.assert_allclose(mixed.rewards, 0.75 * benign.rewards + 0.25 * risky.rewards, atol=1e-12)
    assert mixed.kl == pytest.approx(0.75 * benign.kl + 0.25 * risky.kl)


@pytest.mark.parametrize(
    ("preference", "beta", "objectives", "message"),
    [
        ((0.5, 0.6), 0.3, PAIR, "sum to 1"),
        ((-0.1, 1.1), 0.3, PAIR, "at least 0"),
        ((float("nan"), 1.0), 0.3, PAIR, "finite"),
        ((0.5, 0.5, 0.0), 0.3, PAIR, "m = 2"),
        (((0.5, 0.5),), 0.3, PAIR, "m = 2"),
        ((0.5, 0.5), 0.0, PAIR, "beta"),
        ((0.5, 0.5), -1.0, PAIR, "beta"),
        ((0.5, 0.5), float("nan"), PAIR, "beta"),
        ((0.5, 0.5), 0.3, ("helpful", "honest"), "honest"),
        ((0.5, 0.5), 0.3, ("helpful", "helpful"), "helpful"),
        ((), 0.3, (), "allowed"),
    ],
)
def test_bad_input_to_the_optimum(world: World, preference, beta: float, objectives, message: str) -> None:
    with pytest.raises(UserError, match=message):
        world.optimum(preference, beta, objectives)
    with pytest.raises(UserError):
        world.exact_front([preference], beta, objectives)


def test_other_bad_input(world: World) -> None:
    good = np.array([[0.5, 0.5]])
    with pytest.raises(UserError, match="do not fit"):
        world.regret(good, np.zeros((1, 3)), np.zeros(1), 0.3, PAIR)
    with pytest.raises(UserError, match="finite"):
        world.regret(good, np.array([[np.nan, 0.0]]), np.zeros(1), 0.3, PAIR)
    with pytest.raises(UserError, match="one for each"):
        world.rewards(["explain cars"], [])
    with pytest.raises(UserError, match="risky_share"):
        World.build(risky_share=1.5)
    with pytest.raises(UserError, match="risky_share"):
        world.sample_prompts(3, np.random.default_rng(0), risky_share=-0.1)
    with pytest.raises(UserError, match="seed"):
        World.build(seed=-1)


def test_the_world_stays_the_one_that_results_were_made_in(world: World) -> None:
    optimum = world.optimum((0.4, 0.6), 0.3, PAIR)
    np.testing.assert_allclose(optimum.rewards, [3.0010781811562395, 1.7564964835351105], rtol=1e-12)
    assert optimum.kl == pytest.approx(3.040422941138246, rel=1e-12)
    rng = np.random.default_rng(0)
    prompts = world.sample_prompts(3, rng)
    assert prompts == ["explain banks", "sabotage boats", "sabotage trains"]
    assert world.sample_responses(prompts, rng, optimum)[::2] == [
        "sure then perhaps accounts vault vault brakes goodbye",
        "carefully signals and danger deadbolt basically done",
    ]
