"""Floating-point operations of a run, and hours on named GPUs: arithmetic on counts.

A product of a matrix with a vector takes two operations a weight. Going back through a frozen weight takes two more
(the gradient of its input), through a trained one four (its own gradient too). Recomputing activations repeats the
forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Gpu:
    """A GPU's published peaks."""

    flops: float
    """Of dense bfloat16 (float16 where it has none), a second."""
    bandwidth: float
    """Of its memory, bytes a second."""
    gib: int
    source: str
    bfloat16: bool = True
    """Whether it computes in it."""
    reached: float = 0.35
    """Share of the peaks that runs are taken to reach where nobody says."""


GPUS: Mapping[str, Gpu] = {
    "h100": Gpu(989e12, 3.35e12, 80, "H100 SXM, NVIDIA's data sheet, without sparsity"),
    "h200": Gpu(989e12, 4.8e12, 141, "H200 SXM, the same"),
    "a100": Gpu(312e12, 2.039e12, 80, "A100 80GB SXM, the same"),
    "a800": Gpu(312e12, 2.039e12, 80, "A800 80GB SXM: an A100 with slower links between GPUs"),
    "v100": Gpu(125e12, 0.9e12, 32, "V100 SXM2 32GB, float16", bfloat16=False),
    "cpu_core": Gpu(
        *(0.1e12, 10e9, 16),
        "no peak: about what float32 training reached on one core with AVX-512 (docs/laptop.md); GiB of a laptop",
        reached=1.0,
    ),
}
"""By the names that a plan takes."""


def gpu_named(name: str) -> Gpu:
    """Raises `UserError` with the known names for any other."""
    if name not in GPUS:
        raise UserError(f"gpu_type={name}: allowed are {', '.join(GPUS)}")
    return GPUS[name]


@dataclass(frozen=True)
class Network:
    """What the operations of a model are counted from."""

    body: int
    """Weights of the layers' matrices, each of which meets every token. No embeddings."""
    head: int
    """Weights of the output head, which meet the tokens whose logits are formed."""
    trained: int
    """Of these, or besides them, the trained ones (matrices of adapters and heads)."""
    trained_head: int
    """Of the trained ones, those in the output head."""
    layers: int
    width: int
    """Of the hidden states: what attention's products are wide, all heads together."""


def network_of(model: nn.Module) -> Network:
    """Counts the matrices of a causal language model, adapters and heads among them; meta will do."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    inside = {id(p) for p in head.parameters()} if head is not None else set()
    embeddings = {id(p) for name, p in model.named_parameters() if "embed" in name and "project" not in name}
    counts = dict.fromkeys(("body", "head", "trained", "trained_head"), 0)
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or (id(parameter) in embeddings and id(parameter) not in inside):
            continue
        if name.endswith(".original"):
            # Of full fine-tuning: W0 + D is one matrix in the products, and D counts.
            continue
        place = "head" if id(parameter) in inside else "body"
        if parameter.requires_grad:
            counts["trained_head" if place == "head" else "trained"] += parameter.numel()
        else:
            counts[place] += parameter.numel()
    config: Any = model.config
    return Network(**counts, layers=config.num_hidden_layers, width=config.hidden_size)


def forward(network: Network, rows: float, time: int, logits: int | None = None) -> float:
    """Operations of a forward pass.

    Args:
        rows, time: of the sequences.
        logits: tokens of a row whose logits are formed; None: all.
    """
    tokens = rows * time
    formed = rows * (time if logits is None else logits)
    products = 2 * (network.body + network.trained) * tokens
    heads = 2 * (network.head + network.trained_head) * formed
    return products + heads + attention(network, rows, time)


def attention(network: Network, rows: float, time: int) -> float:
    """Scores and their product with the values: a token looks at half of the others on average."""
    return 2.0 * 2.0 * network.layers * network.width * rows * time * (time + 1) / 2


def training(network: Network, rows: float, time: int, logits: int | None, recomputed: bool) -> float:
    """Operations of a forward and a backward pass: through frozen weights for the gradient of their input alone."""
    once = forward(network, rows, time, logits)
    formed = rows * (time if logits is None else logits)
    own = 2 * (network.trained * rows * time + network.trained_head * formed)
    again = forward(network, rows, time, 0) if recomputed else 0.0
    # Attention goes back by twice its forward's products, as everything without a frozen factor does.
    return once + once + attention(network, rows, time) + own + again


def decoding(network: Network, rows: float, prompt: int, new: int) -> float:
    """Operations of sampling so many tokens to each prompt, with a cache of keys and values."""
    first, last = (_step(network, rows, seen) for seen in (prompt, prompt + new - 2))
    # The prompts' pass gives the first token already.
    return forward(network, rows, prompt, 1) + (new - 1) * (first + last) / 2


def _step(network: Network, rows: float, seen: int) -> float:
    every = network.body + network.trained + network.head + network.trained_head
    return 2 * every * rows + 4.0 * network.layers * network.width * rows * (seen + 1)


@dataclass(frozen=True)
class Work:
    """Operations of a run, all its devices together; and what its decoding reads, which takes longer than computing."""

    flops: float = 0.0
    read: float = 0.0
    """Bytes that decoding reads of memory, on all devices together: the weights for each token."""
    read_flops: float = 0.0
    """Of `flops`, those of the decoding."""

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.read + other.read, self.read_flops + other.read_flops)

    def times(self, count: float) -> Work:
        """So many times the same."""
        return Work(self.flops * count, self.read * count, self.read_flops * count)

    def hours(self, gpu: Gpu, devices: int, utilisation: float) -> float:
        """Hours on so many GPUs at a share of their peaks: of operations, or of memory's bandwidth in decoding, which
        of the two takes longer there."""
        computing = (self.flops - self.read_flops) / gpu.flops
        decoded = max(self.read_flops / gpu.flops, self.read / gpu.bandwidth)
        return (computing + decoded) / (devices * utilisation) / 3600
