"""The multipliers of PPO-Lagrangian."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_moa.errors import UserError


class Multipliers(nn.Module):
    """One Lagrange multiplier per constraint: mean score of objective i of the last episodes >= its threshold.

    Safe-RLHF (Dai et al., 2024) constrains a cost, mean cost <= threshold; here the objective is the negated cost, so
    its threshold is the cost's, negated. lambda = exp(log lambda); plain gradient steps on log lambda raise it while
    the constraint is violated. The sum of rewards then has weights (1, lambda_1, ...) / (1 + sum lambda).

    Args:
        constraints: how many.
        thresholds: the least mean score of each, in scaled units; None is 0.
        from_start: of each, whether its threshold is counted from the first batch's mean score, which the reference
            policy has sampled, rather than from 0; None: of none. Scores of a model that was trained on pairs have no
            zero of their own (a constant more changes no loss).
        lr: of the gradient steps on log lambda.
        initial: lambda at the start.
        largest: lambda is kept at or below.
        episodes: how many of the last responses the mean is taken of.
        delay: updates of the policy before lambda moves.
    """

    log_multipliers: Tensor
    origin: Tensor
    window: Tensor
    seen: Tensor
    updates: Tensor

    def __init__(
        self,
        constraints: int,
        *,
        thresholds: Sequence[float] | None = None,
        from_start: Sequence[bool] | None = None,
        lr: float = 0.1,
        initial: float = 1.0,
        largest: float = 5.0,
        episodes: int = 128,
        delay: int = 0,
    ) -> None:
        super().__init__()
        values = [0.0] * constraints if thresholds is None else [float(value) for value in thresholds]
        if len(values) != constraints:
            raise UserError(
                f"lagrangian.thresholds has {len(values)} values for {constraints} constrained objectives (all but the "
                "first): one each is needed"
            )
        relative = [False] * constraints if from_start is None else [bool(each) for each in from_start]
        if len(relative) != constraints:
            raise UserError(
                f"from_start has {len(relative)} values for {constraints} constrained objectives: one each is needed"
            )
        self.thresholds = values
        self.from_start = relative
        self.lr = lr
        self.largest = largest
        self.delay = delay
        # Buffers, so that a checkpoint holds them: lambda depends on all that came before.
        self.register_buffer(
            "log_multipliers", torch.full((constraints,), initial, dtype=torch.float64).log()
        )
        self.register_buffer("origin", torch.zeros(constraints, dtype=torch.float64))
        self.register_buffer("window", torch.zeros(episodes, constraints, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, scores: Tensor) -> Tensor:
        """Take a batch's scores (batch, constraints) into the mean, move lambda, and return it, (constraints,)."""
        found = scores.to(self.window)
        if not int(self.seen):
            counted = torch.tensor(self.from_start, dtype=torch.bool, device=found.device)
            self.origin.copy_(torch.where(counted, found.mean(0), 0.0))
        kept = torch.cat([self.window, found - self.origin])[-len(self.window) :]
        self.window.copy_(kept)
        self.seen += len(scores)
        self.updates += 1
        if int(self.updates) > self.delay:
            episodes = self.window[-min(int(self.seen), len(self.window)) :]
            violated = self.window.new_tensor(self.thresholds) - episodes.mean(0)
            # The gradient of -violated * lambda in log lambda is -violated * lambda.
            self.log_multipliers += self.lr * violated * self.log_multipliers.exp()
            self.log_multipliers.clamp_(max=math.log(self.largest))
        return self.values()

    def values(self) -> Tensor:
        """lambda, (constraints,)."""
        return self.log_multipliers.exp()

    def weights(self) -> Tensor:
        """(1 + constraints,) weights of the first objective and of the constrained ones, on the simplex."""
        raw = torch.cat([self.log_multipliers.new_ones(1), self.values()])
        return raw / raw.sum()
