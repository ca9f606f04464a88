"""Bytes that a run takes on each of its devices, worked out from counts: how many numbers, of which type, shared how.

A run's peak is the largest of its phases (sampling, forward, backward, the optimiser's step), and not the sum of all
that it ever holds: what one phase has freed the next one uses again. Within a phase the kinds below add up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_moa.strategies.choices import PARTITIONED, QUANTISED, processes_of, strategy_of

if TYPE_CHECKING:
    from torch import nn

GIB = 2**30
MARGIN = 0.2
"""Share by which an estimate may be wrong: what it was held to against runs measured on a CPU. On a GPU nothing has
been measured; its allocator's rounding and holes come on top."""
PROCESS_GPU = 1.0 * GIB
"""Assumed: a CUDA context, loaded kernels, and the workspaces of cuBLAS and NCCL. Not measured here."""
PROCESS_CPU = 0.58 * GIB
"""Python, torch, transformers, Lightning, pandas and tokenizers as one process has them resident, measured."""

KINDS = (
    "weights",
    "adapter",
    "optimiser",
    "gradients",
    "activations",
    "kv_cache",
    "rollout",
    "reward_models",
    "deepspeed",
    "process",
)
"""What memory is for. weights: frozen ones; adapter: trained ones, heads and critics among them; rollout: what sampled
responses keep until they are trained on; deepspeed: weights gathered from other processes, and buckets of gradients."""

FLOAT32 = 4
ROW_SCALE = 4
"""int8: bytes of a row's scale."""
NF4_BLOCK = 64
BYTES_OF_8BIT_STATE = 2 * (1 + 4 / 256)
"""Two states of a byte each, with a float32 scale for every 256 of them."""

REDUCE_BUCKET = 500_000_000
LIVE_PARAMETERS = 1_000_000_000
PREFETCHED = 50_000_000
"""DeepSpeed's defaults, in numbers: gradients reduced at once, weights that may be gathered at once, and those that
are gathered ahead."""

Bytes = dict[str, float]


@dataclass(frozen=True)
class Sizes:
    """What a run holds all the time, over all processes together."""

    frozen: float
    """Bytes of the frozen weights, quantised where they are."""
    trained: int
    """Numbers that the strategy shares out or replicates."""
    width: int = FLOAT32
    """Bytes of a trained weight: 4, or 2 where all of a model in bfloat16 is trained."""
    frozen_width: float = FLOAT32
    """Bytes of a frozen weight."""
    frozen_numbers: int = 0
    own: int = 0
    """Numbers in float32 that every process trains for itself: a critic."""
    largest: int = 0
    """Numbers of the largest trained tensor."""


def weight_bytes(model: nn.Module, precision: str) -> tuple[float, int]:
    """Bytes and number of a model's frozen weights, as `precision` stores them.

    int8 and nf4 shrink the linear layers except the output head: a byte a weight and a float32 for each row of
    outputs, or half a byte and a float32 for every 64 weights.
    """
    from torch import nn as modules
    from transformers import PreTrainedModel

    packed = {}
    if precision in QUANTISED:
        body = model if isinstance(model, PreTrainedModel) else model.model
        head: Any = body.get_output_embeddings()  # type: ignore[union-attr,operator]
        kept = {id(p) for p in head.parameters()} if head is not None else set()
        for module in model.modules():
            if isinstance(module, modules.Linear) and id(module.weight) not in kept:
                packed[id(module.weight)] = _packed(module.weight.shape, precision)
    total, numbers = 0.0, 0
    for parameter in model.parameters():
        if not parameter.requires_grad:
            size = parameter.numel() * parameter.element_size()
            total += packed.get(id(parameter), size)
            numbers += parameter.numel()
    return total, numbers


def _packed(shape: Any, precision: str) -> float:
    rows, columns = shape
    if precision == "int8":
        return float(rows * columns + rows * ROW_SCALE)
    return rows * columns / 2 + math.ceil(rows * columns / NF4_BLOCK) * FLOAT32


def resident(sizes: Sizes, hardware: Mapping[str, Any]) -> tuple[Bytes, float]:
    """What a process holds in every phase of a training, and what it keeps in the machine's own memory instead.

    Replicas (ddp) have all of it, and gradients once more in the buckets that are averaged. ZeRO-2 shares out the
    optimiser's states and its float32 copy of what is trained; ZeRO-3 the frozen weights too, and gathers as many as
    DeepSpeed lets live at once. What is trained of an adapter counts as whole there: most of its tensors are smaller
    than what DeepSpeed shares out.

    Args:
        sizes: over all processes together.
        hardware: a study's.

    Returns:
        (bytes of a device by kind, bytes of a process in the machine's memory).
    """
    strategy, processes = strategy_of(hardware), processes_of(hardware)
    states = _states(sizes, hardware)
    trained = float(sizes.trained * sizes.width)
    own = float(sizes.own * FLOAT32)
    found: Bytes = {
        "weights": sizes.frozen,
        "adapter": trained + own,
        "optimiser": states + own * 2,
        "gradients": trained + own,
    }
    if strategy == "ddp":
        found["gradients"] += trained
    if not strategy.startswith("deepspeed"):
        return found, 0.0
    master = 0.0 if sizes.width == FLOAT32 and strategy in PARTITIONED else float(sizes.trained * FLOAT32)
    found["optimiser"] = (states + master) / processes + own * 2
    found["gradients"] = trained / processes + own
    buckets = 1
    if strategy in PARTITIONED:
        found["weights"] = sizes.frozen / processes
        # A whole model that is trained is far above the size that stays whole.
        found["adapter"] = (trained / processes if sizes.width < FLOAT32 else trained) + own
        found["deepspeed"] = _gathered(sizes)
    elif hardware["accelerator"] == "gpu":
        buckets = 2  # one is filled while the other travels
    # Memory that is asked for and not written to is taken on a GPU alone.
    bucket = REDUCE_BUCKET if hardware["accelerator"] == "gpu" else min(REDUCE_BUCKET, sizes.trained)
    found["deepspeed"] = found.get("deepspeed", 0.0) + float(buckets * bucket * sizes.width)
    if strategy != "deepspeed_3_offload":
        return found, 0.0
    host = found["weights"] + trained / processes + (states + master) / processes + found["gradients"]
    return found | {"weights": 0.0, "adapter": own, "optimiser": own * 2}, host


def _states(sizes: Sizes, hardware: Mapping[str, Any]) -> float:
    """AdamW's two moments, in the weights' own type under torch, in float32 under DeepSpeed, or in 8 bits."""
    if hardware["optimiser"] == "adamw_8bit":
        return sizes.trained * BYTES_OF_8BIT_STATE
    width = FLOAT32 if strategy_of(hardware).startswith("deepspeed") else sizes.width
    return float(2 * sizes.trained * width)


def _gathered(sizes: Sizes) -> float:
    """Bytes of the weights that ZeRO-3 has whole at once."""
    numbers = sizes.frozen_numbers + (sizes.trained if sizes.width < FLOAT32 else 0)
    width = sizes.frozen_width if sizes.frozen_numbers else sizes.width
    return min(numbers, LIVE_PARAMETERS + PREFETCHED) * width


def step_bytes(sizes: Sizes, hardware: Mapping[str, Any]) -> float:
    """What AdamW's step makes besides: on a GPU torch's works on all tensors at once and takes one more of each; on
    the CPU on one after the other."""
    if hardware["optimiser"] == "adamw_8bit":
        return 0.0
    share = processes_of(hardware) if strategy_of(hardware).startswith("deepspeed") else 1
    numbers = sizes.trained if hardware["accelerator"] == "gpu" else 2 * sizes.largest
    return numbers / share * max(sizes.width, 2)


def kv_cache_bytes(config: Any, rows: int, tokens: int, width: int) -> float:
    """Keys and values of all layers, and one layer's once more, since growing it copies it.

    Args:
        config: transformers' of the model.
        rows, tokens: of the sequences, prompt and response.
        width: bytes of a number.
    """
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    layer = 2 * heads * size * rows * tokens * width
    return float(layer * (config.num_hidden_layers + 1))


def process_bytes(hardware: Mapping[str, Any]) -> float:
    """What a process takes before it holds anything of a run's."""
    return PROCESS_GPU if hardware["accelerator"] == "gpu" else PROCESS_CPU


def total(phase: Mapping[str, float]) -> float:
    """Bytes of a phase, its kinds together."""
    return sum(phase.values())


def peak(phases: Mapping[str, Bytes]) -> tuple[str, Bytes]:
    """The phase that takes the most, and its bytes by kind."""
    name = max(phases, key=lambda each: total(phases[each]))
    return name, phases[name]


def largest_batch(smaller: Mapping[str, Bytes], larger: Mapping[str, Bytes], rows: int, size: float) -> int:
    """Rows a device that fit into `size` bytes: each phase is a straight line through what it takes at `rows` and at
    twice as many."""
    fits = math.inf
    for name, phase in smaller.items():
        slope = (total(larger[name]) - total(phase)) / rows
        rest = size - (total(phase) - slope * rows)
        if rest < slope or rest < 0:
            return 0
        if slope > 0:
            fits = min(fits, rest / slope)
    return int(fits) if math.isfinite(fits) else rows
