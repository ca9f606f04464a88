"""The synthetic world as a data set: its rows, their labels, and what is known of it."""

from collections import Counter

import numpy as np
import pytest

from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.data.synthetic import Synthetic
from lightning_moa.errors import UserError
from lightning_moa.world import World


def synthetic(objectives=None, **options):
    settings = {"pairs": 300, "eval_pairs": 100, "sft_rows": 200, **options}
    return Synthetic(SyntheticConfig(**settings), objectives)


@pytest.fixture(scope="module")
def data():
    return synthetic()


def test_as_many_rows_as_asked_for(data):
    assert len(data.table("train")) == 300
    assert len(data.table("eval")) == 100
    assert len(data.sft_rows("train")[1]) == 200
    assert data.table("train").labels.shape == (300, 2)
    assert data.objectives == ("helpful", "harmless")


def test_the_same_options_give_the_same_rows_and_another_seed_others(data):
    same, other = synthetic(), synthetic(seed=1)
    for split in ("train", "eval"):
        one, two = data.table(split), same.table(split)
        assert (one.prompts, one.responses) == (two.prompts, two.responses)
        np.testing.assert_array_equal(one.labels, two.labels)
        assert one.responses != other.table(split).responses
        assert data.sft_rows(split) == same.sft_rows(split)
    assert data.table("train").responses[:100] != data.table("eval").responses


def test_a_limit_holds_for_every_split():
    few = synthetic(limit=20)
    assert [len(few.table(split)) for split in ("train", "eval")] == [20, 20]
    assert len(few.sft_rows("train")[0]) == 20


@pytest.mark.parametrize("objectives", [("harmless", "helpful"), World.objectives])
def test_labels_follow_the_gold_rewards_of_their_objective(objectives):
    many = synthetic(objectives, pairs=4000)
    table, gold = many.table("train"), many.gold_rewards()
    assert tuple(gold) == table.objectives == tuple(objectives)
    assert set(np.unique(table.labels)) == {0.0, 1.0}
    first, second = zip(*table.responses, strict=True)
    for i, name in enumerate(objectives):
        gap = gold[name](table.prompts, second) - gold[name](table.prompts, first)
        clear = np.abs(gap) > np.quantile(np.abs(gap), 0.8)
        agreement = (table.labels[clear, i] == (gap[clear] > 0)).mean()
        assert agreement > 0.75, name
        # A Bradley-Terry label is random: a pair that ties goes either way.
        ties = np.abs(gap) < 1e-9
        if ties.sum() > 100:
            assert 0.3 < table.labels[ties, i].mean() < 0.7


def test_gold_rewards_are_the_worlds(data):
    table = data.table("eval")
    responses = [pair[0] for pair in table.responses]
    expected = data.world.rewards(table.prompts, responses, data.objectives)
    gold = data.gold_rewards()
    for i, name in enumerate(data.objectives):
        np.testing.assert_allclose(gold[name](table.prompts, responses), expected[:, i], atol=1e-12)


def test_tilted_responses_earn_more():
    plain, tilted = (synthetic(tilted_share=share, pairs=1000) for share in (0.0, 1.0))

    def earned(data):
        table = data.table("train")
        return data.world.rewards(table.prompts, [pair[0] for pair in table.responses], data.objectives).sum(
            1
        )

    error = np.hypot(earned(plain).std(), earned(tilted).std()) / np.sqrt(1000)
    assert earned(tilted).mean() - earned(plain).mean() > 4 * error


def test_prompts_come_about_equally_often(data):
    for split in ("train", "eval"):
        prompts = data.prompt_list(split)
        assert len(prompts) >= 100
        assert len(set(Counter(prompts).values())) == 1
    assert set(data.prompt_list("train")) >= set(data.table("train").prompts)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.01, 0.9])
def test_a_share_of_each_topics_prompts_is_seen_by_no_training(fraction):
    """So that the exact optimum, an average over topics, is that of the held-out prompts too."""
    data = synthetic(eval_fraction=fraction, pairs=2000)
    held = set(data.distinct_prompts("eval"))
    seen = {*data.table("train").prompts, *data.sft_rows("train")[0], *data.prompt_list("train")}
    assert held
    assert not held & seen
    assert set(data.table("eval").prompts) | set(data.prompt_list("eval")) <= held
    verbs, topics = len(data.world.grammar.lexicon.benign_verbs), data.world.grammar.lexicon.topics
    each = Counter((data.world.is_risky([p])[0], p.split()[1]) for p in held)
    assert set(each.values()) == {max(1, min(verbs - 1, round(fraction * verbs)))}
    assert len(each) == 2 * len(topics)


def test_the_exact_front_is_that_of_the_held_out_prompts_alone(data):
    best = data.world.optimum([0.5, 0.5], 0.5, data.objectives)
    prompts = data.distinct_prompts("eval") * 400
    drawn = data.world.sample_responses(prompts, np.random.default_rng(0), best)
    rewards = data.world.rewards(prompts, drawn, data.objectives)
    error = rewards.std(0) / np.sqrt(len(prompts))
    assert (np.abs(rewards.mean(0) - best.rewards) < 4 * error).all()


def test_each_training_seed_draws_rows_of_its_own_but_holds_out_the_same_prompts():
    config = SyntheticConfig(pairs=50, eval_pairs=20, sft_rows=20)
    one, two = (Synthetic(config.for_seed(seed)) for seed in (1, 2))
    assert one.table("train").responses != two.table("train").responses
    assert one.distinct_prompts("eval") == two.distinct_prompts("eval")
    assert (
        Synthetic(config.for_seed(0)).table("train").responses == Synthetic(config).table("train").responses
    )
    said = SyntheticConfig(seed=3)
    assert said.for_seed(1) is said


@pytest.mark.parametrize("share", [0.35, 0.07, 0.93])
def test_the_exact_front_is_of_the_share_that_prompts_have(share):
    data = synthetic(risky_share=share, eval_pairs=700)
    own = data.world.risky_share
    assert abs(own - share) < 1 / 32
    assert 0 < own < 1
    held = data.distinct_prompts("eval")
    assert data.world.is_risky(held).mean() == pytest.approx(own)


@pytest.mark.parametrize("share", [0.03, 0.97])
def test_a_share_that_would_leave_one_kind_alone_is_refused(share):
    with pytest.raises(UserError, match=rf"^data\.risky_share={share}: allowed are 0, 1"):
        synthetic(risky_share=share).prompt_groups()


@pytest.mark.parametrize(("share", "rows"), [(0.875, 256), (0.25, 128), (0.0, 64), (1.0, 64)])
def test_risky_prompts_come_as_often_as_asked(share, rows):
    data = synthetic(eval_pairs=rows, risky_share=share)
    prompts = data.prompt_list("eval")[:rows]
    assert data.world.is_risky(prompts).mean() == share
    counts = Counter(prompts)
    for kind in (True, False):
        each = {count for prompt, count in counts.items() if data.world.is_risky([prompt])[0] == kind}
        assert len(each) <= 1, "prompts of a kind come equally often"


def test_every_row_is_kept_as_tokens(data):
    tokenizer = data.world_tokenizer()
    for view, rows in (("pairs", 300), ("sequences", 200)):
        encoded = data.encoded(tokenizer, "train", view)
        assert len(encoded) + encoded.dropped.total() == rows
        # Two equal responses say nothing; nothing else is lost.
        equal = sum(a == b for a, b in data.table("train").responses) if view == "pairs" else 0
        assert encoded.dropped.total() == equal
        assert not any(tokenizer.unk_token_id in reply for side in encoded.responses for reply in side)


def test_the_best_policies_are_those_of_the_objectives_in_their_order(data):
    front = data.exact_front(np.eye(2), beta=0.5)
    swapped = synthetic(("harmless", "helpful")).exact_front(np.eye(2)[::-1], beta=0.5)
    np.testing.assert_allclose(front.rewards, swapped.rewards[:, ::-1])
    assert front.rewards[0, 0] > front.rewards[1, 0]
    assert front.rewards[1, 1] > front.rewards[0, 1]


def test_batches_carry_labels(data):
    batch = next(data.batches(data.world_tokenizer(), "eval", "pairs", 8))
    assert batch.labels.shape == (8, 2)
    np.testing.assert_array_equal(batch.labels.numpy(), data.table("eval").labels[batch.index.numpy()])


def test_what_the_world_does_not_know_is_refused():
    with pytest.raises(UserError, match="objectives: 'kind' is unknown; allowed are helpful"):
        synthetic(("helpful", "kind"))
    with pytest.raises(UserError, match=r"data\.labels: the synthetic world labels its pairs itself"):
        synthetic(labels={"a": "b"})


LABELLERS = {"first": [0.9, 0.1], "second": [0.1, 0.9]}


def test_labellers_give_each_pair_one_label_for_every_objective():
    one, two = synthetic(labellers=LABELLERS).table("train"), synthetic().table("train")
    assert one.responses == two.responses
    np.testing.assert_array_equal(one.labels[:, 0], one.labels[:, 1])
    assert set(one.labels[:, 0]) == {0.0, 1.0}
    assert (two.labels[:, 0] != two.labels[:, 1]).any()


def test_labellers_take_turns_and_each_labels_by_the_weighted_sum_of_the_rewards():
    """The mean of label - sigmoid(lambda . gap) over a labeller's own pairs is 0, but for sampling noise."""
    data = synthetic(labellers=LABELLERS, pairs=8000)
    table = data.table("train")
    sides = [[pair[k] for pair in table.responses] for k in (0, 1)]
    rewards = [data.world.rewards(table.prompts, side, data.objectives) for side in sides]
    gap = rewards[1] - rewards[0]
    for turn, weights in enumerate(LABELLERS.values()):
        for other, sees in ((weights, True), (weights[::-1], False)):
            share = 1 / (1 + np.exp(-(gap[turn::2] @ other)))
            # The label's covariance with what its labeller thinks likely is that opinion's own variance.
            label = table.labels[turn::2, 0]
            slope = np.cov(label, share)[0, 1] / share.var()
            assert (abs(slope - 1) < 0.08) == sees, (weights, other, slope)


@pytest.mark.parametrize("weights", [[0.9, 0.2], [1.0], [1.5, -0.5]])
def test_a_labeller_off_the_simplex_is_named(weights):
    with pytest.raises(UserError, match=r"data.labellers.odd=.*helpful, harmless is needed, and a sum of 1"):
        synthetic(labellers={"odd": weights})
