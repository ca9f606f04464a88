"""Learning-rate schedules: a linear rise from 0, then cosine, linear, or constant."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def schedule(kind: str, optimiser: Optimizer, warmup: int, steps: int) -> LambdaLR:
    """The factor on the learning rate of `steps` updates, `warmup` of them rising; the numbers of transformers'
    `get_scheduler`, whose import brings in peft and bitsandbytes."""

    def factor(step: int) -> float:
        if step < warmup:
            return step / max(1, warmup)
        if kind == "constant":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        if kind == "linear":
            return max(0.0, (steps - step) / max(1, steps - warmup))
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))

    return LambdaLR(optimiser, factor)
