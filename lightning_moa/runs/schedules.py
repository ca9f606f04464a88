"""How many updates a training makes, and their optimiser with its learning rate: a linear rise from 0, then cosine,
linear, or constant, or constant from the first. Light: a plan reads it, and loads no Lightning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lightning_moa.strategies.quantisation import adamw


def schedule(kind: str, optimiser: Optimizer, warmup: int, steps: int) -> LambdaLR:
    """The factor on the learning rate of `steps` updates, `warmup` of them rising; the numbers of transformers'
    `get_scheduler`, whose import brings in peft and bitsandbytes."""

    def factor(step: int) -> float:
        if kind == "constant":
            return 1.0
        if step < warmup:
            return step / max(1, warmup)
        if kind == "constant_with_warmup":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        if kind == "linear":
            return max(0.0, (steps - step) / max(1, steps - warmup))
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))

    return LambdaLR(optimiser, factor)


def number_of_steps(settings: dict[str, Any], rows: int) -> int:
    """Updates that the settings ask for: `steps`, or what `epochs` passes over `rows` take."""
    if settings["steps"] is not None:
        return int(settings["steps"])
    return max(1, math.ceil(settings["epochs"] * rows / settings["batch_size"]))


def optimiser_factory(
    settings: Mapping[str, Any], steps: int, kind: str = "adamw"
) -> Callable[[Iterable[Parameter]], tuple[Optimizer, LRScheduler]]:
    """AdamW with the schedule of an `OptimiserConfig` over so many updates; `kind` is `hardware.optimiser`."""

    def build(parameters: Iterable[Parameter]) -> tuple[Optimizer, LRScheduler]:
        optimiser = adamw(
            kind,
            parameters,
            lr=settings["lr"],
            betas=(settings["beta1"], settings["beta2"]),
            weight_decay=settings["weight_decay"],
        )
        warmup = math.ceil(settings["warmup_ratio"] * steps)
        return optimiser, schedule(settings["schedule"], optimiser, warmup, steps)

    return build
