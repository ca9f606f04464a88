"""The world of summaries as a data set; what it shares with the world of requests is tested there."""

from collections import Counter

import numpy as np
import pytest

from lightning_moa.data import build
from lightning_moa.data.configs import CONFIGS, SyntheticConfig, SyntheticSummariesConfig
from lightning_moa.data.synthetic_summaries import SyntheticSummaries
from lightning_moa.errors import UserError
from lightning_moa.world import SummaryWorld


def summaries(objectives=None, **options):
    settings = {"pairs": 300, "eval_pairs": 100, "sft_rows": 200, **options}
    return build(SyntheticSummariesConfig(**settings), objectives)


@pytest.fixture(scope="module")
def data():
    return summaries()


def test_it_is_registered(data):
    assert CONFIGS["synthetic_summaries"] is SyntheticSummariesConfig
    assert isinstance(data, SyntheticSummaries)
    assert data.objectives == ("faithful", "hallucination")
    with pytest.raises(UserError, match="takes options of type SyntheticSummariesConfig"):
        build(SyntheticConfig(name="synthetic_summaries"))


def test_as_many_rows_as_asked_for(data):
    assert data.table("train").labels.shape == (300, 2)
    assert len(data.table("eval")) == 100
    assert len(data.sft_rows("train")[1]) == 200
    few = summaries(limit=20)
    assert [len(few.table(split)) for split in ("train", "eval")] == [20, 20]


def test_the_same_options_give_the_same_rows_and_another_seed_others(data):
    same, other = summaries(), summaries(seed=1)
    for split in ("train", "eval"):
        one, two = data.table(split), same.table(split)
        assert (one.prompts, one.responses) == (two.prompts, two.responses)
        np.testing.assert_array_equal(one.labels, two.labels)
        assert one.responses != other.table(split).responses
        assert data.sft_rows(split) == same.sft_rows(split)
    assert data.table("train").responses[:100] != data.table("eval").responses


@pytest.mark.parametrize("objectives", [("hallucination", "faithful"), SummaryWorld.objectives])
def test_labels_follow_the_gold_rewards_of_their_objective(objectives):
    many = summaries(objectives, pairs=4000)
    table, gold = many.table("train"), many.gold_rewards()
    assert tuple(gold) == table.objectives == tuple(objectives)
    first, second = zip(*table.responses, strict=True)
    for i, name in enumerate(objectives):
        gap = gold[name](table.prompts, second) - gold[name](table.prompts, first)
        np.testing.assert_allclose(
            gold[name](table.prompts, first), many.world.rewards(table.prompts, first, [name])[:, 0]
        )
        clear = np.abs(gap) > np.quantile(np.abs(gap), 0.8)
        assert (table.labels[clear, i] == (gap[clear] > 0)).mean() > 0.75, name


def test_the_pairs_cover_all_modes(data):
    responses = [text for pair in data.table("train").responses for text in pair]
    assert set(data.world.modes(responses)) == set(data.world.mode_names)


def test_every_source_comes_equally_often(data):
    shown = {split: Counter(data.prompt_list(split)) for split in ("train", "eval")}
    assert len(set(shown["train"].values())) == len(set(shown["eval"].values())) == 1
    assert set(shown["train"]) | set(shown["eval"]) == set(data.world.prompts)
    assert not set(shown["train"]) & set(shown["eval"])
    assert set(Counter(prompt.split()[0] for prompt in shown["eval"]).values()) == {2}, "of each topic's ten"


def test_every_row_is_kept_as_tokens(data):
    tokenizer = data.world_tokenizer()
    for view, rows in (("pairs", 300), ("sequences", 200), ("prompts", 128)):
        encoded = data.encoded(tokenizer, "train", view)
        equal = sum(a == b for a, b in data.table("train").responses) if view == "pairs" else 0
        assert len(encoded) + equal == rows
        assert encoded.dropped.total() == equal
    batch = next(data.batches(tokenizer, "eval", "pairs", 8))
    np.testing.assert_array_equal(batch.labels.numpy(), data.table("eval").labels[batch.index.numpy()])


def test_the_best_policies_are_those_of_the_objectives_in_their_order(data):
    front = data.exact_front(np.eye(2), beta=0.5)
    swapped = summaries(("hallucination", "faithful")).exact_front(np.eye(2)[::-1], beta=0.5)
    np.testing.assert_allclose(front.rewards, swapped.rewards[:, ::-1])
    assert front.mode_names == data.world.mode_names
    assert front.modes["post"].shape == (2, 4)


def test_labellers_give_each_pair_one_label_for_every_objective():
    table = summaries(labellers={"first": [0.9, 0.1], "second": [0.1, 0.9]}).table("train")
    np.testing.assert_array_equal(table.labels[:, 0], table.labels[:, 1])


def test_what_the_world_does_not_know_is_refused():
    with pytest.raises(UserError, match="objectives: 'helpful' is unknown; allowed are faithful"):
        summaries(("faithful", "helpful"))
    with pytest.raises(UserError, match=r"data\.labels: the synthetic world labels its pairs itself"):
        summaries(labels={"a": "b"})
