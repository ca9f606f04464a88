"""Single responses that carry scores, from files of one's own."""

import numpy as np
import pytest

from lightning_moa.data import build
from lightning_moa.data.configs import AnswersConfig
from lightning_moa.data.training import TrainingData
from lightning_moa.errors import UserError
from lightning_moa.turns import messages_of

from .support import write_lines

LABELS = {"helpful": "quality", "harmless": "-risk"}


def row(i, **changed):
    return {
        "prompt": f"question {i // 2}?",
        "response": f"answer {i}",
        "quality": i / 2,
        "risk": i % 3,
        **changed,
    }


def of(tmp_path, rows, labels=LABELS, **options):
    path = write_lines(tmp_path / "rows.jsonl", rows)
    return build(AnswersConfig(path=str(path), labels=dict(labels), **options))


def by_response(data):
    found = {}
    for split in ("train", "eval"):
        _, responses = data.sft_rows(split)
        found |= dict(zip(responses, data.sequence_rewards(split).tolist(), strict=True))
    return found


def test_scores_are_taken_as_they_stand_and_less_may_be_better(tmp_path):
    data = of(tmp_path, map(row, range(60)))
    assert by_response(data) == {f"answer {i}": [i / 2, -(i % 3)] for i in range(60)}
    assert not set(data.prompt_list("train")) & set(data.prompt_list("eval"))
    assert data.report.lines()[0] == "read as prompt and one response a row"


def test_a_row_without_every_score_is_dropped_and_counted(tmp_path):
    rows = [row(i, risk=None if i < 6 else "N/A".replace("N/A", "1.5"), quality=True) for i in range(60)]
    data = of(tmp_path, rows)
    assert len(by_response(data)) == 54
    assert sum(each["no score"] for each in data.report.dropped.values()) == 6
    assert set(map(tuple, by_response(data).values())) == {(1.0, -1.5)}


def test_several_responses_of_a_prompt_are_rows_of_their_own(tmp_path):
    def completions(i):
        return [{"text": f"answer {i} {k}", "scores": {"quality": k, "risk": i}} for k in range(3)]

    rows = [{"instruction": f"question {i}?", "completions": completions(i)} for i in range(30)]
    found = by_response(of(tmp_path, rows))
    assert found == {f"answer {i} {k}": [k, -i] for i in range(30) for k in range(3)}


def test_lists_without_a_response_are_counted_and_all_of_them_refused(tmp_path):
    def listed(i, texts):
        return {
            "prompt": f"q {i}",
            "completions": texts,
            "quality": [1] * len(texts),
            "risk": [0] * len(texts),
        }

    data = of(tmp_path, [listed(i, ["a", "b"] if i % 3 else []) for i in range(60)])
    assert len(by_response(data)) == 2
    assert sum(data.report.kept.values()) == 80
    assert sum(each["missing text"] for each in data.report.dropped.values()) == 20
    with pytest.raises(
        UserError, match=r"rows\.jsonl: the lists of column 'completions' hold no response at all"
    ):
        of(tmp_path, [listed(i, []) for i in range(5)]).answers("train")


def test_messages_that_end_in_the_response(tmp_path):
    def said(i):
        turns = [("user", f"hi {i}"), ("assistant", "yes?"), ("user", "how?"), ("assistant", f"answer {i}")]
        return {
            "messages": [{"role": role, "content": text} for role, text in turns],
            "quality": i,
            "risk": "0",
        }

    data = of(tmp_path, map(said, range(40)))
    assert by_response(data)["answer 7"] == [7, 0]
    assert [role for role, _ in messages_of(data.prompt_list("eval")[0])] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("rows", "labels", "said"),
    [
        (
            [row(0), row(1, risk="high")],
            LABELS,
            r"rows\.jsonl, row 2, column 'risk': a number is expected, got 'high'",
        ),
        (
            [row(0)],
            {"helpful": "qualty", "harmless": "risk"},
            "no such label column; available are quality, risk",
        ),
        ([row(0)], {}, r"data\.labels is empty: give data\.labels\.<objective>=<column>"),
        (
            [{"prompt": "p", "response_0": "a", "response_1": "b", "quality": 1}],
            LABELS,
            r"rows\.jsonl has no single responses among its columns .*; pairs are read by data=pairs",
        ),
        ([{"response": "a", "quality": 1, "risk": 1}], LABELS, r"no column 'prompt'.*; data\.prompt_column="),
    ],
)
def test_what_is_wrong_is_named_while_planning(tmp_path, rows, labels, said):
    path = write_lines(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=said):
        AnswersConfig(path=str(path), labels=labels).check_rows(tuple(labels))


def test_what_is_doubtful_is_read_with_a_warning(tmp_path):
    rows = [row(i, prompt=f"question {i % 30}?", response="yes", risk=2) for i in range(60)]
    data = of(tmp_path, rows)
    kept = len(data.answers("eval"))
    assert [line for line in data.report.lines() if line.startswith("eval, warning")] == [
        f"eval, warning: only {kept} answers, which say little",
        f"eval, warning: helpful: {kept} answers come again with another score",
        f"eval, warning: harmless: all {kept} answers have the score -2",
    ]


def test_there_are_no_pairs(tmp_path):
    with pytest.raises(UserError, match="data=answers has single responses, no pairs"):
        of(tmp_path, map(row, range(20))).table("train")
    with pytest.raises(UserError, match=r"data\.path is empty"):
        AnswersConfig(labels=LABELS).check_rows(tuple(LABELS))


def test_a_trainer_of_ones_own_gets_them_in_the_unit_interval(tmp_path):
    data = TrainingData(of(tmp_path, map(row, range(60))))
    scores, rewards = data.source.sequence_rewards("train"), data.rewards("train")
    low, high = scores.min(0), scores.max(0)
    np.testing.assert_allclose(rewards, (scores - low) / (high - low))
    assert ((data.rewards("eval") >= 0) & (data.rewards("eval") <= 1)).all()
