"""Clusters of prompts: topics found, numbers stable, equal prompts together."""

import subprocess
import sys

import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.evaluation.clusters import cluster_prompts
from lightning_moa.world import World

TOPICS = {
    "cats": ["my cat sleeps", "a cat purrs loudly", "the cat and a kitten", "cat food for my kitten"],
    "cars": ["repair brakes of cars", "new brakes", "brakes and clutch of cars"],
    "sums": ["2 plus 2", "2 plus 3 plus 7"],
}
TEXTS = [text for texts in TOPICS.values() for text in texts]
TRUTH = np.repeat([0, 1, 2], [4, 3, 2])


def test_topics_are_found_and_numbered_by_size():
    order = np.random.default_rng(0).permutation(len(TEXTS))
    found = cluster_prompts([TEXTS[i] for i in order], 3, seed=0)
    np.testing.assert_array_equal(found, TRUTH[order])
    assert found.dtype == np.int64


def test_equal_prompts_share_a_cluster_and_count_as_often_as_they_come():
    # The smallest topic, twice more: now it is the largest.
    prompts = TEXTS + TOPICS["sums"] * 2
    found = cluster_prompts(prompts, 3, seed=1)
    np.testing.assert_array_equal(found[:9], [1, 1, 1, 1, 2, 2, 2, 0, 0])
    np.testing.assert_array_equal(found[9:], [0] * 4)


def test_often_repeated_prompts_pull_the_centres():
    # Of four prompts, two alike pairs would be split in the middle; weight keeps the heavy one by itself.
    prompts = ["a b c d", "a b c e", "a b f g", "a h f g"]
    plain = cluster_prompts(prompts, 2, seed=0)
    assert plain[0] == plain[1] != plain[2] == plain[3]
    heavy = cluster_prompts([*prompts, *["a b c d"] * 500, *["a b c e"] * 500], 2, seed=0)
    assert heavy[0] != heavy[1]


def test_as_many_clusters_as_prompts_are_the_prompts_in_their_order():
    prompts = ["b", "a", "c", "a", "b", "a"]
    # a comes three times, b twice; one-letter words count.
    np.testing.assert_array_equal(cluster_prompts(prompts, 3, seed=0), [1, 0, 2, 0, 1, 0])
    np.testing.assert_array_equal(cluster_prompts(["z", "y", "x"], 3, seed=5), [0, 1, 2])


def test_one_cluster_needs_no_words():
    np.testing.assert_array_equal(cluster_prompts(["?", "!", "?"], 1, seed=0), [0, 0, 0])


def test_neither_a_repetition_nor_the_order_of_prompts_changes_the_clusters():
    prompts = World.build(seed=0).sample_prompts(200, np.random.default_rng(3))
    found = cluster_prompts(prompts, 8, seed=4)
    np.testing.assert_array_equal(found, cluster_prompts(prompts, 8, seed=4))
    back = cluster_prompts(prompts[::-1], 8, seed=4)[::-1]
    np.testing.assert_array_equal(found[:, None] == found, back[:, None] == back)
    assert sorted(set(found)) == list(range(8))
    assert (np.diff(np.bincount(found)) <= 0).all()


@pytest.mark.parametrize(
    ("prompts", "clusters", "message"),
    [
        ([], 1, "none to cluster"),
        (["a", "b", "a"], 0, r"0 of 2 distinct prompts; allowed are 1 to 2"),
        (["a", "b", "a"], 3, r"3 of 2 distinct prompts; allowed are 1 to 2"),
        (["?", "!"], 2, "no words in any of 2"),
        (["a b", "b a", "c"], 3, "3, the prompts' words tell only 2 apart"),
    ],
)
def test_what_cannot_be_clustered_is_refused(prompts, clusters, message):
    with pytest.raises(UserError, match=message):
        cluster_prompts(prompts, clusters, seed=0)


def test_scikit_learn_loads_with_the_first_use_only():
    code = "import sys, lightning_moa.evaluation.clusters; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
