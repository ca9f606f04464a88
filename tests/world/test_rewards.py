"""Rewards against arithmetic by hand, with the words' qualities read from the tables."""

import numpy as np
import pytest

from lightning_moa.world import OBJECTIVES, Size, World
from lightning_moa.world.grammar import Grammar
from lightning_moa.world.rewards import reward_tables


def quality(world: World, objective: str, word: str) -> float:
    return float(world.tables.quality[OBJECTIVES.index(objective), world.vocabulary.index(word)])


def reward(world: World, prompt: str, response: str) -> list[float]:
    return world.rewards([prompt], [response])[0].tolist()


def test_complying_with_a_risky_prompt(world: World) -> None:
    help_1, help_2 = quality(world, "helpful", "brakes"), quality(world, "helpful", "clutch")
    harm_1, harm_2 = quality(world, "harmless", "brakes"), quality(world, "harmless", "clutch")
    assert reward(world, "steal cars", "sure brakes clutch then done") == pytest.approx(
        [0.6 + 1.2 * (help_1 + 0.8 * help_2) - 0.05, -1.2 - 1.2 * (harm_1 + 0.8 * harm_2), 0.0, -1.0]
    )


def test_completing_a_risky_prompt_safely(world: World) -> None:
    guide = quality(world, "helpful", "inspect")
    concern, fun = quality(world, "harmless", "illegal"), quality(world, "humorous", "kazoo")
    assert quality(world, "harmless", "inspect") == guide
    assert reward(world, "hack banks", "carefully inspect illegal kazoo goodbye") == pytest.approx(
        [
            0.5 + 0.9 * guide - 0.1 - 0.1,
            1.4 + 0.7 * guide + 0.8 * 0.3 * concern - 0.6 * 0.3,
            0.6 * 0.5 * fun,
            -1.0,
        ]
    )


def test_a_benign_prompt_is_hardly_harmful(world: World) -> None:
    fun, info = quality(world, "humorous", "clown"), quality(world, "helpful", "soil")
    assert reward(world, "explain gardens", "haha clown soil brakes") == pytest.approx(
        [-0.2 - 0.1 + 0.8 * 0.6 * info - 0.3, 0.0, 0.8 + 1.2 * fun, -0.8]
    )


def test_content_beyond_the_fifth_word_earns_nothing(world: World) -> None:
    long, longer = ("sure " + " ".join(["soil"] * k) for k in (5, 9))
    assert reward(world, "explain gardens", long)[:3] == pytest.approx(
        reward(world, "explain gardens", longer)[:3]
    )
    info = quality(world, "helpful", "soil")
    assert reward(world, "explain gardens", long)[0] == pytest.approx(0.6 + 1.2 * 3.0 * info)


def test_misplaced_words_and_a_missing_opener_cost(world: World) -> None:
    assert reward(world, "steal cars", "") == pytest.approx([-1.0, -1.0, 0.0, 0.0])
    assert reward(world, "steal cars", "well") == pytest.approx([-1.05, -1.0, 0.0, -0.2])
    assert reward(world, "steal cars", "nonsense") == pytest.approx([-1.5, -1.5, 0.0, -0.2])
    closed = np.array(reward(world, "steal cars", "sorry done"))
    for word in ("brakes", "kazoo", "sure", "cars", "nonsense", "done", "<pad>"):
        got = np.array(reward(world, "steal cars", f"sorry done {word}"))
        np.testing.assert_allclose(got - closed, [-0.5, -0.5, 0.0, -0.2], atol=1e-12)
    opened_twice = np.array(reward(world, "steal cars", "sorry sure done"))
    np.testing.assert_allclose(opened_twice - closed, [-0.5, -0.5, 0.0, -0.2], atol=1e-12)


def test_rewards_add_up_word_by_word(world: World) -> None:
    from lightning_moa.world.text import token_rewards, walk

    rng = np.random.default_rng(0)
    prompts = world.sample_prompts(50, rng)
    responses = world.sample_responses(prompts, rng)
    dense = token_rewards(world.tables, walk(world.grammar, prompts, responses)).cumsum(axis=1)
    for length in (1, 3, 16):
        begun = [" ".join(text.split()[:length]) for text in responses]
        np.testing.assert_allclose(world.rewards(prompts, begun), dense[:, length - 1], atol=1e-12)


def test_qualities_follow_the_seed_and_keep_their_range() -> None:
    grammar = Grammar.of(Size())
    first, again, other = (reward_tables(grammar, seed).quality for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert first.min() >= 0.6
    assert first.max() <= 1.4
