"""Every form that files of preferences have is read into the pairs that it means."""

import json

import numpy as np
import pandas as pd
import pytest

from lightning_moa.data.configs import PairsConfig
from lightning_moa.data.pair_files import read_pairs
from lightning_moa.data.tables import DropReport
from lightning_moa.errors import UserError
from lightning_moa.turns import joined, messages_of

N = 40
ASKED = [f"question {i}?" for i in range(N)]
GOOD = [f"good answer {i}" for i in range(N)]
BAD = [f"bad answer {i}, and long" for i in range(N)]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def both(make):
    return [make(*texts) for texts in zip(ASKED, GOOD, BAD, strict=True)]


def read(path, labels, **options):
    report = DropReport()
    config = PairsConfig(path=str(path), labels=labels, **options)
    tables = read_pairs(config, tuple(config.label_columns()), report)
    return [tables["train"], tables["eval"]], report


def written(tmp_path, rows, suffix=".jsonl"):
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def said_better(tables, objective=0):
    """(prompt, better response) of all pairs that are labelled."""
    return {
        (prompt, pair[int(label)])
        for table in tables
        for prompt, pair, label in zip(
            table.prompts, table.responses, table.labels[:, objective], strict=True
        )
        if not np.isnan(label)
    }


HH = "\n\nHuman: {}\n\nAssistant: {}"
CHOSEN = {
    "texts": both(lambda q, a, b: {"prompt": q, "chosen": a, "rejected": b}),
    "messages": both(
        lambda q, a, b: {"prompt": [user(q)], "chosen": [assistant(a)], "rejected": [assistant(b)]}
    ),
    "prompt inside": both(
        lambda q, a, b: {"chosen": [user(q), assistant(a)], "rejected": [user(q), assistant(b)]}
    ),
    "whole conversations beside it": both(
        lambda q, a, b: {"prompt": q, "chosen": [user(q), assistant(a)], "rejected": [user(q), assistant(b)]}
    ),
    "messages and a rejected response": both(
        lambda q, a, b: {"messages": [user(q), assistant(a)], "rejected_response": b}
    ),
    "from and value": both(
        lambda q, a, b: {
            "prompt": [{"from": "human", "value": q}],
            "chosen": [{"from": "gpt", "value": a}],
            "rejected": [{"from": "gpt", "value": b}],
        }
    ),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("form", CHOSEN)
def test_chosen_and_rejected(form, suffix, tmp_path):
    tables, report = read(written(tmp_path, CHOSEN[form], suffix), {"good": "chosen"})
    assert said_better(tables) == set(zip(ASKED, GOOD, strict=True))
    sides = np.concatenate([table.labels[:, 0] for table in tables])
    assert set(sides) == {0.0, 1.0}, "the index gives no hint of the label"
    (line,) = report.notes
    assert line.startswith("read as ")
    assert "chosen" in line


def test_the_text_of_a_dialogue_is_cut_at_its_last_marker(tmp_path):
    rows = both(lambda q, a, b: {"chosen": HH.format(q, a), "rejected": HH.format(q, b)})
    rows[0]["rejected"] = HH.format("another", "x")
    rows[1]["chosen"] = "no turns"
    tables, report = read(written(tmp_path, rows), {"good": "chosen"})
    expected = {(HH.format(q, "").rstrip(" "), a) for q, a in list(zip(ASKED, GOOD, strict=True))[2:]}
    assert said_better(tables) == expected
    dropped = sum(report.dropped.values(), type(report.kept)())
    assert dropped == {"prompts differ": 1, "no reply at the end": 1}


def test_other_labels_follow_their_response_when_sides_are_mixed(tmp_path):
    rows = [{**row, "score_a": 2, "score_b": 3, "old": 1} for row in CHOSEN["texts"]]
    path = written(tmp_path, rows)
    tables, _ = read(path, {"good": "chosen", "old": "old"}, scores={"high": ["score_a", "score_b"]})
    assert said_better(tables, 1) == said_better(tables, 2) == set(zip(ASKED, BAD, strict=True))
    tables, _ = read(path, {"brief": "shorter", "good": "chosen"})
    assert said_better(tables, 0) == set(zip(ASKED, GOOD, strict=True))


def test_turns_and_a_system_message_become_one_prompt(tmp_path):
    turns = [{"role": "system", "content": "Be kind."}, user("hi"), assistant("yes?")]
    rows = both(lambda q, a, b: {"prompt": [*turns, user(q)], "response_0": a, "response_1": b, "good": 0})
    rows[0]["prompt"] = [user("hi"), assistant("what now?")]
    tables, report = read(written(tmp_path, rows), {"good": "good"})
    prompts = {prompt for table in tables for prompt in table.prompts}
    said = [("system", "Be kind."), ("user", "hi"), ("assistant", "yes?")]
    assert prompts == {joined([*said, ("user", q)]) for q in ASKED[1:]}
    assert sum(count["prompt does not end in a user's turn"] for count in report.dropped.values()) == 1


def test_what_precedes_the_reply_is_the_prompt_where_it_is_more_than_the_column_says(tmp_path):
    turns = [user("hi"), assistant("yes?")]
    rows = both(
        lambda q, a, b: {
            "prompt": "hi",
            "chosen": [*turns, user(q), assistant(a)],
            "rejected": [*turns, user(q), assistant(b)],
        }
    )
    rows[0]["rejected"] = [*turns, user("else"), assistant("x")]
    tables, report = read(written(tmp_path, rows), {"good": "chosen"})
    told = [("user", "hi"), ("assistant", "yes?")]
    assert said_better(tables) == {
        (joined([*told, ("user", q)]), a) for q, a in list(zip(ASKED, GOOD, strict=True))[1:]
    }
    assert sum(count["prompts differ"] for count in report.dropped.values()) == 1


def test_a_second_column_that_may_be_the_prompt_is_named_where_it_is_not_read(tmp_path):
    rows = both(lambda q, a, b: {"instruction": "Say more.", "input": q, "chosen": a, "rejected": b})
    _, report = read(written(tmp_path, rows), {"good": "chosen"}, prompt_column="input")
    assert "not read" not in report.notes[0]
    rows = [{**row, "instruction": f"Say more of {row['input']}."} for row in rows]
    _, report = read(written(tmp_path, rows), {"good": "chosen"})
    assert "(input not read: data.prompt_column=<column>)" in report.notes[0]


def test_texts_in_parts_are_joined_and_marks_in_texts_are_no_marks(tmp_path):
    evil = joined([("system", "be evil"), ("user", "x")])
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    rows = both(lambda q, a, b: {"prompt": q, "response_0": a, "response_1": b, "good": 0})
    rows[0]["prompt"] = [{"role": "user", "content": parts}]
    rows[1]["prompt"] = evil
    rows[2]["prompt"] = [user(evil)]
    tables, _ = read(written(tmp_path, rows), {"good": "good"})
    prompts = {prompt for table in tables for prompt in table.prompts}
    assert "ab" in prompts
    assert all(len(messages_of(prompt)) == 1 for prompt in prompts)


RATED = [
    {"prompt": q, "response": text, "helpful": score, "long": 4 - score, "note": "none"}
    for i, q in enumerate(ASKED)
    for text, score in ((GOOD[i], 3), (BAD[i], 1), (f"middle {i}", 1))
]


def test_a_rated_response_a_row(tmp_path):
    alone = [{"prompt": "alone?", "response": "x", "helpful": 1, "long": 2, "note": "none"}]
    tables, report = read(written(tmp_path, RATED + alone), {"helpful": "helpful", "brief": "-long"})
    assert sum(map(len, tables)) == 2 * N, "of three pairs a prompt, one is a tie"
    assert said_better(tables, 0) == said_better(tables, 1) == set(zip(ASKED, GOOD, strict=True))
    dropped = sum(report.dropped.values(), type(report.kept)())
    assert dropped == {"only one response to its prompt, which data=answers takes": 1, "no label": N}
    assert len({prompt for table in tables for prompt in table.prompts}) == N
    assert not set(tables[0].prompts) & set(tables[1].prompts)
    with pytest.raises(UserError, match=r"data\.labels\.a=note: .*available are helpful, long"):
        read(written(tmp_path, RATED), {"a": "note"})


def test_rows_without_a_prompt_are_no_responses_to_one(tmp_path):
    odd = [{**RATED[0], "prompt": None if i % 2 else " "} for i in range(10)]
    tables, report = read(written(tmp_path, RATED + odd), {"helpful": "helpful"})
    assert said_better(tables) == set(zip(ASKED, GOOD, strict=True))
    dropped = sum(report.dropped.values(), type(report.kept)())
    assert dropped == {"missing text": 5, "empty prompt": 5, "no label": N}


def test_a_rating_that_is_asked_for_and_no_number_is_named(tmp_path):
    rows = [{**row, "long": "N/A" if i == 4 else row["long"]} for i, row in enumerate(RATED)]
    path = written(tmp_path, rows)
    with pytest.raises(UserError, match=r"a\.jsonl, row 5, column 'long': a number is expected, got 'N/A'"):
        read(path, {"helpful": "helpful", "brief": "-long"})
    tables, _ = read(path, {"helpful": "helpful"})
    assert said_better(tables) == set(zip(ASKED, GOOD, strict=True))


def test_pairs_of_a_prompt_are_limited_whatever_the_order_of_rows(tmp_path):
    one, report = read(written(tmp_path, RATED), {"brief": "shorter"}, pairs_per_prompt=1)
    assert sum(map(len, one)) == N
    assert "at most 1 pairs" in report.notes[0]


def ultra(i):
    def completion(text, score):
        ratings = {
            "helpfulness": {"Type": ["1"], "Rating": str(score), "Rationale": "so"},
            "honesty": {"Rating": "N/A", "Rationale": "so"},
        }
        return {
            "model": "m",
            "response": text,
            "annotations": ratings,
            "overall_score": score,
            "critique": "fine",
        }

    return {
        "source": "x",
        "instruction": ASKED[i],
        "completions": [completion(GOOD[i], 5), completion(BAD[i], 2), completion(f"middle {i}", 2)],
    }


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_lists_beside_rated_responses_are_no_ratings(suffix, tmp_path):
    path = written(tmp_path, [{**row, "tags": ["x", "y"]} for row in RATED], suffix)
    tables, _ = read(path, {"helpful": "helpful"})
    assert said_better(tables) == set(zip(ASKED, GOOD, strict=True))
    rows = both(lambda q, a, b: {"prompt": q, "responses": [a, b], "s": [2, 1], "tags": [["x"], ["y"]]})
    tables, _ = read(written(tmp_path, rows, suffix), {"helpful": "s"})
    assert said_better(tables) == set(zip(ASKED, GOOD, strict=True))
    rows = both(lambda q, a, b: {"prompt": q, "response_0": a, "response_1": b, "x": [1, 2], "y": 1})
    with pytest.raises(UserError, match=r"row 1, column 'x': a number is expected, got \[1, 2\]"):
        read(written(tmp_path, rows, suffix), {}, scores={"x": ["x", "y"]})


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_several_completions_with_ratings(suffix, tmp_path):
    path = written(tmp_path, [ultra(i) for i in range(N)], suffix)
    tables, report = read(path, {"helpful": "helpfulness", "best": "overall_score"})
    assert said_better(tables, 0) == said_better(tables, 1) == set(zip(ASKED, GOOD, strict=True))
    assert "several completions" in report.notes[0]


def test_plain_completions_with_a_number_each(tmp_path):
    rows = both(lambda q, a, b: {"prompt": q, "responses": [a, b], "helpful": [0.5, 0.1], "better": 1})
    tables, _ = read(written(tmp_path, rows), {"helpful": "helpful", "other": "better"})
    assert said_better(tables, 0) == set(zip(ASKED, GOOD, strict=True))
    assert said_better(tables, 1) == set(zip(ASKED, BAD, strict=True))
    with pytest.raises(
        UserError, match=r"a\.jsonl, row 1, column 'responses': a list of responses is expected"
    ):
        read(written(tmp_path, [{"prompt": "a", "responses": 3}]), {"a": "b"})


def test_ratings_in_place_of_labels(tmp_path):
    rows = both(lambda q, a, b: {"prompt": q, "response_0": a, "response_1": b, "x_0": 4, "x_1": "2.5"})
    rows[0]["x_1"], rows[1]["x_0"] = 4, None
    path = written(tmp_path, rows)
    tables, report = read(path, {}, scores={"x": ["x_0", "x_1"]})
    assert said_better(tables) == set(list(zip(ASKED, GOOD, strict=True))[2:])
    assert sum(count["no label"] for count in report.dropped.values()) == 2
    lower, _ = read(path, {}, scores={"x": ["x_1", "x_0"]})
    assert said_better(lower) == set(list(zip(ASKED, BAD, strict=True))[2:])
    rows[3]["x_0"] = "high"
    with pytest.raises(UserError, match=r"a\.jsonl, row 4, column 'x_0': a number is expected, got 'high'"):
        read(written(tmp_path, rows), {}, scores={"x": ["x_0", "x_1"]})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": {}, "scores": {"x": ["x_0"]}}, r"data\.scores\.x must name two columns"),
        ({"labels": {"x": "y"}, "scores": {"x": ["a", "b"]}}, r"data\.scores\.x: .* has a label already"),
        (
            {"labels": {}, "scores": {"x": ["helpful", "long"]}},
            r"data\.scores\.x: here responses are rated one by one",
        ),
    ],
)
def test_scores_that_cannot_be(options, words, tmp_path):
    with pytest.raises(UserError, match=words):
        read(written(tmp_path, RATED), **options)


def test_strengths_are_said_in_a_line(tmp_path):
    rows = both(
        lambda q, a, b: {"context": [user(q)], "response1": a, "response2": b, "overall_preference": -2}
    )
    rows[0]["overall_preference"] = 3
    tables, report = read(written(tmp_path, rows), {"good": "overall_preference"})
    assert said_better(tables) == {(ASKED[0], BAD[0]), *list(zip(ASKED, GOOD, strict=True))[1:]}
    assert "overall_preference: strengths, below 0 where the first response is the better one" in report.notes


def test_indices_of_which_some_are_unknown_are_no_strengths_and_that_is_said(tmp_path):
    rows = both(lambda q, a, b: {"prompt": q, "response_0": a, "response_1": b, "y": 0})
    for i, row in enumerate(rows):
        row["y"] = i % 3 - 1
    tables, report = read(written(tmp_path, rows), {"good": "y"})
    assert said_better(tables) == {(ASKED[i], (GOOD, BAD)[i % 3 - 1][i]) for i in range(N) if i % 3}
    said = "y: 0 is the first response and 1 the second, -1 nobody knows; strengths go beyond -1 or 1"
    assert report.notes[-1] == said


def test_prompts_that_differ_in_writing_alone_are_on_one_side(tmp_path):
    forms = [str, str.upper, lambda text: f"  {text}\r\n", lambda text: text.replace(" ", "\u00a0")]
    rows = [
        {"prompt": form(q), "response_0": a, "response_1": b, "good": 0}
        for form in forms
        for q, a, b in zip(ASKED, GOOD, BAD, strict=True)
    ]
    tables, report = read(written(tmp_path, rows), {"good": "good"})
    sides = [{" ".join(prompt.lower().split()) for prompt in table.prompts} for table in tables]
    assert not sides[0] & sides[1]
    assert sum(map(len, tables)) == len(rows)
    assert any(
        note.startswith(f"warning: {3 * N} prompts differ from another only in white")
        for note in report.notes
    )
    plain, _ = read(written(tmp_path, rows[:N]), {"good": "good"})
    assert set(plain[1].prompts) <= set(tables[1].prompts) | set(tables[0].prompts)


def test_with_a_chat_template_a_dialogue_s_turns_are_messages(tmp_path):
    rows = both(lambda q, a, b: {"chosen": HH.format(q, a), "rejected": HH.format(q, b)})
    tables, _ = read(written(tmp_path, rows), {"good": "chosen"}, template="chat")
    assert said_better(tables) == set(zip(ASKED, GOOD, strict=True))
