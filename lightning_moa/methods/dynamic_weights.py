"""Weights that follow the hypervolume's gain, an idea of Lu et al. (2025), whose abstract is all that we know.

Policy: one that is trained for one preference, or for none. Objective: one that samples (PPO, GRPO, RLOO).
Aggregation: linear, with weights that move as the training goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_moa.answers import Sections
from lightning_moa.batches import Rollout
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.settings import DynamicConfig
from lightning_moa.pareto import hypervolume_gradient, is_non_dominated

KEPT = 64
"""Points of the archive, at most; the latest stay."""


class DynamicWeights(Alignment):
    """w moves towards lambda_i dHV/dJ_i, normalised: to the objectives by which the volume gains most just now.

    J, (m,), is a running mean of the rollouts' scores, and HV the volume that it dominates together with the front of
    all that it has been before, above the first batch's scores less so many of their deviations. While it is dominated
    by where it was already, it has no such gradient and the weights stay. The scale of a reward does not matter: a
    score times c has a weight over c. Early on, when nothing is gained by any one objective alone, w_i is
    lambda_i / (J_i - reference_i), more for what lags behind. Once objectives are at odds it feeds itself: among the
    points that J has been at, the volume gains most by the objective that has just risen, so that weights run to one
    side. The rule is ours.

    Args:
        dynamic: fields of `DynamicConfig`; None: its defaults.
    """

    sections: ClassVar[Sections] = {"dynamic": DynamicConfig}

    weights: Tensor
    mean: Tensor
    reference: Tensor
    archive: Tensor
    updates: Tensor

    def __init__(self, *args: Any, dynamic: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = DynamicConfig(**(dynamic or {}))
        own = torch.full((self.m,), 1 / self.m) if self.at is None else self.at
        self.own = own.double()
        # Buffers, so that a checkpoint holds them.
        for name in ("mean", "reference"):
            self.register_buffer(name, torch.zeros(self.m, dtype=torch.float64))
        self.register_buffer("weights", self.own.clone())
        self.register_buffer("archive", torch.full((KEPT, self.m), -torch.inf, dtype=torch.float64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def preference(self, step: int) -> Tensor:
        return self.weights.float()

    def reweighed(self, preference: Tensor, parts: Sequence[Any]) -> tuple[Tensor, list[Any]]:
        rollout: Rollout = parts[0]
        gathered: Any = self.all_gather(rollout.scores)
        self.follow(gathered.reshape(-1, self.m))
        weights = self.weights.to(rollout.scores)
        # All parts are views of one rollout.
        return weights, [replace(rollout, preference=weights)] * len(parts)

    @torch.no_grad()
    def follow(self, scores: Tensor) -> None:
        """Take a batch's scores, (batch, m), into the mean, and move the weights."""
        found = scores.to(self.mean)
        if not int(self.updates):
            self.mean.copy_(found.mean(0))
            # Scores that are all equal still leave room below.
            spread = found.std(0, correction=0)
            room = torch.where(spread > 0, spread, found.mean(0).abs().clamp(min=1.0))
            self.reference.copy_(found.mean(0) - self.settings.margin * room)
        self.updates += 1
        self.mean.lerp_(found.mean(0), 1 - self.settings.smoothing)
        past = self.archive[self.archive.isfinite().all(1)]
        # The first of equal points has the gradient.
        points = torch.cat([self.mean[None], past]).cpu().numpy()
        _, gradient = hypervolume_gradient(points, self.reference.cpu().numpy())
        gain = self.own.to(self.mean) * torch.from_numpy(gradient[0]).to(self.mean)
        if bool(gain.sum() > 0):
            self.weights.lerp_(gain / gain.sum(), self.settings.rate)
        kept = points[np.asarray(is_non_dominated(points))][:KEPT]
        self.archive.fill_(-torch.inf)
        self.archive[: len(kept)] = torch.from_numpy(kept).to(self.archive)

    def logs(self) -> dict[str, float | Tensor]:
        return {f"weight_{i}": value for i, value in enumerate(self.weights.float())}
