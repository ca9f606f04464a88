"""Base models on disk at every precision, and what of them lies in memory, for the tests of this room."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lightning_moa.policies import (
    AdapterPolicy,
    Heads,
    LoRA,
    Policy,
    SVDLoRA,
    head_logps,
    load_model,
    response_logps,
)
from lightning_moa.strategies.quantisation import base_dtype, quantization_config
from tests.policies.models import preferences, tokens

FAMILIES = ("llama", "mistral", "opt")
REDUCED = ("bf16", "int8", "nf4")
KINDS = ("lora", "svd", "full heads", "low-rank heads")
SIZES = {"hidden_size": 64, "heads": 4, "intermediate_size": 96}


def load(folder: Path, precision: str) -> PreTrainedModel:
    """A model as a run loads it at a precision."""
    return load_model(
        folder, dtype=base_dtype(precision), device="cpu", quantization_config=quantization_config(precision)
    )


def adapt(kind: str, model: PreTrainedModel) -> AdapterPolicy:
    """A new policy on a base."""
    if kind == "lora":
        return LoRA(model, 4, seed=0)
    if kind == "svd":
        return SVDLoRA(model, 3, 2, init_std=0.2, scale_init=0.5, seed=0)
    return Heads(model, 2, 4, head_rank=None if kind == "full heads" else 3, jitter=0.02, seed=0)


def logps(policy: AdapterPolicy, rows: int = 4) -> Tensor:
    """(rows,) or (heads, rows) log-probs of fixed responses, each at a preference of its own."""
    ids, mask = tokens(rows)
    responses = torch.zeros_like(ids, dtype=torch.bool)
    responses[:, 3:] = True
    if isinstance(policy, Heads):
        return head_logps(policy, ids, mask, responses)
    return response_logps(policy, ids, mask, responses, preferences(rows, 2))


def views(policy: AdapterPolicy) -> list[Policy]:
    """What of a policy can be asked for logits: itself, or each of its heads."""
    return [policy.head(k) for k in range(policy.heads)] if isinstance(policy, Heads) else [policy]


def trained_tensors(policy: AdapterPolicy) -> dict[str, Tensor]:
    return {name: each for name, each in policy.model.named_parameters() if each.requires_grad}


def base_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All that a base holds in memory: parameters, buffers and what quantisation adds to its weights."""
    for name, each in [*model.named_parameters(), *model.named_buffers()]:
        if not _ADAPTER.search(name):
            yield name, each
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not module.weight.is_floating_point():
            if module.weight.dtype == torch.int8:
                yield f"{name}.scale", scale_of(module)
            else:
                yield f"{name}.absmax", module.weight.quant_state.absmax
                yield f"{name}.code", module.weight.quant_state.code


_ADAPTER = re.compile(r"lora_|\.gate\.|\.heads\.")


def scale_of(linear: nn.Linear) -> Tensor:
    """(out,) an 8-bit layer's scales, which it keeps elsewhere once it has been used."""
    return linear.state.SCB if linear.weight.SCB is None else linear.weight.SCB


def stored_bytes(model: nn.Module) -> int:
    """Bytes of memory behind a base's tensors, each piece counted once."""
    pieces = [each.untyped_storage() for _, each in base_tensors(model)]
    return sum({piece.data_ptr(): piece.nbytes() for piece in pieces}.values())


def digest(model: nn.Module) -> dict[str, str]:
    """A hash of the content of each of a base's tensors, by its name without adapters."""
    return {
        name.replace(".base.", "."): hashlib.sha256(
            each.detach().contiguous().view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name, each in base_tensors(model)
    }


def dequantised(linear: nn.Linear) -> Tensor:
    """(out, in) float32: the weight that a quantised layer stands for."""
    if linear.weight.is_floating_point():
        return linear.weight.detach().float()
    if linear.weight.dtype == torch.int8:
        return linear.weight.detach().float() * scale_of(linear)[:, None] / 127
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(linear.weight.data, linear.weight.quant_state).float()
