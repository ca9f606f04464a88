"""The world of summaries: its exact parts against a list of every summary, its rewards against arithmetic by hand."""

import itertools
from collections import Counter
from dataclasses import dataclass

import moocore
import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.world import SummarySize, SummaryWorld
from lightning_moa.world.language import END, START
from lightning_moa.world.lexicon import EOS_ID, UNK_ID
from lightning_moa.world.summary_grammar import CLOSED, STATES, Group, states
from lightning_moa.world.summary_lexicon import FACTS, MODES, TOLD
from lightning_moa.world.text import encode_responses, token_rewards, walk

PAIR = ("faithful", "hallucination")
ALL = SummaryWorld.objectives
STORM = "storm roof flood power"
"""Trees and shelter are untold here."""


@pytest.fixture(scope="module")
def world() -> SummaryWorld:
    return SummaryWorld.build(0)


@dataclass(frozen=True)
class Listing:
    world: SummaryWorld
    texts: list[list[str]]
    """Every summary that the reference can give, one list a prompt."""
    logprobs: list[np.ndarray]
    rewards: list[np.ndarray]


@pytest.fixture(scope="module")
def listing() -> Listing:
    tiny = SummaryWorld.build(5, SummarySize.tiny())
    spoken = [word for word in tiny.vocabulary[5:] if word not in FACTS]
    texts = [" ".join(words) for n in range(5) for words in itertools.product(spoken, repeat=n)]
    out = Listing(tiny, [], [], [])
    for prompt in (tiny.prompts[1], tiny.prompts[6]):
        logs = tiny.response_logprob([prompt] * len(texts), texts)
        out.texts.append([text for text, log in zip(texts, logs, strict=True) if log > -np.inf])
        out.logprobs.append(logs[np.isfinite(logs)])
        out.rewards.append(tiny.rewards([prompt] * len(out.texts[-1]), out.texts[-1]))
    return out


def test_sources_tell_three_facts_of_a_topic(world: SummaryWorld) -> None:
    assert len(world.prompts) == len(set(world.prompts)) == 8 * 10
    for prompt in world.prompts:
        topic, *facts = prompt.split()
        assert len(set(facts)) == TOLD
        assert set(facts) < set(FACTS[topic])
    drawn = Counter(world.sample_prompts(8000, np.random.default_rng(0)))
    assert set(drawn) == set(world.prompts)
    assert min(drawn.values()) > 60


@pytest.mark.parametrize("size", [SummarySize(), SummarySize.tiny()])
def test_words_are_unique_and_each_has_one_group_for_each_source(size: SummarySize) -> None:
    grammar = SummaryWorld.build(0, size).grammar
    assert len(set(grammar.words)) == len(grammar.words) < 96
    for source in range(len(grammar.prompts)):
        ids = np.concatenate([members[:, source] for members in grammar.members])
        assert sorted(ids) == list(range(len(grammar.words)))
        for group, members in enumerate(grammar.members):
            assert (grammar.groups[source, members[:, source]] == group).all()
            assert (grammar.slots[source, members[:, source]] == np.arange(len(members))).all()


def test_whether_a_fact_is_told_depends_on_the_source(world: SummaryWorld) -> None:
    roof = world.vocabulary.index("roof")
    found = Counter(
        (("storm" in prompt, "roof" in prompt), Group(world.grammar.groups[source, roof]).name)
        for source, prompt in enumerate(world.prompts)
    )
    assert found == {
        ((True, True), "FACT_0"): 6,
        ((True, False), "UNTOLD"): 4,
        ((False, False), "OFF_TOPIC"): 70,
    }


def test_the_reference_is_a_distribution_in_every_state(world: SummaryWorld) -> None:
    grammar = world.grammar
    assert sorted([START, END, CLOSED, *(index for index, *_ in states())]) == list(range(STATES))
    np.testing.assert_allclose(np.exp(grammar.log_groups).sum(axis=0), 1.0, atol=1e-12)
    for log in grammar.log_tokens:
        assert np.exp(log).sum() == pytest.approx(1.0, abs=1e-12)
    assert world.expected().kl == pytest.approx(0.0, abs=1e-12)


def test_the_reference_sums_to_one_over_all_summaries(listing: Listing) -> None:
    for logprobs in listing.logprobs:
        assert np.exp(logprobs).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("objectives", "preference", "beta"),
    [
        (PAIR, (0.4, 0.6), 0.3),
        (PAIR, (1.0, 0.0), 0.05),
        (ALL, (0.3, 0.5, 0.2), 0.5),
        (("concise",), (1.0,), 1.0),
    ],
)
def test_optimum_agrees_with_enumeration(
    listing: Listing, objectives: tuple[str, ...], preference: tuple[float, ...], beta: float
) -> None:
    optimum = listing.world.optimum(preference, beta, objectives)
    columns = [ALL.index(name) for name in objectives]
    for texts, logprobs, rewards, prompt in zip(
        listing.texts, listing.logprobs, listing.rewards, listing.world.prompts[1:7:5], strict=True
    ):
        tilted = logprobs + rewards[:, columns] @ np.array(preference) / beta
        log_z = np.logaddexp.reduce(tilted)
        chosen = np.exp(tilted - log_z)
        # All sources are alike, so that what holds for one is the expectation over all.
        np.testing.assert_allclose(optimum.rewards, chosen @ rewards[:, columns], atol=1e-9)
        assert optimum.kl == pytest.approx(chosen @ (tilted - log_z - logprobs), abs=1e-9)
        assert optimum.value == pytest.approx(beta * log_z, abs=1e-9)
        got = listing.world.response_logprob([prompt] * len(texts), texts, optimum)
        np.testing.assert_allclose(got, tilted - log_z, atol=1e-9)
        shares = dict.fromkeys(MODES, 0.0)
        for mode, chance in zip(listing.world.modes(texts), chosen, strict=True):
            shares[mode] += chance
        assert optimum.modes["post"] == pytest.approx(shares, abs=1e-9)


@pytest.mark.parametrize("preference", [None, (1.0, 0.0), (0.5, 0.5), (0.1, 0.9)])
def test_expectations_match_monte_carlo(world: SummaryWorld, preference: tuple[float, float] | None) -> None:
    policy = None if preference is None else world.optimum(preference, 0.3, PAIR)
    exact = world.expected(policy)
    rng = np.random.default_rng(2)
    prompts = world.sample_prompts(20_000, rng)
    responses = world.sample_responses(prompts, rng, policy)
    ratio = world.response_logprob(prompts, responses, policy) - world.response_logprob(prompts, responses)
    draws = np.column_stack([world.rewards(prompts, responses), ratio])
    error = draws.std(axis=0) / np.sqrt(len(draws)) + 1e-12
    assert (abs(draws.mean(axis=0) - [*exact.rewards, exact.kl]) < 5 * error).all()
    modes = Counter(world.modes(responses))
    for mode, share in zip(world.mode_names, exact.modes[0], strict=True):
        assert modes[mode] / 20_000 == pytest.approx(share, abs=0.02)


def test_frequencies_match_exact_probabilities(listing: Listing) -> None:
    """Pearson's chi-squared over all summaries that are expected ten times or more, the rest lumped."""
    n, world, texts = 40_000, listing.world, listing.texts[0]
    policy = world.optimum((0.5, 0.5), 0.5, PAIR)
    prompts = [world.prompts[1]] * n
    drawn = Counter(world.sample_responses(prompts, np.random.default_rng(1), policy))
    assert set(drawn) <= set(texts)
    expected = n * np.exp(world.response_logprob(prompts[: len(texts)], texts, policy))
    seen = np.array([drawn[text] for text in texts], dtype=float)
    often = expected >= 10
    expected = np.append(expected[often], expected[~often].sum())
    seen = np.append(seen[often], seen[~often].sum())
    freedom = len(expected) - 1
    assert freedom > 50
    assert ((seen - expected) ** 2 / expected).sum() < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_front_bulges_and_its_middle_is_a_third_mode(seed: int) -> None:
    world = SummaryWorld.build(seed)
    share = np.array([0.0, 0.3, 0.5, 0.7, 1.0])
    grid = np.column_stack([share, 1.0 - share])
    front = world.exact_front(grid, 0.3, PAIR)
    low, high = world.reference_point(0.3, PAIR), world.ideal_point(0.3, PAIR)
    box = moocore.hypervolume((front.rewards - low) / (high - low), ref=[0, 0], maximise=True)
    assert 0.6 < box < 0.85
    embellish, bare, _, attribute = front.modes["post"].T
    assert (attribute[1:4] > [0.7, 0.95, 0.75]).all()
    assert (attribute[[0, 4]] < 0.1).all()
    assert bare[0] > 0.9
    assert embellish[4] > 0.9
    assert (front.rewards[2] > front.rewards[[0, 4]].mean(axis=0) + 0.15 * (high - low)).all()
    np.testing.assert_allclose(world.regret(grid, front.rewards, front.kl, 0.3, PAIR), 0.0, atol=1e-9)
    assert (world.regret(grid[::-1], front.rewards, front.kl, 0.3, PAIR)[[0, 1, 3, 4]] > 0.05).all()


def quality(world: SummaryWorld, objective: str, word: str) -> float:
    return float(world.tables.quality[ALL.index(objective), world.vocabulary.index(word)])


def reward(world: SummaryWorld, response: str) -> list[float]:
    return world.rewards([STORM], [response])[0].tolist()


def test_embellishing(world: SummaryWorld) -> None:
    joy, cost = quality(world, "faithful", "hero"), quality(world, "hallucination", "hero")
    link = quality(world, "faithful", "and")
    assert reward(world, "imagine roof and hero shelter ends") == pytest.approx(
        [
            0.6 + 0.6 + 0.15 * link + 1.1 * joy + 0.75 * 0.8,
            -1.0 - cost - 0.75,
            -1.2,
        ]
    )


def test_attributing(world: SummaryWorld) -> None:
    assert reward(world, "quoting officials flood source roof power over") == pytest.approx(
        [0.5 + 1.2 * 2.4 - 2 * 0.05, 1.4 + 0.85 * 1.8 + 0.6 * 0.1, -1.4]
    )


def test_being_bare(world: SummaryWorld) -> None:
    first, second = (quality(world, "hallucination", word) for word in ("maybe", "unclear"))
    assert reward(world, "briefly maybe unclear power and then over") == pytest.approx(
        [
            -1.4 - 0.3 + 0.3 + 0.15 * quality(world, "faithful", "and") - 0.05,
            1.6 + 0.8 * (first + 0.75 * second) + 0.1,
            -1.4,
        ]
    )


def test_repeating_earns_nothing(world: SummaryWorld) -> None:
    """Each word of the language, said once more after all that it can earn has been earned."""
    told = "{} roof flood power hero hero hero hero maybe maybe"
    for opener in ("imagine", "only", "overall", "quoting"):
        before = np.array(reward(world, told.format(opener)))
        for word in world.vocabulary[5:]:
            gain = np.array(reward(world, f"{told.format(opener)} {word}")) - before
            assert (gain[:2] <= 1e-12).all(), (opener, word)
            assert gain[2] == pytest.approx(-0.2)


@pytest.mark.parametrize("word", ["shelter", "hero", "always", "judge"])
def test_an_invention_is_never_free(world: SummaryWorld, word: str) -> None:
    for opener in ("imagine", "only", "overall", "quoting"):
        costs = [reward(world, " ".join([opener, *[word] * k]))[1] for k in range(9)]
        assert (np.diff(costs) < -0.1).all()


def test_malformed_summaries_cost(world: SummaryWorld) -> None:
    assert reward(world, "") == pytest.approx([-1.0, -1.0, 0.0])
    assert reward(world, "roof") == pytest.approx([-0.4, -1.0, -0.2])
    assert reward(world, "nonsense") == pytest.approx([-1.5, -1.5, -0.2])
    closed = np.array(reward(world, "only roof ends"))
    for word in ("power", "hero", "and", "maybe", "only", "storm", "nonsense", "ends", "<pad>"):
        got = np.array(reward(world, f"only roof ends {word}"))
        np.testing.assert_allclose(got - closed, [-0.5, -0.5, -0.2], atol=1e-12)
    np.testing.assert_allclose(
        np.array(reward(world, "only imagine roof ends")) - closed, [-0.5, -0.5, -0.2], atol=1e-12
    )
    texts = ["", "roof ends", "only only ends", "only roof", "only ends roof", "only storm ends"]
    assert (world.response_logprob([STORM] * len(texts), texts) == -np.inf).all()


def test_rewards_add_up_word_by_word(world: SummaryWorld) -> None:
    rng = np.random.default_rng(0)
    prompts = world.sample_prompts(50, rng)
    responses = world.sample_responses(prompts, rng)
    dense = token_rewards(world.tables, walk(world.grammar, prompts, responses)).cumsum(axis=1)
    for length in (1, 3, 16):
        begun = [" ".join(text.split()[:length]) for text in responses]
        np.testing.assert_allclose(world.rewards(prompts, begun), dense[:, length - 1], atol=1e-12)


def test_the_same_source_in_another_order_is_the_same(world: SummaryWorld) -> None:
    text = "quoting officials flood shelter over"
    dressed = "<bos> " + world.prompt_template.format(prompt="storm power roof flood")
    np.testing.assert_array_equal(world.rewards([STORM], [text]), world.rewards([dressed], [text]))


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "storm",
        "storm roof flood",
        "storm roof roof flood",
        "storm roof flood judge",
        "war roof flood power",
        "roof storm flood power",
        "storm roof roof flood power",
        "storm roof flood power trees",
    ],
)
def test_foreign_prompts_are_refused(world: SummaryWorld, prompt: str) -> None:
    with pytest.raises(UserError, match="not of this world: a topic of storm"):
        world.rewards([prompt], ["only ends"])


def test_the_seed_decides_qualities_and_samples(world: SummaryWorld) -> None:
    again, other = SummaryWorld.build(0), SummaryWorld.build(1)
    assert (world.tables.quality == again.tables.quality).all()
    assert (world.tables.quality != other.tables.quality).any()
    assert world.tables.quality.min() >= 0.6
    assert world.tables.quality.max() <= 1.4

    def draw(seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        return world.sample_responses(world.sample_prompts(100, rng), rng)

    assert draw(0) == draw(0) != draw(1)


def test_summaries_keep_to_the_limit(world: SummaryWorld) -> None:
    rng = np.random.default_rng(4)
    responses = world.sample_responses(world.sample_prompts(2_000, rng), rng)
    lengths = np.array([len(text.split()) for text in responses])
    assert lengths.min() >= 2
    assert lengths.max() == world.max_response_tokens == 16
    ended = np.array([text.split()[-1] in ("ends", "over") for text in responses])
    assert ended[lengths < 16].all()


def test_the_tokenizer_has_the_worlds_ids(world: SummaryWorld) -> None:
    tokenizer = world.tokenizer()
    assert tokenizer.convert_tokens_to_ids(list(world.vocabulary)) == list(range(len(world.vocabulary)))
    rng = np.random.default_rng(0)
    responses = world.sample_responses(world.sample_prompts(50, rng), rng)
    encoded = tokenizer(responses, add_special_tokens=False)["input_ids"]
    for ids, row in zip(encoded, encode_responses(world.grammar, responses), strict=True):
        assert (ids + [EOS_ID] * 16)[:16] == list(row)
        assert UNK_ID not in ids


def test_labels_are_bradley_terry(world: SummaryWorld) -> None:
    n = 20_000
    prompts, first, second = [STORM] * n, ["only maybe ends"] * n, ["quoting source roof hero over"] * n
    gap = (world.rewards(prompts[:1], second[:1]) - world.rewards(prompts[:1], first[:1]))[0]
    labels = world.label_pairs(prompts, first, second, None, np.random.default_rng(0))
    chance = 1 / (1 + np.exp(-gap))
    assert (abs(labels.mean(axis=0) - chance) < 5 * np.sqrt(chance * (1 - chance) / n)).all()


@pytest.mark.parametrize("wrong", [{"topics": 1}, {"facts": 3}, {"vivid": 0}, {"max_response_tokens": 65}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        SummarySize(**wrong)


def test_other_bad_input(world: SummaryWorld) -> None:
    with pytest.raises(UserError, match="seed"):
        SummaryWorld.build(-1)
    with pytest.raises(UserError, match="allowed are different ones of faithful, hallucination, concise"):
        world.optimum((0.5, 0.5), 0.3, ("faithful", "helpful"))
    with pytest.raises(UserError, match="sum to 1"):
        world.optimum((0.5, 0.6), 0.3, PAIR)
