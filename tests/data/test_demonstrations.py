"""Given responses: drawn by step, from the data set or from a file."""

import numpy as np
import pytest
import torch

from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.data.demonstrations import demonstrations
from lightning_moa.data.synthetic import Synthetic
from lightning_moa.errors import UserError
from tests.data.support import write_lines


@pytest.fixture(scope="module")
def data():
    return Synthetic(SyntheticConfig(pairs=20, eval_pairs=20, sft_rows=30))


@pytest.fixture(scope="module")
def tokenizer(data):
    return data.world_tokenizer()


def draw(data, tokenizer, path=None, seed=0):
    return demonstrations(data, tokenizer, path, batch_size=8, steps=10, seed=seed).batch


def test_a_batch_is_a_function_of_seed_and_step_alone(data, tokenizer):
    one, two, other = draw(data, tokenizer), draw(data, tokenizer), draw(data, tokenizer, seed=1)
    forward = [one(step).input_ids for step in range(5)]
    backward = [two(step).input_ids for step in reversed(range(5))][::-1]
    for left, right in zip(forward, backward, strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(forward[0], other(0).input_ids)
    assert not torch.equal(forward[0], forward[1])


def test_without_a_file_the_data_set_s_own_responses_are_given(data, tokenizer):
    batch = draw(data, tokenizer)(0)
    known = set(data.sft_rows("train")[1])
    rows = zip(batch.input_ids, batch.response_mask, strict=True)
    texts = [tokenizer.decode(row[mask], skip_special_tokens=True) for row, mask in rows]
    assert len(texts) == 8
    assert set(texts) <= known


def test_a_file_s_rows_are_given_in_the_data_set_s_template(data, tokenizer, tmp_path):
    prompts, responses = data.sft_rows("eval")
    row = {"prompt": prompts[0], "response": responses[0]}
    batch = draw(data, tokenizer, str(write_lines(tmp_path / "given.jsonl", [row])))(3)
    assert np.all(batch.input_ids.numpy() == batch.input_ids[0].numpy())
    text = tokenizer.decode(batch.input_ids[0][batch.attention_mask[0]])
    assert f"{prompts[0]} <sep> {responses[0]}" in text


def test_rows_of_a_file_that_are_too_long_are_counted(data, tokenizer, tmp_path, capsys):
    rows = [{"prompt": data.sft_rows("eval")[0][0], "response": "hello " * length} for length in (2, 40, 40)]
    strict = Synthetic(SyntheticConfig(long_responses="drop"))
    draw(strict, tokenizer, str(write_lines(tmp_path / "given.jsonl", rows)))
    assert "given.jsonl: 2 of its rows are left out (response too long 2)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "a"}], "has no column 'response'"),
        ([{"prompt": "a", "response": "b"}, {"prompt": "a", "response": None}], "row 2: missing text"),
        ([{"prompt": " ", "response": "b"}], "row 1: empty prompt"),
        ([{"prompt": "a", "response": "\ud83d"}], "row 1: half a character"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(data, tokenizer, tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        draw(data, tokenizer, str(write_lines(tmp_path / "given.jsonl", rows)))


def test_a_missing_file_is_named(data, tokenizer, tmp_path):
    with pytest.raises(UserError, match=r"none\.jsonl: there is no such file"):
        draw(data, tokenizer, str(tmp_path / "none.jsonl"))
