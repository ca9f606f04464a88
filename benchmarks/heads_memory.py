"""The memory of a training step of several heads on one backbone, against that of one head.

    python -m benchmarks.heads_memory [--heads 1 8] [--tokens 512] [--vocabulary 50272]

Each measurement has a process of its own. Prints a table and writes results/benchmarks/heads_memory.csv.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks.measuring import RESULTS, peak_memory, report
from lightning_moa.policies import Heads, build_model, head_logps, token_logps

BATCH = 4
CHUNKED, AT_ONCE = "chunked", "all logits at once"


@dataclass(frozen=True)
class Size:
    """Of the batch and the model."""

    tokens: int
    """In all, in 4 rows."""
    vocabulary: int
    hidden: int

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.tokens // BATCH


def policy_of(size: Size, heads: int, head_rank: int | None) -> Heads:
    """A small OPT with so many heads."""
    model = build_model(
        "opt",
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        layers=2,
        intermediate_size=4 * size.hidden,
        max_positions=size.length,
    )
    return Heads(model, heads, 64, head_rank=head_rank, seed=0)


def measure(size: Size, heads: int, head_rank: int | None, way: str) -> dict[str, Any]:
    """One row: what a forward and a backward pass take at their peak, after a first step that made the optimiser's
    state. For a fresh process, whose memory nothing else has touched."""
    torch.set_num_threads(1)
    policy = policy_of(size, heads, head_rank)
    optimiser = torch.optim.AdamW(policy.trainable_parameters(), lr=1e-4)
    # Few tokens first, so that what libraries set up once is not counted as the step's.
    step(policy, batch(size, 4), way)
    optimiser.step()
    optimiser.zero_grad()
    whole = batch(size, size.length)
    started = time.perf_counter()
    with peak_memory() as taken:
        step(policy, whole, way)
    seconds = time.perf_counter() - started
    trained = [p for head in policy.bank.heads for p in head.parameters() if p.requires_grad]
    gradients = mib(p.grad for p in trained if p.grad is not None)
    state = mib(value for p in trained for value in optimiser.state[p].values())
    return {
        "way": way,
        "head_rank": "full" if head_rank is None else head_rank,
        "heads": heads,
        "held_mib": mib(trained) + state,
        "gradients_mib": gradients,
        "rise_mib": taken["mib"],
        "beyond_mib": taken["mib"] - gradients,
        "seconds": seconds,
    }


def mib(tensors: Iterable[Tensor]) -> float:
    """What they take together."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20


def step(policy: Heads, ids: Tensor, way: str) -> None:
    """Forward and backward pass of a weighted sum of the heads' log-likelihoods."""
    attention = torch.ones_like(ids)
    response = torch.ones_like(ids, dtype=torch.bool)
    response[:, 0] = False
    if way == CHUNKED:
        logps = head_logps(policy, ids, attention, response)
    else:
        hidden = policy.hidden(ids, attention)
        logps = torch.stack([token_logps(head(hidden), ids).sum(-1) for head in policy.bank.heads])
    weights = torch.linspace(1, 2, policy.heads)
    (-weights @ logps.mean(-1)).backward()


def batch(size: Size, time_: int) -> Tensor:
    """(4, time) random token ids."""
    return torch.randint(size.vocabulary, (BATCH, time_), generator=torch.Generator().manual_seed(0))


def main(heads: list[int], size: Size, folder: Path, ways: list[tuple[str, int | None]]) -> pd.DataFrame:
    """One row per way, (how, head_rank), and number of heads; `times_first` compares with the first number.

    `held_mib` are the heads' weights and their optimiser's state, there before the step; `beyond_mib` is what the step
    takes at its peak beyond them and the heads' gradients.
    """
    rows: list[dict[str, Any]] = []
    # Each process is forked from one that has loaded the libraries and done nothing else.
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload(["benchmarks.measuring", "lightning_moa.policies"])
    for way, head_rank in ways:
        alone: list[float] = []
        for count in heads:
            with ProcessPoolExecutor(1, mp_context=fresh) as pool:
                row = pool.submit(measure, size, count, head_rank, way).result()
            alone.append(row["beyond_mib"])
            rows.append({**vars(size), **row, "times_first": alone[-1] / alone[0]})
    return report("heads_memory", rows, folder)


def sized(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The options of a size, and of the numbers of heads."""
    parser.add_argument("--heads", type=int, nargs="+", default=[1, 2, 4, 8], help="on one backbone")
    parser.add_argument("--tokens", type=int, default=512, help="of a batch, in 4 rows")
    parser.add_argument("--vocabulary", type=int, default=50272, help="OPT's by default")
    parser.add_argument("--hidden", type=int, default=256, help="width of the model")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the CSV goes")
    return parser


if __name__ == "__main__":
    given = sized(argparse.ArgumentParser(description=__doc__.splitlines()[0])).parse_args()
    main(
        given.heads,
        Size(given.tokens, given.vocabulary, given.hidden),
        given.folder,
        [(CHUNKED, None), (CHUNKED, 16), (AT_ONCE, None)],
    )
