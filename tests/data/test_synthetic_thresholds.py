"""The world of thresholds as a data set; what it shares with the world of requests is tested there."""

from collections import Counter

import numpy as np
import pytest

from lightning_moa.data import build
from lightning_moa.data.configs import SyntheticThresholdsConfig
from lightning_moa.errors import UserError

NAMES = ("helpful", "humorous")


@pytest.fixture(scope="module")
def data():
    return build(SyntheticThresholdsConfig(pairs=4000, eval_pairs=100, sft_rows=200))


def test_labels_are_of_what_is_earned_and_gold_of_what_counts(data):
    assert data.objectives == NAMES
    table, gold, world = data.table("train"), data.gold_rewards(), data.world
    first, second = (list(each) for each in zip(*table.responses, strict=True))
    counts = np.column_stack([gold[name](table.prompts, first) for name in NAMES])
    np.testing.assert_array_equal(counts, world.rewards(table.prompts, first))
    earned = world.earned(table.prompts, first)
    both = (earned >= 0.5).all(axis=1)
    assert 0.1 < both.mean() < 0.9
    np.testing.assert_array_equal(counts, earned * both[:, None])
    gap = world.earned(table.prompts, second) - earned
    in_vain = ~both & (world.rewards(table.prompts, second) == 0).all(axis=1)
    for i, name in enumerate(NAMES):
        clear = in_vain & (np.abs(gap[:, i]) > 1.5)
        assert clear.sum() > 50, name
        assert (table.labels[clear, i] == (gap[clear, i] > 0)).mean() > 0.75, name


def test_a_quarter_of_each_topics_prompts_is_held_out(data):
    shown = {split: set(data.prompt_list(split)) for split in ("train", "eval")}
    assert shown["train"] | shown["eval"] == set(data.world.prompts)
    assert not shown["train"] & shown["eval"]
    assert set(Counter(prompt.split()[1] for prompt in shown["eval"]).values()) == {1}


def test_the_best_policies_are_those_of_the_thresholds(data):
    front = data.exact_front(np.eye(2), beta=0.3)
    np.testing.assert_allclose(front.rewards, data.world.exact_front(np.eye(2), 0.3).rewards)
    swapped = build(SyntheticThresholdsConfig(), NAMES[::-1]).exact_front(np.eye(2)[::-1], beta=0.3)
    np.testing.assert_allclose(front.rewards, swapped.rewards[:, ::-1])
    higher = build(SyntheticThresholdsConfig(thresholds=[1.0, 0.5])).exact_front(np.eye(2), beta=0.3)
    assert (higher.values < front.values).all()


def test_what_the_world_does_not_know_is_refused():
    with pytest.raises(UserError, match="objectives: 'harmless' is unknown; allowed are helpful, humorous"):
        build(SyntheticThresholdsConfig(), ("helpful", "harmless"))
    with pytest.raises(UserError, match="no response reaches them"):
        SyntheticThresholdsConfig(thresholds=[4.0, 4.0]).check_rows(NAMES)
