"""What is said of pairs that may not mean what they say."""

import numpy as np
import pytest

from lightning_moa.data.doubts import doubts
from lightning_moa.data.tables import PairTable

from .support import pair_rows, pairs_of, write_lines


def table(labels, repeat=1, swap=False):
    """A pair a label row, each `repeat` times; with `swap` the responses of every second round change places."""
    labels = np.array(labels, dtype=float).reshape(-1, 1)
    n = len(labels) // repeat
    prompts = [f"p{i % n}" for i in range(len(labels))]
    pairs = [(f"a{i % n}", f"b{i % n}") for i in range(len(labels))]
    pairs = [pair[::-1] if swap and i // n % 2 else pair for i, pair in enumerate(pairs)]
    return PairTable(prompts, pairs, labels, ("good",))


NONE = float("nan")
MIXED = [0, 1] * 15

CASES = {
    "sound": (table(MIXED), []),
    "few": (table([0, 1, 1]), ["only 3 pairs, which say little"]),
    "one side": (table([1] * 30), ["good: response 1 is the better one in all 30 labelled pairs"]),
    "nearly all unknown": (table([0, 1, *[NONE] * 98]), ["good is labelled in only 2 of 100 pairs"]),
    "again": (table(MIXED * 2, repeat=2), []),
    "again, swapped": (table([*MIXED, *(1 - x for x in MIXED)], repeat=2, swap=True), []),
    "contradicted": (
        table([*MIXED, 1, *MIXED[1:]], repeat=2),
        ["good: 2 pairs come again with the other label"],
    ),
    "contradicted, swapped": (
        table([*MIXED, 0, *(1 - x for x in MIXED[1:])], repeat=2, swap=True),
        ["good: 2 pairs come again with the other label"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_doubt_has_its_counts(name):
    given, expected = CASES[name]
    assert doubts(given) == expected


def test_doubts_are_printed_with_the_splits_line(tmp_path):
    rows = [{**row, "good": 1} for row in pair_rows(60)]
    data = pairs_of(write_lines(tmp_path / "a.jsonl", rows), labels={"good": "good"})
    data.table("train")
    read, *lines = data.report.lines()
    assert read == "read as prompt and two responses, response_0 and response_1"
    kept = {line.partition(":")[0]: line for line in lines if "warning" not in line}
    assert set(kept) == {"train", "eval"}
    n = {name: int(line.split()[1]) for name, line in kept.items()}
    assert f"eval, warning: only {n['eval']} pairs, which say little" in lines
    assert f"train, warning: good: response 1 is the better one in all {n['train']} labelled pairs" in lines
