"""What a precision means for the base model's weights, and AdamW in 32 or 8 bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch.nn import Parameter

from lightning_moa.errors import UserError
from lightning_moa.strategies.choices import OPTIMISERS, PRECISIONS, QUANTISED, require

if TYPE_CHECKING:
    from torch.optim import Optimizer


def base_dtype(precision: str) -> str:
    """The type of the base's floating-point weights: of all of them, or of those that quantisation leaves alone
    (embeddings, norms, the output head)."""
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision}: allowed are {', '.join(PRECISIONS)}")
    return "float32" if precision == "fp32" else "bfloat16"


def quantization_config(precision: str) -> Any:
    """transformers' `BitsAndBytesConfig` for int8 and nf4; None for the others.

    bitsandbytes quantises activations to 8 bits, too, where int8 runs on a GPU, by way of float16, and leaves columns
    with values above 6 in float16: which those are hangs on the whole batch, so that a row's logits can differ a little
    from those that it has alone. On a CPU, weights alone are in 8 bits.
    """
    base_dtype(precision)
    if precision not in QUANTISED:
        return None
    require("bitsandbytes", f"precision={precision}")
    import torch
    from transformers import BitsAndBytesConfig

    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def adamw(
    kind: str,
    parameters: Iterable[Parameter],
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> Optimizer:
    """AdamW over the parameters: torch's, or bitsandbytes' with its two states in 8 bits (and a float32 scale for 256).

    bitsandbytes keeps the states of tensors with fewer than 4096 entries in 32 bits: of singular values, biases, and
    the factors of narrow layers.

    Raises:
        UserError: an unknown kind, or one that needs a package which isn't installed.
    """
    if kind not in OPTIMISERS:
        raise UserError(f"optimiser={kind}: allowed are {', '.join(OPTIMISERS)}")
    if kind == "adamw":
        from torch.optim import AdamW

        return AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay)
    require("bitsandbytes", f"optimiser={kind}")
    from bitsandbytes.optim import AdamW8bit

    optimiser: Optimizer = AdamW8bit(parameters, lr=lr, betas=betas, weight_decay=weight_decay)
    return optimiser
