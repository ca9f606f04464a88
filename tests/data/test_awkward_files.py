"""Files of preference data as people have them: what becomes of each form, in one line where it is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lightning_moa.data.configs import PairsConfig
from lightning_moa.data.pair_files import read_pairs
from lightning_moa.data.tables import DropReport
from lightning_moa.errors import UserError

ROWS = [
    {
        "prompt": f"Question {i}: how do I cook dish {i}?",
        "response_0": f"Take {i} eggs and stir." + " More." * (i % 3),
        "response_1": f"Just boil it {i}.",
        "helpful": i % 2,
        "concise": i // 2 % 2,
    }
    for i in range(60)
]


def changed(change: Callable[[int, dict], dict]) -> str:
    return "".join(json.dumps({**row, **change(i, row)}) + "\n" for i, row in enumerate(ROWS))


def write(path: Path, content: str | bytes | pd.DataFrame) -> Path:
    if isinstance(content, pd.DataFrame):
        content.to_parquet(path) if path.suffix == ".parquet" else content.to_csv(path, index=False)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def user(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def labels(row: dict) -> dict:
    return {name: row[name] for name in ("helpful", "concise")}


PLAIN = changed(lambda i, row: {})
SYSTEM = [{"role": "system", "content": "You are kind."}]
UNEQUAL = PLAIN.splitlines(keepends=True)

READ = {
    "plain.jsonl": (PLAIN, {}),
    "mark and line ends.jsonl": (b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(), {}),
    "nulls.jsonl": (changed(lambda i, row: {"helpful": None if i % 2 else 1}), {}),
    "emoji.jsonl": (changed(lambda i, row: {"prompt": row["prompt"] + " \U0001f525 \u0645 \u200b"}), {}),
    "quotes.csv": (
        pd.DataFrame([{**row, "response_0": row["response_0"] + '\n"so", and'} for row in ROWS]),
        {},
    ),
    "strings.jsonl": (changed(lambda i, row: {"helpful": str(row["helpful"])}), {}),
    "nan.jsonl": (changed(lambda i, row: {"helpful": float("nan") if i % 4 == 0 else 1}), {}),
    "long.jsonl": (changed(lambda i, row: {"prompt": f"{i} " + "word " * (4000 if i == 0 else 1)}), {}),
    "further columns.jsonl": (changed(lambda i, row: {"helpful_0": 3.2, "helpful_1": 1.0}), {}),
    "missing keys.jsonl": (
        "".join(
            json.dumps({k: v for k, v in row.items() if k != "concise" or i % 3}) + "\n"
            for i, row in enumerate(ROWS)
        ),
        {},
    ),
    "empty replies.jsonl": (
        changed(lambda i, row: {"response_1": "" if i % 2 else "yes"}),
        {"empty reply": 30},
    ),
    "empty prompts.jsonl": (
        changed(lambda i, row: {"prompt": " " if i < 3 else row["prompt"]}),
        {"empty prompt": 3},
    ),
    "chat.jsonl": (changed(lambda i, row: {"prompt": [*SYSTEM, *user(row["prompt"])]}), {}),
    "letters.jsonl": (changed(lambda i, row: {"concise": "AB"[i % 2]}), {}),
    "ties.jsonl": (changed(lambda i, row: {"helpful": 0.5 if i % 5 else 1.0}), {}),
    "minus one.jsonl": (changed(lambda i, row: {"helpful": -1 if i % 4 == 0 else i % 2}), {}),
    "completions.parquet": (
        pd.DataFrame(
            [
                {"instruction": row["prompt"], "completions": [row["response_0"], "b"], **labels(row)}
                for row in ROWS
            ]
        ),
        {},
    ),
    "half an emoji.jsonl": (
        changed(lambda i, row: {"prompt": "\ud83d" + row["prompt"] if i == 3 else row["prompt"]}),
        {"half a character": 1},
    ),
}

DOUBTED = {
    "contradicted.jsonl": (
        PLAIN * 2 + changed(lambda i, row: {"helpful": 1 - row["helpful"]}),
        "come again with the other",
    ),
    "one side.jsonl": (
        changed(lambda i, row: {"helpful": 1}),
        "helpful: response 1 is the better one in all",
    ),
    "three rows.jsonl": ("".join(UNEQUAL[:3]), "pairs, which say little"),
}

REFUSED = {
    "other responses.jsonl": (
        changed(lambda i, row: {"prompt": {"role": "user"}}),
        "row 1, column 'prompt': a text or a list of messages is expected, got dict",
    ),
    "tools.jsonl": (
        changed(lambda i, row: {"prompt": [{"role": "tool", "content": "x"}]}),
        "row 1, column 'prompt': a message's role is 'tool': allowed are system, user",
    ),
    "a list for a role.jsonl": (
        changed(lambda i, row: {"prompt": [{"role": ["user"], "content": "x"}]}),
        "row 1, column 'prompt': a message's role is ['user']: allowed are system, user",
    ),
    "words.jsonl": (
        changed(lambda i, row: {"concise": "left"}),
        "row 1, column 'concise': allowed are 0, 1, false",
    ),
    "counted from 1.jsonl": (
        changed(lambda i, row: {"helpful": 1 + i % 2}),
        "row 2, column 'helpful': allowed are",
    ),
    "questions.jsonl": (
        json.dumps({"prompt": "a", "helpful": 1}),
        "has no responses among its columns prompt, helpful",
    ),
    "broken line.jsonl": (
        "".join([*UNEQUAL[:30], UNEQUAL[30][:40] + "\n", *UNEQUAL[31:]]),
        "line 31: not valid JSON",
    ),
    "huge number.jsonl": (
        changed(lambda i, row: {"helpful": 10**400 if i == 2 else 1}),
        "row 3, column 'helpful': allowed are",
    ),
    "lists for labels.parquet": (
        pd.DataFrame([{**row, "helpful": [1, 0]} for row in ROWS]),
        "row 1, column 'helpful': allowed are",
    ),
    "trailing comma.json": ("[" + ",".join(UNEQUAL) + ",]", "not valid JSON"),
}


def read(path: Path) -> DropReport:
    report = DropReport()
    labels = {"helpful": "helpful", "concise": "concise"}
    read_pairs(PairsConfig(path=str(path), labels=labels), tuple(labels), report)
    return report


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_all_accounted_for(name, tmp_path):
    content, expected = READ[name]
    report = read(write(tmp_path / name, content))
    dropped = {reason: n for reasons in report.dropped.values() for reason, n in reasons.items()}
    total = sum(sum(reasons.values()) for reasons in report.dropped.values())
    assert report.kept.total() + total == len(ROWS)
    assert set(dropped) == set(expected)
    assert total == sum(expected.values())


@pytest.mark.parametrize("name", DOUBTED)
def test_what_is_doubtful_is_read_with_a_warning(name, tmp_path):
    content, line = DOUBTED[name]
    assert any("warning" in each and line in each for each in read(write(tmp_path / name, content)).lines())


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line_with_its_place(name, tmp_path):
    content, line = REFUSED[name]
    with pytest.raises(UserError) as error:
        read(write(tmp_path / name, content))
    assert name in str(error.value)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
