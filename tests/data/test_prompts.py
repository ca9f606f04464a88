"""Prompts alone, for policies that are rewarded for what they sample."""

import pytest

from lightning_moa.data.configs import PromptsConfig
from lightning_moa.data.prompts import Prompts
from lightning_moa.errors import UserError
from lightning_moa.turns import messages_of

from .support import write_lines


def of(path, **options):
    return Prompts(PromptsConfig(path=str(path), **options), ("helpful", "short"))


@pytest.mark.parametrize("column", ["prompt", "instruction", "messages"])
def test_prompts_are_read_split_and_counted(column, tmp_path, tokenizer):
    rows = [{column: f"question {i}", "id": i} for i in range(50)]
    rows[3][column] = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    data = of(write_lines(tmp_path / "a.jsonl", [*rows, rows[0], {column: " ", "id": 99}]))
    prompts = data.prompt_list("train") + data.prompt_list("eval")
    assert len(prompts) == len(set(prompts)) == 50
    assert sum(count["empty prompt"] for count in data.report.dropped.values()) == 1
    assert [messages_of(text) for text in prompts if "s" in text and "question" not in text] == [
        [("system", "s"), ("user", "u")]
    ]
    (batch,) = data.batches(tokenizer, "eval", "prompts", 100)
    assert batch.prompts == data.prompt_list("eval")
    assert "prompts kept" in data.report.lines()[0]


def test_what_prompts_cannot_give_is_said(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [{"prompt": f"q{i}"} for i in range(30)])
    with pytest.raises(UserError, match="data=prompts has prompts alone, no responses"):
        of(path).table("train")
    with pytest.raises(UserError, match=r"objectives=\[...\]"):
        Prompts(PromptsConfig(path=str(path)))
    with pytest.raises(
        UserError, match=r"a\.jsonl has no column 'question'; it has prompt.*; data\.prompt_column="
    ):
        of(path, prompt_column="question").prompt_list("train")
    with pytest.raises(UserError, match=r"data\.path is empty"):
        Prompts(PromptsConfig(), ("a",)).prompt_list("train")
