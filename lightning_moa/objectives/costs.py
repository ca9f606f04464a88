"""What an objective works out its cost with before anything is run, and a full batch of each view to do so on.

On the meta device a tensor has a shape and no memory; what comes from data is real, as its values decide what is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from lightning_moa.batches import PairBatch, SequenceBatch
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from lightning_moa.objectives.base import Run

Module = TypeVar("Module", bound=nn.Module)


class Memory(Protocol):
    """Bytes on one device, of a micro-batch."""

    @property
    def made(self) -> float:
        """At most while an example is made, after sampling."""
        ...

    @property
    def kept(self) -> float:
        """What the example keeps until it is trained on."""
        ...

    def sampling(self, prompt: int, top_p: float) -> float:
        """At most while responses to prompts of so many tokens are sampled, less the cache of keys and values."""
        ...

    def cache(self, tokens: int) -> float:
        """Keys and values of sequences of so many tokens."""
        ...

    def scoring(self) -> float:
        """At most while the reward models read the responses."""
        ...


class Work(Protocol):
    """Operations, and what decoding reads."""

    def __add__(self, other: Any) -> Any: ...

    def times(self, count: float) -> Any:
        """So many times the same."""
        ...


class Operations(Protocol):
    """Operations over all devices; `logits` are the tokens of a row whose logits are formed, None: all."""

    @property
    def rows(self) -> int:
        """Of an update: pairs, prompts or responses."""
        ...

    def forward(self, rows: float, time: int, logits: int | None = None) -> Work:
        """A forward pass over rows of so many tokens."""
        ...

    def training(self, rows: float, time: int, logits: int | None = None) -> Work:
        """A forward and a backward pass."""
        ...

    def update(self, rows: float, time: int, logits: int | None = None) -> Work:
        """The same, and what the aggregation asks for besides: each objective's gradient."""
        ...

    def decoding(self, rows: float, prompt: int, new: int) -> Work:
        """Sampling so many tokens to each prompt of so many."""
        ...

    def scoring(self, rows: float) -> Work:
        """The reward models' passes over so many responses."""
        ...


def longest(run: Run) -> tuple[int, int]:
    """Tokens of the longest row, and of the longest prompt that is sampled from."""
    config = run.data.config
    return config.max_length, longest_prompt(vars(config))


def longest_prompt(data: Mapping[str, Any]) -> int:
    """Tokens of the longest prompt that is sampled from, by a data set's options."""
    return int(data["max_length"] - (data["response_room"] or data["max_response_length"]))


def tokens(rows: int, time: int, response: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and response mask (rows, time): no padding, the longest responses; one prompt is a single
    token, so that logits of every place are formed, as in a batch of mixed lengths."""
    marked = torch.zeros(rows, time, dtype=torch.bool)
    marked[:, -min(response, time - 1) :] = True
    marked[0, 1:] = True
    return torch.zeros(rows, time, dtype=torch.long), torch.ones(rows, time, dtype=torch.bool), marked


def full_sequences(rows: int, config: Any) -> SequenceBatch:
    """So many rows, as long as `max_length` and `max_response_length` of a data set's configuration allow."""
    return SequenceBatch(*tokens(rows, config.max_length, config.max_response_length))


def full_batch(view: str, run: Run, rows: int) -> PairBatch | SequenceBatch:
    """So many rows of a view, as long as they may be, with all that such a batch can carry.

    Raises:
        UserError: prompts, for what is trained on is not there yet.
    """
    if view == "pairs":
        config = run.data.config
        ids, mask, response = tokens(2 * rows, config.max_length, config.max_response_length)
        labels = torch.zeros(rows, run.m)
        logps, rewards = torch.zeros(2 * rows), torch.zeros(2 * rows, run.m)
        return PairBatch(ids, mask, response, labels, torch.arange(rows), logps, rewards)
    if view == "sequences":
        batch = full_sequences(rows, run.data.config)
        batch.rewards = torch.full((rows, run.m), 0.5)
        return batch
    raise UserError(
        f"view={view}: what such an objective is trained on is made by itself; for a forecast it needs a classmethod "
        "example(run, rows) that gives the objective and one of its parts"
    )


def weightless(module: Module) -> Module:
    """The module itself, its parameters on the meta device. Buffers, whose values may decide what is done, stay."""
    moved: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, own in part._parameters.items():
            if own is not None and not own.is_meta:
                if id(own) not in moved:
                    empty = torch.empty_like(own, device="meta", requires_grad=False)
                    moved[id(own)] = nn.Parameter(empty, requires_grad=own.requires_grad)
                part._parameters[name] = moved[id(own)]
    return module
