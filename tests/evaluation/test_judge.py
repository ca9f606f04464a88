"""Win rates against direct comparison, their symmetry, and how often their intervals cover the truth."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binomtest, sem, ttest_1samp
from scipy.stats import t as student

from lightning_moa.errors import UserError
from lightning_moa.evaluation import RewardJudge, WinRate, win_rate
from lightning_moa.rewards import Normalised, RuleRewards
from lightning_moa.world import World


def by_number(prompts, first, second):
    """The larger number wins."""
    ours, theirs = np.array(first, dtype=float), np.array(second, dtype=float)
    return 0.5 + 0.5 * np.sign(ours - theirs)


def names(n):
    return [f"prompt {i}" for i in range(n)]


def rate_of(values, prompts=None, **options) -> WinRate:
    """The win rate where the pairs' values are these: an unbiased judge that says so in both orders."""
    values = np.asarray(values, dtype=float)
    return win_rate(
        lambda *_: np.concatenate([values, 1 - values]),
        names(len(values)) if prompts is None else prompts,
        ["x"] * len(values),
        ["y"] * len(values),
        **options,
    )


@pytest.fixture(scope="module")
def world():
    return World.build(seed=1)


@pytest.fixture(scope="module")
def texts(world):
    """Prompts, responses of the most helpful policy and of the reference."""
    rng = np.random.default_rng(0)
    prompts = world.sample_prompts(300, rng)
    optimum = world.optimum([1.0, 0.0], 0.5, world.objectives[:2])
    return prompts, world.sample_responses(prompts, rng, optimum), world.sample_responses(prompts, rng)


# What a win rate is


def test_a_perfect_judge_of_a_policy_that_always_wins_gives_one():
    result = win_rate(by_number, names(30), ["2"] * 30, ["1"] * 30)
    assert (result.rate, result.high, result.position_bias) == (1.0, 1.0, 0.0)
    assert result.low == pytest.approx(binomtest(30, 30).proportion_ci(method="wilson").low)
    assert (result.n, result.prompts, result.ties, result.unusable) == (30, 30, 0, 0)


@pytest.mark.parametrize(("verdict", "bias"), [(1.0, 1.0), (0.0, -1.0)])
def test_a_judge_that_looks_at_the_place_alone_gives_a_half_and_its_bias(verdict, bias):
    result = win_rate(lambda p, a, b: np.full(len(p), verdict), names(20), ["2"] * 20, ["1"] * 20)
    assert (result.rate, result.position_bias, result.ties) == (0.5, bias, 20)


def test_every_pair_is_judged_in_both_orders():
    asked = []

    def judge(prompts, first, second):
        asked.extend(zip(prompts, first, second, strict=True))
        return by_number(prompts, first, second)

    win_rate(judge, ["p", "q"], ["1", "2"], ["3", "4"])
    assert sorted(asked) == [("p", "1", "3"), ("p", "3", "1"), ("q", "2", "4"), ("q", "4", "2")]


def test_by_hand():
    # Values: 1 (agreed), 0.5 (the first place won twice), 0.75 (one verdict and one tie), 0 (agreed).
    result = win_rate(lambda *_: [1, 1, 1, 0, 0, 1, 0.5, 1], names(4), list("aaaa"), list("bbbb"))
    assert result.rate == (1 + 0.5 + 0.75 + 0) / 4
    assert result.position_bias == (0 + 1 + 0.5 + 0) / 4
    assert result.ties == 1


def test_unusable_pairs_are_counted_and_left_out():
    nan = np.nan
    verdicts = [1, nan, 1, 0, 0, 0, nan, 1]
    result = win_rate(lambda *_: verdicts, names(4), list("aaaa"), list("bbbb"))
    assert (result.n, result.unusable, result.prompts, result.rate) == (2, 2, 2, 0.5)
    kept = win_rate(lambda *_: [1, 0, 0, 1], names(2), list("aa"), list("bb"))
    assert (result.low, result.high, result.position_bias) == (kept.low, kept.high, kept.position_bias)


QUARTERS = st.sampled_from([0.0, 0.5, 1.0, np.nan, 0.3])


@given(st.lists(st.tuples(QUARTERS, QUARTERS, st.sampled_from("pqrs")), min_size=1, max_size=40))
def test_swapping_the_policies_mirrors_everything_exactly(rows):
    forward, backward, prompts = zip(*rows, strict=True)
    known = {("1", "2"): dict(enumerate(forward)), ("2", "1"): dict(enumerate(backward))}

    def judge(_, first, second):
        n = len(rows)
        pairs = zip(first, second, strict=True)
        return np.array([known[pair][i % n] for i, pair in enumerate(pairs)], dtype=float)

    ones, twos = ["1"] * len(rows), ["2"] * len(rows)
    if np.isnan(np.add(forward, backward)).all():
        with pytest.raises(UserError, match="no usable verdict"):
            win_rate(judge, prompts, ones, twos)
        return
    ours, theirs = win_rate(judge, prompts, ones, twos), win_rate(judge, prompts, twos, ones)
    assert ours.rate == 1 - theirs.rate
    assert (ours.low, ours.high) == (1 - theirs.high, 1 - theirs.low)
    assert ours.position_bias == pytest.approx(theirs.position_bias)
    assert (ours.n, ours.ties, ours.unusable) == (theirs.n, theirs.ties, theirs.unusable)
    assert 0 <= ours.low <= ours.rate <= ours.high <= 1


# The interval


def score_interval(means, confidence):
    """The p that a score test with the standard error's effective sample size does not reject, by root finding."""
    rate, t = np.mean(means), student.ppf(0.5 + confidence / 2, len(means) - 1)
    ratio = sem(means) ** 2 / (rate * (1 - rate))

    def excess(p):
        return (rate - p) ** 2 - t**2 * p * (1 - p) * ratio

    return brentq(excess, 0, rate), brentq(excess, rate, 1)


@pytest.mark.parametrize(("pairs", "confidence"), [(1, 0.95), (1, 0.8), (4, 0.95)])
def test_it_is_the_score_interval_of_the_prompts_means(pairs, confidence):
    values = np.random.default_rng(pairs).choice([0.0, 0.5, 1.0], size=(25, pairs), p=[0.1, 0.2, 0.7])
    result = rate_of(values.ravel(), prompts=list(np.repeat(names(25), pairs)), confidence=confidence)
    assert (result.low, result.high) == pytest.approx(score_interval(values.mean(1), confidence), abs=1e-9)
    assert (result.n, result.prompts) == (25 * pairs, 25)


def test_with_many_prompts_it_is_students_t():
    values = np.random.default_rng(0).choice([0.0, 0.5, 1.0], size=20_000, p=[0.2, 0.2, 0.6])
    result = rate_of(values)
    expected = ttest_1samp(values, 0.5).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_the_same_pair_many_times_tells_no_more_than_once():
    values, prompts = np.array([1.0, 0, 1, 1, 0.5, 0]), names(6)
    once, often = rate_of(values, prompts), rate_of(np.tile(values, 7), prompts * 7)
    assert (often.rate, often.low, often.high) == pytest.approx((once.rate, once.low, once.high))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_values_get_wilsons_interval_over_prompts(value):
    result = rate_of([value] * 40, prompts=names(20) * 2)
    expected = binomtest(int(20 * value), 20).proportion_ci(0.95, method="wilson")
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))


def test_one_prompt_gets_the_interval_of_one_trial():
    result = rate_of([1, 1, 1, 1], prompts=["p"] * 4)
    assert result.low == pytest.approx(binomtest(1, 1).proportion_ci(method="wilson").low)
    assert rate_of([1, 0], prompts=["p"] * 2).low < 0.1


def test_higher_confidence_is_wider():
    values = [1, 0, 1, 1, 0.5]
    narrow, wide = rate_of(values, confidence=0.5), rate_of(values, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def covered(truth, draw, prompts, repeats=1500):
    """How often the interval covers the true rate."""
    results = [rate_of(draw(), prompts) for _ in range(repeats)]
    return np.mean([result.low <= truth <= result.high for result in results])


@pytest.mark.parametrize(("truth", "n"), [(0.5, 40), (0.7, 40), (0.9, 30), (0.95, 60)])
def test_it_covers_the_true_rate_as_often_as_it_says(truth, n):
    rng = np.random.default_rng(0)
    assert 0.93 <= covered(truth, lambda: rng.random(n) < truth, names(n)) <= 0.99


def test_it_covers_the_true_rate_where_ties_are_many():
    rng = np.random.default_rng(0)
    shares = [0.1, 0.6, 0.3]
    assert 0.93 <= covered(0.6, lambda: rng.choice([0.0, 0.5, 1.0], size=60, p=shares), names(60)) <= 0.97


def test_it_covers_the_true_rate_where_prompts_repeat():
    rng = np.random.default_rng(0)
    prompts = list(np.repeat(names(30), 5))

    def draw():
        # How good the first policy is differs from prompt to prompt; 0.6 of the time it wins.
        return rng.random((30, 5)) < rng.beta(0.6, 0.4, size=(30, 1))

    assert 0.93 <= covered(0.6, lambda: draw().ravel(), prompts) <= 0.97
    # Were all pairs taken for independent, it would not.
    assert covered(0.6, lambda: draw().ravel(), names(150)) < 0.85


# Rewards as the judge


@pytest.mark.parametrize("objective", ["helpful", "harmless"])
def test_the_gold_judge_agrees_with_direct_comparison(world, texts, objective):
    prompts, ours, theirs = texts
    gold = RuleRewards(
        {name: lambda p, r, i=name: world.rewards(p, r, [i])[:, 0] for name in world.objectives}
    )
    result = win_rate(RewardJudge(gold, objective), prompts, ours, theirs)
    gap = world.rewards(prompts, ours, [objective])[:, 0] - world.rewards(prompts, theirs, [objective])[:, 0]
    direct = np.where(abs(gap) <= 1e-6, 0.5, gap > 0)
    assert result.rate == pytest.approx(direct.mean())
    assert (result.position_bias, result.ties) == (0, (direct == 0.5).sum())
    # The most helpful policy helps more than the reference, and harms more.
    assert (result.low > 0.5) if objective == "helpful" else (result.high < 0.5)


def lengths() -> RuleRewards:
    return RuleRewards(
        {
            "long": lambda _, responses: np.array([len(text) for text in responses]),
            "short": lambda _, responses: -np.array([float(len(text)) for text in responses]),
            "vowels": lambda _, responses: np.array([sum(c in "aeiou" for c in text) for text in responses]),
        }
    )


def test_a_preference_weighs_any_number_of_objectives():
    prompts, first, second = ["p"] * 3, ["bbbb", "aa", "ab"], ["aaa", "bb", "ba"]
    assert RewardJudge(lengths(), "long")(prompts, first, second).tolist() == [1, 0.5, 0.5]
    assert RewardJudge(lengths(), "short")(prompts, first, second).tolist() == [0, 0.5, 0.5]
    weighed = RewardJudge(lengths(), [0.5, 0.0, 0.5])
    assert weighed(prompts, first, second).tolist() == [0, 1, 0.5]
    assert weighed.about["preference"] == {"long": 0.5, "short": 0.0, "vowels": 0.5}


def test_scores_within_the_tolerance_are_a_tie():
    scaled = Normalised(RuleRewards({"long": lengths().rules["long"]}), [0.0], [10.0])
    judged = [RewardJudge(scaled, "long", tolerance)(["p"], ["aaa"], ["aa"])[0] for tolerance in (0.09, 0.11)]
    assert judged == [1, 0.5]


def test_each_response_is_scored_once():
    asked = []

    def rule(prompts, responses):
        asked.extend(zip(prompts, responses, strict=True))
        return np.array([len(text) for text in responses])

    win_rate(
        RewardJudge(RuleRewards({"long": rule}), "long"), ["p", "p", "q"], ["a", "a", "a"], ["b", "bb", "a"]
    )
    assert sorted(asked) == [("p", "a"), ("p", "b"), ("p", "bb"), ("q", "a")]


def test_no_pairs_no_verdicts():
    assert RewardJudge(lengths(), "long")([], [], []).shape == (0,)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (([], [], []), "0 pairs"),
        ((["p"], ["a", "b"], ["a"]), "1 prompts, 2 first and 1 second responses"),
    ],
)
def test_wrong_pairs_are_the_users_to_mend(arguments, line):
    with pytest.raises(UserError, match=line):
        win_rate(by_number, *arguments)


@pytest.mark.parametrize(
    ("verdicts", "line"),
    [
        ([1.0], r"shape \(1,\).*each of 2 pairs"),
        ([2.0, 0.0], "verdict 2.0"),
        ([np.inf, 0.0], "verdict inf"),
        ([np.nan, 1.0], "no usable verdict on any of 1 pairs"),
    ],
)
def test_a_judge_that_breaks_its_promise_is_named(verdicts, line):
    with pytest.raises(UserError, match=line):
        win_rate(lambda *_: np.array(verdicts), ["p"], ["a"], ["b"])


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_a_wrong_confidence_is_refused(confidence):
    with pytest.raises(UserError, match="confidence="):
        win_rate(by_number, ["p"], ["1"], ["2"], confidence=confidence)


@pytest.mark.parametrize(
    ("preference", "tolerance", "line"),
    [
        ("lonng", 0.0, "'lonng'.*long, short, vowels"),
        ([0.5, 0.5], 0.0, "3 weights"),
        ([[0.5, 0.5, 0.0]], 0.0, "a judge has one"),
        ([0.5, 0.5, 0.5], 0.0, "sum to 1"),
        ("long", -1.0, "tolerance=-1.0"),
        ("long", float("nan"), "tolerance=nan"),
    ],
)
def test_a_reward_judge_says_what_it_takes(preference, tolerance, line):
    with pytest.raises(UserError, match=line):
        RewardJudge(lengths(), preference, tolerance)


def test_a_reward_that_is_no_number_is_refused():
    bad = RuleRewards({"bad": lambda p, r: np.full(len(p), np.nan)})
    with pytest.raises(UserError, match="reward 'bad'"):
        RewardJudge(bad, "bad")(["p"], ["a"], ["b"])


def test_judges_load_without_torch():
    code = "import sys; from lightning_moa.evaluation import EndpointJudge, win_rate; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
