"""What a training step of several heads on one backbone takes, against that of one head.

    python -m benchmarks.heads_step [--heads 1 8] [--tokens 512] [--vocabulary 50272]

Each kind of head, full or low-rank, in one process, in which the numbers of heads take turns; seconds are the core's
own. Prints a table and writes results/benchmarks/heads_step.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.heads_memory import CHUNKED, Size, batch, policy_of, sized, step
from benchmarks.measuring import medians, report

RANKS: list[int | None] = [None, 16]


def stepping(size: Size, heads: int, head_rank: int | None) -> Callable[[], None]:
    """A forward and a backward pass."""
    policy, ids = policy_of(size, heads, head_rank), batch(size, size.length)

    def run() -> None:
        step(policy, ids, CHUNKED)
        policy.zero_grad()

    return run


def main(heads: list[int], size: Size, trials: int, folder: Path) -> pd.DataFrame:
    """A row for each kind and number of heads; `times_first` compares with the first number."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for rank in RANKS:
        ways = {count: stepping(size, count, rank) for count in heads}
        seconds = medians(ways, trials, time.process_time)
        rows += [
            {
                **vars(size),
                "head_rank": rank or "full",
                "heads": count,
                "seconds": seconds[count],
                "times_first": seconds[count] / seconds[heads[0]],
                "trials": trials,
            }
            for count in heads
        ]
    return report("heads_step", rows, folder)


if __name__ == "__main__":
    parser = sized(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    parser.add_argument("--trials", type=int, default=5, help="whose median is taken")
    given = parser.parse_args()
    main(given.heads, Size(given.tokens, given.vocabulary, given.hidden), given.trials, given.folder)
