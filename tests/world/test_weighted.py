"""The optimum of weighted likelihood against a table of responses that can be gone through one by one."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from lightning_moa.errors import UserError
from lightning_moa.world import World
from lightning_moa.world.weighted import per_objective_weights, scalarised_weights, weighted_optimum

PROMPTS = ("steal cars", "explain cars")
SHARES = {PROMPTS[0]: 0.3, PROMPTS[1]: 0.7}
LAMBDA = np.array([0.2, 0.5, 0.3])


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray]:
    """Two prompts with four responses each: reference (2, 4) and rewards (2, 4, 3)."""
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(4), size=2), rng.random((2, 4, 3))


def rows(reference: np.ndarray, n: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Prompt, place of the prompt and response of n rows a prompt."""
    places = np.repeat([0, 1], n)
    chosen = [rng.choice(4, size=n, p=each) for each in reference]
    return [PROMPTS[i] for i in places], places, np.concatenate(chosen)


def exact(reference: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """p* (2, 4)."""
    tilted = reference * weights
    return tilted / tilted.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("weigh", [per_objective_weights, scalarised_weights])
def test_p_star_is_what_maximises_weighted_likelihood(table: tuple[np.ndarray, np.ndarray], weigh) -> None:
    reference, rewards = table
    weights = np.stack([weigh(each, LAMBDA, 4) for each in rewards])

    def loss(logits: np.ndarray) -> float:
        return -float((reference * weights * log_softmax(logits.reshape(2, 4), axis=1)).sum())

    found = np.exp(log_softmax(minimize(loss, np.zeros(8), tol=1e-12).x.reshape(2, 4), axis=1))
    np.testing.assert_allclose(exact(reference, weights), found, atol=1e-3)


@pytest.mark.parametrize("weigh", [per_objective_weights, scalarised_weights])
def test_samples_give_the_tables_expectations(table: tuple[np.ndarray, np.ndarray], weigh) -> None:
    reference, rewards = table
    share = np.array([0.3, 0.7])
    p_star = exact(reference, np.stack([weigh(each, LAMBDA, 4) for each in rewards]))
    wanted = share @ np.einsum("py,pyv->pv", p_star, rewards)
    kl = float(share @ (p_star * np.log(p_star / reference)).sum(axis=1))
    rng = np.random.default_rng(1)
    for n, digits in ((500, 0.05), (50_000, 0.005)):
        prompts, at, chosen = rows(reference, n, rng)
        values = rewards[at, chosen]
        got = weighted_optimum(prompts, weigh(values, LAMBDA, 4), values, SHARES)
        assert (abs(got.values - wanted) < 4 * got.errors).all()
        assert (got.errors < digits).all()
        assert got.kl == pytest.approx(kl, abs=2 * digits)
        assert 1 <= got.effective <= n


def test_standard_errors_are_the_spread_of_repetitions(table: tuple[np.ndarray, np.ndarray]) -> None:
    reference, rewards = table
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        prompts, at, chosen = rows(reference, 400, rng)
        values = rewards[at, chosen]
        found.append(weighted_optimum(prompts, scalarised_weights(values, LAMBDA, 4), values))
    spread = np.std([each.values for each in found], axis=0)
    np.testing.assert_allclose(np.mean([each.errors for each in found], axis=0), spread, rtol=0.15)


def test_weighted_per_objective_it_is_the_mixture_of_single_objective_optima() -> None:
    """For one prompt, weights ~ lambda_j E_ref[r_j^q]; for several, prompt by prompt."""
    rng = np.random.default_rng(3)
    rewards, values = rng.random((60, 3)), rng.normal(size=(60, 2))
    corners = np.stack([weighted_optimum(["x"] * 60, rewards[:, j] ** 4, values).values for j in range(3)])
    share = LAMBDA * (rewards**4).mean(axis=0)
    got = weighted_optimum(["x"] * 60, per_objective_weights(rewards, LAMBDA, 4), values)
    np.testing.assert_allclose(got.values, share / share.sum() @ corners, rtol=1e-12)


def test_a_third_answer_is_found_by_scalarising_first_alone() -> None:
    # Comply, refuse, and an answer that is nearly as good as either at both.
    rewards, mode = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.8]]), np.eye(3)
    even = np.array([0.5, 0.5])
    mixed = weighted_optimum(["x"] * 3, per_objective_weights(rewards, even, 12), mode).values
    first = weighted_optimum(["x"] * 3, scalarised_weights(rewards, even, 12), mode).values
    assert mixed[2] < 0.15
    assert first[2] > 0.99


@pytest.mark.parametrize("power", [1, 4, 12.5])
def test_both_agree_on_a_single_objective(table: tuple[np.ndarray, np.ndarray], power: float) -> None:
    rewards = table[1].reshape(8, 3)
    for corner in np.eye(3):
        np.testing.assert_allclose(
            per_objective_weights(rewards, corner, power), scalarised_weights(rewards, corner, power)
        )
    np.testing.assert_allclose(
        per_objective_weights(rewards, LAMBDA, 1), scalarised_weights(rewards, LAMBDA, 1)
    )


def test_equal_weights_give_the_reference_and_shares_follow_the_rows() -> None:
    prompts, values = ["a", "a", "b"], np.array([[1.0], [3.0], [8.0]])
    got = weighted_optimum(prompts, [5.0, 5.0, 0.1], values)
    assert got.values == pytest.approx(2 / 3 * 2 + 1 / 3 * 8)
    assert got.kl == pytest.approx(0)
    assert got.effective == pytest.approx(1)
    assert weighted_optimum(prompts, np.ones(3), values, {"a": 3, "b": 1}).values == pytest.approx(3.5)


def test_the_worlds_reference_comes_out(tiny: World) -> None:
    rng = np.random.default_rng(4)
    distinct = sorted(set(tiny.sample_prompts(1_000, rng)))
    prompts = distinct * 2_000
    shares = dict(zip(distinct, tiny.kind_shares[tiny.is_risky(distinct).astype(int)], strict=True))
    values = tiny.rewards(prompts, tiny.sample_responses(prompts, rng))
    got = weighted_optimum(prompts, np.ones(len(prompts)), values, shares)
    assert (abs(got.values - tiny.expected().rewards) < 4 * got.errors).all()


@pytest.mark.parametrize(
    ("prompts", "weights", "values", "shares", "message"),
    [
        ([], [], np.empty((0, 1)), None, "0 prompts"),
        (["a"], [1.0, 1.0], [[1.0]], None, "do not fit"),
        (["a"], [1.0], [1.0], None, "do not fit"),
        (["a"], [-1.0], [[1.0]], None, "at least 0"),
        (["a"], [np.nan], [[1.0]], None, "finite"),
        (["a"], [1.0], [[np.inf]], None, "finite"),
        (["a", "b"], [1.0, 0.0], [[1.0], [1.0]], None, "all 0 for prompt 'b'"),
        (["a", "b"], [1.0, 1.0], [[1.0], [1.0]], {"a": 1.0}, "prompt 'b' has none above 0"),
    ],
)
def test_bad_rows_are_named(prompts, weights, values, shares, message: str) -> None:
    with pytest.raises(UserError, match=message):
        weighted_optimum(prompts, weights, values, shares)


@pytest.mark.parametrize(
    ("rewards", "preference", "power", "message"),
    [
        ([[0.0, 1.2]], [0.5, 0.5], 1, r"outside \[0, 1\]"),
        ([[0.0, np.nan]], [0.5, 0.5], 1, r"outside \[0, 1\]"),
        ([[0.0, 1.0]], [0.5, 0.4], 1, "sum to 1"),
        ([[0.0, 1.0]], [1.5, -0.5], 1, "at least 0"),
        ([[0.0, 1.0]], [1.0], 1, "do not fit"),
        ([[0.0, 1.0]], [0.5, 0.5], 0, "power is 0"),
    ],
)
def test_bad_rewards_and_preferences_are_named(rewards, preference, power: float, message: str) -> None:
    for weigh in (per_objective_weights, scalarised_weights):
        with pytest.raises(UserError, match=message):
            weigh(rewards, preference, power)
