"""Data sets of one's own: named 'module:Class', made of nothing but rows."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lightning_moa.data import DataConfig, RowData, build, data_entry
from lightning_moa.data.given_rows import rows_of
from lightning_moa.errors import UserError
from tests.data import my_data

NAME = "tests.data.my_data:MyData"


class Given(RowData):
    """Rows that a test gives."""

    given: object = ()

    def rows(self):
        return self.given


class Plain:
    pass


class Unwritten(RowData):
    pass


class ThreeArguments(Given):
    def __init__(self, config, objectives, folder):
        super().__init__(config, objectives)


class OtherConfig(Given):
    Config = dict


class NoDecorator(Given):
    class Config(DataConfig):
        year: int = 2024


def of(given, **options):
    data = Given(DataConfig(name="given", labels={"good": "good"}, **options))
    data.given = given
    return data


def test_a_data_set_of_rows_is_like_any_other(tokenizer):
    entry = data_entry(NAME)
    config = entry.config(name=NAME, questions=60, max_length=96, max_response_length=64)
    data = build(config, ["brief", "careful"])
    assert type(data) is my_data.MyData
    assert (entry.config, data.objectives) == (my_data.MyConfig, ("brief", "careful"))
    train, held = data.table("train"), data.table("eval")
    assert len(train) + len(held) == 60, "what nobody has judged is still the shorter or the longer one"
    assert 1 <= len(held) <= 15
    assert not set(train.prompts) & set(held.prompts)
    for prompt, pair, (brief, careful) in zip(train.prompts, train.responses, train.labels, strict=True):
        i = int(prompt.removeprefix("what of ").removesuffix("?"))
        assert pair[int(brief)].startswith("quickly")
        assert np.isnan(careful) == (i % 5 == 0)
    batch = next(iter(data.batches(tokenizer, "train", "pairs", 4)))
    assert batch.labels.shape == (4, 2)


def test_rows_may_be_mappings_and_bring_their_own_evaluation():
    data = my_data.Split(DataConfig(labels={"good": "good", "bad": "-good"}))
    assert data.table("eval").prompts == ["e"]
    np.testing.assert_array_equal(data.table("eval").labels, [[1, 0]])
    np.testing.assert_array_equal(data.table("train").labels[:, 0], [0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize("split", ["train", "eval"])
def test_an_objective_without_any_label_is_refused_before_anything_is_trained(tmp_path, tokenizer, split):
    def rows(name):
        kind = [None if name == split else i % 2 for i in range(8)]
        return [(f"{name} {i}", "one", "two", {"good": i % 2, "kind": kind[i]}) for i in range(8)]

    class Both(Given):
        def eval_rows(self):
            return rows("eval")

    said = rf"^kind: none of the 8 {split} pairs has a label; more pairs"
    for folder in (None, str(tmp_path)):
        data = Both(DataConfig(name="given", path=folder, labels={"good": "good", "kind": "kind"}))
        data.given = rows("train")
        with pytest.raises(UserError, match=said):
            data.use(tokenizer, "pairs", batch_size=2, steps=1, seed=0)
        # Rewards that come from elsewhere need no label.
        data.use(tokenizer, "pairs", batch_size=2, steps=1, seed=0, rewards=np.zeros((8, 2, 2)))
        data.use(tokenizer, "prompts", batch_size=2, steps=1, seed=0)


def test_a_study_of_ones_own_data_is_refused_for_it_while_it_is_planned(tmp_path):
    config = my_data.MyConfig(
        name=NAME, path=str(tmp_path), questions=5, labels={"a": "careful", "b": "shorter"}
    )
    config.check_rows(("a", "b"))
    config.questions = 2
    with pytest.raises(UserError, match=r"^a: none of the 1 (train|eval) pairs has a label"):
        config.check_rows(("a", "b"))


def test_bad_texts_are_dropped_and_counted():
    rows = [("p", "a", "b", {"good": np.int64(i % 2)}) for i in range(9)]
    rows = [(f"{p}{i}", a, b, label) for i, (p, a, b, label) in enumerate(rows)]
    data = of([*rows, (None, "a", "b", {"good": 1}), ("p", "a", " a", {"good": 1}), ("p", "a", "b", {})])
    assert len(data.table("train")) + len(data.table("eval")) == 9
    dropped = sum(data.report.dropped.values(), start=type(data.report.kept)())
    assert dropped == {"missing text": 1, "equal replies": 1, "no label": 1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "Given.rows() gave NoneType: rows are needed"),
        ([], "Given.rows() gave no rows"),
        (
            [("p", "a", "b", {"good": 1}), ("p", "a", "b")],
            "Given.rows(), row 2 has 3 values: (prompt, response_0,",
        ),
        (["text"], "Given.rows(), row 1 is a str: (prompt, response_0, response_1, labels) or a mapping"),
        ([("p", "a", 3, {"good": 1})], "Given.rows(), row 1, response_1: text is expected, got int"),
        (
            [("p", "a", "b", 1)],
            "Given.rows(), row 1: its labels must be a mapping of label to 0, 1 or None, got int",
        ),
        (
            [{"prompt": "p", "response_0": "a", "good": 1}],
            "Given.rows(), row 1 has no 'response_1'; it has prompt,",
        ),
        ([("p", "a", "b", {"good": 2})], "Given.rows(), row 1, column 'good': allowed are 0, 1, false, true"),
        (
            [("p", "a", "b", {"fine": 1})],
            "data.labels.good=good: there is no such label column; available are fine",
        ),
    ],
)
def test_a_row_of_another_shape_is_named(given, said):
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        of(given).table("train")
    assert "\n" not in str(caught.value)


def test_rows_may_come_one_by_one():
    rows = rows_of((("p", "a", "b", {"x": None, "y": i}) for i in range(2)), "here")
    assert rows.responses == [("a", "b")] * 2
    assert rows.labels["y"].tolist() == [0, 1]
    assert rows.labels.index.tolist() == [("here", 1), ("here", 2)]


HERE = f"{__name__}:"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "pair",
            r"data=pair: allowed are answers, beavertails, .*pairs.* \(did you mean pairs\?\), .*module:Class",
        ),
        ("no_data:MyData", "data=no_data:MyData: no such module"),
        (
            "tests.data.my_data:MyDate",
            r"the module tests.data.my_data has no MyDate \(did you mean MyData\?\)",
        ),
        (f"{HERE}test_rows_may_come_one_by_one", "a class is needed, this is of type function"),
        (f"{HERE}Plain", r"Plain: no data set, it has no batches, .* use; make it a subclass of .*RowData"),
        (f"{HERE}Unwritten", r"Unwritten: its method rows\(\) is still to be written"),
        (f"{HERE}ThreeArguments", r"must be built as ThreeArguments\(config, objectives\) .*'folder'"),
        (f"{HERE}OtherConfig", "its Config must be a dataclass that is a subclass of"),
        (f"{HERE}NoDecorator", "its Config lacks @dataclass"),
    ],
)
def test_what_is_no_data_set_is_refused(name, said):
    with pytest.raises(UserError, match=said) as caught:
        data_entry(name)
    assert str(caught.value).startswith(f"data={name}: ")
    assert "\n" not in str(caught.value)


def test_a_config_of_another_data_set_is_refused():
    with pytest.raises(UserError, match="takes options of type MyConfig, got DataConfig"):
        build(DataConfig(name=NAME))
