"""A forecast of one run, and what all kinds of runs work theirs out with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from lightning_moa.data.sizes import published_rows
from lightning_moa.errors import UserError
from lightning_moa.forecast import flops, memory
from lightning_moa.forecast.flops import Network, Work
from lightning_moa.forecast.memory import Bytes, Sizes
from lightning_moa.forecast.networks import Scorer
from lightning_moa.runs.schedules import number_of_steps
from lightning_moa.strategies.choices import QUANTISED, processes_of

Spec = dict[str, Any]


@dataclass(frozen=True)
class Forecast:
    """Of one run, on each of its devices."""

    phases: dict[str, Bytes]
    """Phase to bytes by kind; the largest is the run's peak."""
    rows: int
    """Of a batch on one device, which activations go with: pairs, prompts or responses."""
    trained: int = 0
    frozen: int = 0
    """Numbers of trained and of frozen parameters, over all devices."""
    steps: int = 0
    tokens: float = 0.0
    """Trained on, over all devices; what is sampled for it among them."""
    work: Work = field(default_factory=Work)
    host: float = 0.0
    """Bytes that a process keeps in the machine's memory, where it offloads."""


def micro_batch(settings: Mapping[str, Any], spec: Spec, factor: int) -> int:
    """Rows of a micro-batch on one device."""
    devices = processes_of(spec["hardware"])
    return factor * max(1, settings["batch_size"] // settings["accumulate"] // devices)


def training_rows(spec: Spec, view: str, asked: int | None) -> int | None:
    """Of the training split: those asked for; a local file's or folder's, which are counted; or as many as were
    published. None where nothing is known."""
    if asked is not None or spec["data"]["path"] is None:
        return asked if asked is not None else published_rows(spec["data"], view)
    if not Path(spec["data"]["path"]).expanduser().exists():
        return None
    # It brings more than a plan that counts nothing needs.
    from lightning_moa.runs.loading import load_data

    data = load_data(spec)
    if view == "prompts":
        return len(data.prompt_list("train"))
    return len(data.sft_rows("train")[0] if view == "sequences" else data.table("train"))


def updates(settings: Mapping[str, Any], spec: Spec, rows: int | None) -> int:
    """Of a training, on so many rows where its settings don't say it."""
    if settings["steps"] is not None:
        return int(settings["steps"])
    if rows is None:
        raise UserError(
            f"data={spec['data']['name']}: how many rows it has is not known offline; rows=<number> says it, or steps "
            "does"
        )
    return number_of_steps(dict(settings), rows)


def sizes_of(network: nn.Module, spec: Spec, own: int = 0, whole: bool = False) -> tuple[Sizes, int]:
    """Of a network in training, and the number of its trained parameters, the critic's among them."""
    precision = spec["hardware"]["precision"]
    frozen, numbers = memory.weight_bytes(network, precision)
    trained = [each for each in network.parameters() if each.requires_grad]
    sizes = Sizes(
        frozen=frozen,
        trained=sum(each.numel() for each in trained),
        width=2 if whole and precision != "fp32" else 4,
        frozen_width=frozen / max(numbers, 1),
        frozen_numbers=numbers,
        own=own,
        largest=max((each.numel() for each in trained), default=0),
    )
    return sizes, sizes.trained + own


def unpacked(network: nn.Module, spec: Spec) -> float:
    """The largest quantised matrix in bfloat16, in which it is multiplied."""
    if spec["hardware"]["precision"] not in QUANTISED:
        return 0.0
    return 2.0 * max(each.weight.numel() for each in network.modules() if isinstance(each, nn.Linear))


def bytes_of(scorers: list[Scorer]) -> float:
    return sum((each.bytes for each in scorers), start=0.0)


def decoding(network: Network, rows: float, prompt: int, new: int, read: float, batches: int) -> Work:
    """Sampling for so many rows, in so many batches, each of which reads all weights for every token."""
    operations = flops.decoding(network, rows, prompt, new)
    return Work(operations, read * new * batches, operations - flops.forward(network, rows, prompt, 1))


def scoring_work(scorers: list[Scorer], rows: float) -> float:
    return float(sum(2 * one.numbers * rows * one.longest for one in scorers))
