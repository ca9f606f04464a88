import numpy as np
import pandas as pd
import pytest

from lightning_moa.data.configs import DataConfig
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.order import stable_hash
from lightning_moa.data.rows import Rows, pair_tables, split_by_key
from lightning_moa.data.tables import DropReport
from lightning_moa.errors import UserError


def rows(items, keys=None):
    """items: (prompt, response_0, response_1, label)."""
    index = pd.MultiIndex.from_product([["f"], range(1, len(items) + 1)])
    return Rows(
        prompts=[item[0] for item in items],
        responses=[(item[1], item[2]) for item in items],
        reasons=[None] * len(items),
        keys=keys or [item[0] or "" for item in items],
        labels=pd.DataFrame({"good": [item[3] for item in items]}, index=index),
    )


def tables(parts, labels=None, **options):
    report = DropReport()
    choices = choose_labels(labels or {"good": "good"})
    return pair_tables(parts, choices, DataConfig(**options), report), report


def test_the_hash_tells_its_parts_apart_and_never_changes():
    assert stable_hash("ab", "c") != stable_hash("a", "bc")
    assert stable_hash("a") == stable_hash("a")
    assert stable_hash("0", "prompt") == 11189191302531749701


def test_the_split_depends_on_key_and_seed_alone():
    keys = [f"key {i}" for i in range(2000)]
    held = split_by_key(keys, 0.1, 0)
    assert 150 < held.sum() < 250
    order = np.random.default_rng(0).permutation(len(keys))
    np.testing.assert_array_equal(split_by_key([keys[i] for i in order], 0.1, 0), held[order])
    np.testing.assert_array_equal(split_by_key(keys[:100], 0.1, 0), held[:100])
    assert (split_by_key(keys, 0.1, 1) != held).any()
    larger = split_by_key(keys, 0.3, 0)
    assert (larger | ~held).all(), "a larger share holds out what a smaller one does"


def test_neither_side_is_left_empty():
    for seed in range(20):
        for fraction in (0.01, 0.9):
            held = split_by_key(["a", "b", "a"], fraction, seed)
            assert held.tolist() in ([True, False, True], [False, True, False])


def test_rows_of_one_prompt_stay_together():
    items = [(f"p{i % 40}", f"a{i}", f"bb{i}", i % 2) for i in range(200)]
    found, report = tables({"train": rows(items)}, eval_fraction=0.3)
    assert not set(found["train"].prompts) & set(found["eval"].prompts)
    assert len(found["train"]) + len(found["eval"]) == 200
    assert report.kept == {"train": len(found["train"]), "eval": len(found["eval"])}


def test_two_orders_give_the_same_split_and_limit():
    items = [(f"p{i % 90}", f"a{i}", f"bb{i}", i % 2) for i in range(200)]
    for limit in (None, 20):
        first, _ = tables({"train": rows(items)}, limit=limit)
        second, _ = tables({"train": rows(items[::-1])}, limit=limit)
        for split in ("train", "eval"):
            step = -1 if split == "train" else 1
            assert first[split].responses == second[split].responses[::step]
            np.testing.assert_array_equal(first[split].labels, second[split].labels[::step])


def test_every_reason_is_counted():
    train = [
        ("p0", "a", "b", 0),
        ("p1", "a", None, 0),
        (None, "a", "b", 0),
        ("p2", "a", " \n", 0),
        ("p3", "same", " same ", 0),
        ("p4", "a", "b", None),
        ("held", "a", "b", 1),
        ("other words", "a", "b", 1),
        ("p5", "a", "b", 1),
        ("p6", "a", "b", 1),
    ]
    keys = ["p0", "p1", "", "p2", "p3", "p4", "held", "k", "p5", "p6"]
    parts = {
        "train": rows(train, keys),
        "eval": rows([("held", "x", "y", 0), ("q", "x", "y", 0)], ["held", "k"]),
    }
    found, report = tables(parts, limit=2)
    assert len(found["train"]) == 2
    assert report.dropped == {
        "train": {
            "missing text": 2,
            "empty reply": 1,
            "equal replies": 1,
            "no label": 1,
            "prompt also in the evaluation split": 2,
            "beyond data.limit=2": 1,
        }
    }
    assert report.lines()[0] == "eval: 2 pairs kept, 0 dropped"
    assert report.lines()[1].startswith(
        "train: 2 pairs kept, 8 dropped (beyond data.limit=2 1, empty reply 1,"
    )


def test_a_row_with_one_label_left_is_kept():
    items = [(f"p{i}", "a", "bb", None) for i in range(30)]
    found, _ = tables({"train": rows(items)}, {"good": "good", "long": "-shorter"})
    np.testing.assert_array_equal(found["train"].labels[0], [np.nan, 1.0])
    assert found["train"].objectives == ("good", "long")


def test_the_split_does_not_depend_on_the_objectives():
    items = [(f"p{i}", "a", "bb", i % 2 if i % 3 else None) for i in range(60)]
    few, _ = tables({"train": rows(items)})
    many, _ = tables({"train": rows(items)}, {"good": "good", "brief": "shorter"})
    assert set(few["eval"].prompts) <= set(many["eval"].prompts)


def test_a_column_that_bears_the_rule_s_name_is_an_error():
    part = rows([("p", "a", "b", 0)])
    part.labels["shorter"] = [1]
    with pytest.raises(UserError, match="rename the column"):
        tables({"train": part}, {"brief": "shorter"})


def test_an_empty_split_says_why():
    with pytest.raises(UserError, match=r"nothing is left .* 'train' .*empty reply 1"):
        tables({"train": rows([("p", "", "b", 0)]), "eval": rows([("q", "a", "b", 0)])})


def test_empty_prompts_and_halves_of_characters_are_dropped_and_counted():
    good = [(f"p{i}", f"a{i}", f"bb{i}", i % 2) for i in range(20)]
    bad = [
        *[(text, "a", "b", 1) for text in ("", "  \n", "\u00a0\t")],
        *[("half \ud83d", "a", "b", 1), ("p", "a \ude00", "b", 0), ("p", "a", "\ud83d b", 0)],
    ]
    whole = [("p \U0001f600", "a \U0001f525", "b", 1)]
    found, report = tables({"train": rows(good + bad + whole), "eval": rows(good[:3])})
    assert report.dropped["train"]["empty prompt"] == 3
    assert report.dropped["train"]["half a character"] == 3
    assert "p \U0001f600" in found["train"].prompts
