from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_moa.data.base import distinct_prompts
from lightning_moa.data.order import spread


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(0, 3))
def test_any_first_rows_hold_each_subset_s_share(subsets, seed):
    order = spread([(str(i),) for i in range(len(subsets))], subsets, seed)
    assert sorted(order) == list(range(len(subsets)))
    for count in range(1, len(subsets) + 1):
        found = Counter(subsets[i] for i in order[:count])
        for name, size in Counter(subsets).items():
            assert abs(found[name] - count * size / len(subsets)) <= 1


def test_the_order_hangs_on_the_seed_and_on_a_row_s_own_texts():
    texts = [(f"prompt {i}", "a", "b") for i in range(200)]
    order = spread(texts, ["one"] * 200, 0)
    assert not np.array_equal(order, np.arange(200))
    assert not np.array_equal(order, spread(texts, ["one"] * 200, 1))
    backwards = spread(texts[::-1], ["one"] * 200, 0)
    assert [texts[i] for i in order] == [texts[::-1][i] for i in backwards]
    # Without every other row the rest stand as they stood.
    half = spread(texts[::2], ["one"] * 100, 0)
    assert [texts[::2][i] for i in half] == [texts[i] for i in order if i % 2 == 0]


@pytest.mark.parametrize("subsets", [["x", "x", "x", "y", "y", "y"], []])
def test_prompts_to_evaluate_on_are_taken_from_every_subset(subsets):
    prompts = ["p", "p", "q", "r", "s", "s"]
    assert distinct_prompts(prompts, subsets, "train", 0) == ["p", "q", "r", "s"]
    found = distinct_prompts(prompts, subsets, "eval", 0)
    assert sorted(found) == ["p", "q", "r", "s"]
    if subsets:
        assert len({*found[:2]} & {"p", "q"}) == len({*found[2:]} & {"p", "q"}) == 1
