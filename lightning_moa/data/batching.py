"""Encoded rows to padded batches, and the loader that gives batch t for step t."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lightning_moa.batches import PairBatch, PromptBatch, SequenceBatch
from lightning_moa.data.encoding import Encoded
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Batch = SequenceBatch | PairBatch | PromptBatch
MakeBatch = Callable[[np.ndarray], Any]
"""Positions among the encoded rows to their batch."""


def sequence_batch(encoded: Encoded, rows: np.ndarray, pad: int, rewards: np.ndarray | None) -> SequenceBatch:
    """Rows with one response each. rewards: (n, m) of the texts that were encoded, or None."""
    ids, mask, response = _right_padded(encoded, rows, pad, [0])
    chosen = None if rewards is None else torch.from_numpy(rewards[encoded.index[rows]]).float()
    return SequenceBatch(ids, mask, response, chosen)


def pair_batch(
    encoded: Encoded,
    rows: np.ndarray,
    pad: int,
    labels: np.ndarray,
    ref_logps: np.ndarray | None,
    rewards: np.ndarray | None = None,
) -> PairBatch:
    """Rows with two responses each. Of the table's n pairs: labels (n, m), and ref_logps (n, 2) and rewards (n, 2, m)
    or None."""
    ids, mask, response = _right_padded(encoded, rows, pad, [0, 1])
    index = encoded.index[rows]
    return PairBatch(
        input_ids=ids,
        attention_mask=mask,
        response_mask=response,
        labels=torch.from_numpy(labels[index]).float(),
        index=torch.from_numpy(index),
        ref_logps=None if ref_logps is None else torch.from_numpy(ref_logps[index].T.reshape(-1)).float(),
        rewards=None
        if rewards is None
        else torch.from_numpy(np.concatenate([*rewards[index].swapaxes(0, 1)])).float(),
    )


def prompt_batch(encoded: Encoded, rows: np.ndarray, pad: int) -> PromptBatch:
    """Prompts alone, padded on the left."""
    tokens = [encoded.prompts[row] for row in rows]
    width = max(map(len, tokens))
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=bool)
    for i, row in enumerate(tokens):
        ids[i, width - len(row) :] = row
        mask[i, width - len(row) :] = True
    return PromptBatch(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        prompts=[encoded.shown[row] for row in rows],
        index=torch.from_numpy(encoded.index[rows]),
        room=torch.from_numpy(encoded.max_length - mask.sum(1)),
    )


def _right_padded(
    encoded: Encoded, rows: np.ndarray, pad: int, sides: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, attention mask and response mask, each (len(sides) * len(rows), time), side after side."""
    pieces = [(encoded.prompts[row], encoded.responses[side][row]) for side in sides for row in rows]
    width = max(len(prompt) + len(reply) for prompt, reply in pieces)
    ids = np.full((len(pieces), width), pad, dtype=np.int64)
    mask = np.zeros((len(pieces), width), dtype=bool)
    response = np.zeros((len(pieces), width), dtype=bool)
    for i, (prompt, reply) in enumerate(pieces):
        end = len(prompt) + len(reply)
        ids[i, : len(prompt)] = prompt
        ids[i, len(prompt) : end] = reply
        mask[i, :end] = True
        response[i, len(prompt) : end] = True
    return torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(response)


class StepLoader:
    """Exactly `steps` batches, batch t being a function of (seed, t) alone.

    The rows stand in an endless line: one permutation of all n rows per epoch, drawn from (seed, epoch), one
    after the other. Batch t is the t-th stretch of `batch_size` of them, and may straddle two epochs. With
    `world_size` > 1 it is the same batch, and each rank has its share of it: the rank-th of `world_size`
    equal contiguous parts. `start_step` leaves out the batches before it, for a run that goes on after a
    stop.

    It also keeps its place for trainers that ask (`state_dict`, `load_state_dict`): after a load, the first
    pass begins at the stored step, and every later pass at `start_step` again.

    Raises `UserError` for a batch size below 1 or not divisible by `world_size`.
    """

    def __init__(
        self,
        make_batch: MakeBatch,
        rows: int,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size}: must be at least 1")
        if not 0 <= start_step <= steps:
            raise UserError(f"start_step={start_step}: must lie between 0 and steps={steps}")
        self.make_batch = make_batch
        self.rows, self.batch_size, self.steps, self.seed = rows, batch_size, steps, seed
        self.start_step = start_step
        self.shared(rank, world_size)
        self._next = start_step
        self._resume: int | None = None
        self._permutations: dict[int, np.ndarray] = {}

    def shared(self, rank: int, world_size: int) -> StepLoader:
        """Let this process have its share of every batch; returns self.

        Raises `UserError` where the batch cannot be shared out evenly.
        """
        if self.batch_size % world_size:
            raise UserError(f"batch_size={self.batch_size}: must be a multiple of the {world_size} processes")
        self.rank, self.world_size = rank, world_size
        return self

    def __len__(self) -> int:
        return self.steps - self.start_step

    def __iter__(self) -> Iterator[Any]:
        self._next = self.start_step if self._resume is None else self._resume
        self._resume = None
        while self._next < self.steps:
            self._next += 1
            yield self.batch(self._next - 1)

    def batch(self, step: int) -> Any:
        """This rank's share of a step's batch."""
        return self.make_batch(self.rows_of(step))

    def rows_of(self, step: int) -> np.ndarray:
        """(batch_size / world_size,) positions of this rank's rows of a step's batch."""
        share = self.batch_size // self.world_size
        places = step * self.batch_size + self.rank * share + np.arange(share)
        epochs = places // self.rows
        first, last = int(epochs[0]), int(epochs[-1])
        self._permutations = {
            epoch: self._permutations[epoch] if epoch in self._permutations else self._permutation(epoch)
            for epoch in range(first, last + 1)
        }
        line = np.concatenate(list(self._permutations.values()))
        return line[places - first * self.rows]

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.rows)

    def state_dict(self) -> dict[str, int]:
        """The next step, counted from the run's beginning."""
        return {"next_step": self._next if self._resume is None else self._resume}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass begin at the stored step."""
        self._resume = int(state["next_step"])
