"""What a training step of several heads on one backbone takes, against that of one head.

    python -m benchmarks.heads_step [--heads 1 8] [--tokens 512] [--vocabulary 50272]

Each kind of head, full or low-rank, in one process, in which the numbers of heads take turns. Prints a table and writes
results/benchmarks/heads_step.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.heads_memory import CHUNKED, Size, batch, policy_of, step
from benchmarks.measuring import RESULTS, medians, report

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
        seconds = medians({count: stepping(size, count, rank) for count in heads}, trials)
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, nargs="+", default=[1, 2, 4, 8], help="on one backbone")
    parser.add_argument("--tokens", type=int, default=512, help="of a batch, in 4 rows")
    parser.add_argument("--vocabulary", type=int, default=50272, help="OPT's by default")
    parser.add_argument("--hidden", type=int, default=256, help="width of the model")
    parser.add_argument("--trials", type=int, default=5, help="whose median is taken")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the CSV goes")
    given = parser.parse_args()
    main(given.heads, Size(given.tokens, given.vocabulary, given.hidden), given.trials, given.folder)
