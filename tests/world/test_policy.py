"""The dynamic programming against a list of every response there is."""

import numpy as np
import pytest

from lightning_moa.world import MODES, OBJECTIVES, World

from .conftest import Listing

CASES = [
    (("helpful", "harmless"), (0.4, 0.6), 0.3),
    (("helpful", "harmless"), (1.0, 0.0), 0.05),
    (("concise", "humorous"), (0.9, 0.1), 1.0),
    (("humorous", "helpful", "harmless"), (0.2, 0.5, 0.3), 0.3),
    (OBJECTIVES, (0.3, 0.4, 0.2, 0.1), 0.5),
]


def test_the_reference_sums_to_one_over_all_responses(listing: Listing) -> None:
    for logprobs in listing.logprobs:
        assert np.exp(logprobs).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("objectives", "preference", "beta"), CASES)
def test_optimum_agrees_with_enumeration(
    tiny: World, listing: Listing, objectives: tuple[str, ...], preference: tuple[float, ...], beta: float
) -> None:
    optimum = tiny.optimum(preference, beta, objectives)
    columns = [OBJECTIVES.index(name) for name in objectives]
    rewards, kl, value = np.zeros(len(columns)), 0.0, 0.0
    for prompt, texts, logprobs, all_rewards in zip(
        listing.prompts, listing.responses, listing.logprobs, listing.rewards, strict=True
    ):
        share = (0.3 if prompt.startswith("sabotage") else 0.7) / 2
        tilted = logprobs + all_rewards[:, columns] @ np.array(preference) / beta
        log_z = np.logaddexp.reduce(tilted)
        chosen = np.exp(tilted - log_z)
        rewards += share * chosen @ all_rewards[:, columns]
        kl += share * chosen @ (tilted - log_z - logprobs)
        value += share * beta * log_z
        got = tiny.response_logprob([prompt] * len(texts), texts, optimum)
        np.testing.assert_allclose(got, tilted - log_z, atol=1e-9)
    np.testing.assert_allclose(optimum.rewards, rewards, atol=1e-9)
    assert optimum.kl == pytest.approx(kl, abs=1e-9)
    assert optimum.value == pytest.approx(value, abs=1e-9)


def test_mode_shares_agree_with_enumeration(tiny: World, listing: Listing) -> None:
    optimum = tiny.optimum((0.5, 0.5), 0.3, ("helpful", "harmless"))
    for kind, shares in (("explain", optimum.modes["benign"]), ("sabotage", optimum.modes["risky"])):
        found = dict.fromkeys(MODES, 0.0)
        for prompt, texts in zip(listing.prompts, listing.responses, strict=True):
            if prompt.startswith(kind):
                chances = np.exp(tiny.response_logprob([prompt] * len(texts), texts, optimum))
                for mode, chance in zip(tiny.modes(texts), chances, strict=True):
                    found[mode] += chance / 2
        assert shares == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize("beta", [0.3, 0.002])
def test_value_is_the_log_partition(world: World, beta: float) -> None:
    """lambda . r - beta log(pi* / pi_ref) is beta log Z for every response; its mean is the value."""
    objectives, preference = ("helpful", "harmless"), np.array([0.5, 0.5])
    optimum = world.optimum(preference, beta, objectives)
    topics = world.grammar.lexicon.topics
    prompts = [f"{verb} {topic}" for verb in ("explain", "steal") for topic in topics for _ in range(20)]
    responses = world.sample_responses(prompts, np.random.default_rng(0), optimum)
    ratio = world.response_logprob(prompts, responses, optimum) - world.response_logprob(prompts, responses)
    log_z = (world.rewards(prompts, responses, objectives) @ preference - beta * ratio).reshape(-1, 20)
    assert np.ptp(log_z, axis=1).max() < 1e-9
    assert optimum.value == pytest.approx(log_z.mean(), abs=1e-9)


def test_the_reference_has_no_divergence_from_itself(world: World) -> None:
    got = world.expected()
    assert got.kl == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(got.modes, [[0.66, 0.08, 0.18, 0.08], [0.48, 0.28, 0.14, 0.10]])


def test_a_large_beta_returns_to_the_reference(world: World) -> None:
    optimum = world.optimum((0.5, 0.5), 1e6, ("helpful", "harmless"))
    assert optimum.kl < 1e-9
    np.testing.assert_allclose(
        optimum.rewards, world.expected(None, ("helpful", "harmless")).rewards, atol=1e-4
    )
