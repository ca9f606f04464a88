"""bitsandbytes' linear layers in 8 and 4 bits, made to compute one function of their input, frozen.

As they come, a pass in training and one in evaluation mode are two functions on a CPU: 8-bit layers round activations
to 8 bits in the latter alone, and 4-bit ones rearrange their weight in place for good, on processors with bfloat16,
into a form that has no gradient and cannot be merged. Log-ratios compare passes of both modes.
"""

from __future__ import annotations

import logging
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_UNSAID = {
    # On a GPU, of each layer in each pass.
    "bitsandbytes.autograd._functions": "MatMul8bitLt: inputs will be cast",
    # Whenever it is imported, and peft imports it: there is a kernel that it would fetch from the hub and run.
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
}
"""How lines begin that are no news to anybody, by the logger of bitsandbytes that gives them."""


def _news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_UNSAID[record.name])


for _name in _UNSAID:
    logging.getLogger(_name).addFilter(_news)


def is_quantised(model: nn.Module) -> bool:
    """Whether any linear layer's weight is in 8 or 4 bits."""
    return any(_packed(module) for module in model.modules())


def steady(model: nn.Module) -> None:
    """Make each quantised layer compute alike in training and in evaluation mode.

    And have 8-bit layers keep nothing for the backward pass: theirs needs the weight alone, but bitsandbytes holds on
    to the input where gradient checkpointing cannot free it.
    """
    for module in model.modules():
        if _packed(module):
            module.forward = MethodType(
                _eight_bits if module.weight.dtype == torch.int8 else _four_bits, module
            )


def _packed(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and not module.weight.is_floating_point()


def _four_bits(layer: Any, x: Tensor) -> Tensor:
    layer.training = True
    result: Tensor = type(layer).forward(layer, x)
    return result


def _eight_bits(layer: Any, x: Tensor) -> Tensor:
    layer.training = True
    result: Tensor = _EightBits.apply(x, layer)
    return result


class _EightBits(torch.autograd.Function):
    """bitsandbytes' product, and its gradient for the input: upstream times the weight, W_ij = q_ij c_i / 127."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        ctx.layer = layer
        result: Tensor = type(layer).forward(layer, x)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        state = ctx.layer.state
        weight = state.CB.to(upstream.dtype).mul_(state.SCB[:, None] / 127)
        return upstream @ weight, None
