"""Safe RLHF (Dai et al., 2024): PPO-Lagrangian. The first objective is maximised, each other held above a threshold.

Policy: one that knows no preference. Objective: PPO. Aggregation: linear, with the weights (1, lambda) / (1 + sum
lambda) of Lagrange multipliers that rise while their constraint is violated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_moa.aggregation import Multipliers
from lightning_moa.answers import Sections
from lightning_moa.batches import Rollout
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.settings import LagrangianConfig
from lightning_moa.objectives.base import Run


class SafeRLHF(Alignment):
    """The preference is found, not given: each rollout's scores move the multipliers before it is trained on.

    With `ppo.weigh=advantages` its advantage is (A_1 + sum_i lambda_i A_i) / (1 + sum_i lambda_i), as in the authors'
    code. Each objective's reward carries the KL term, a negated cost's too, so that all pull to the reference.

    Args:
        lagrangian: arguments of `Multipliers`; None: its defaults.
    """

    @classmethod
    def arguments(cls, run: Run) -> dict[str, Any]:
        found = super().arguments(run)
        asked = found["lagrangian"].pop("counted_from")
        relative = [not zero if asked == "auto" else asked == "start" for zero in run.zeros[1:]]
        found["lagrangian"]["from_start"] = relative
        return found

    sections: ClassVar[Sections] = {"lagrangian": LagrangianConfig}

    def __init__(self, *args: Any, lagrangian: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.multipliers = Multipliers(self.m - 1, **({} if lagrangian is None else lagrangian))

    def preference(self, step: int) -> Tensor:
        return self.multipliers.weights().float()

    def reweighed(self, preference: Tensor, parts: Sequence[Any]) -> tuple[Tensor, list[Any]]:
        rollout: Rollout = parts[0]
        gathered: Any = self.all_gather(rollout.scores)
        scores = gathered.reshape(-1, self.m)
        self.multipliers.update(scores[:, 1:])
        weights = self.multipliers.weights().to(rollout.scores)
        # All parts are views of one rollout.
        return weights, [replace(rollout, preference=weights)] * len(parts)

    def logs(self) -> dict[str, float | Tensor]:
        found: Tensor = self.multipliers.values()
        return {f"multiplier_{i}": value for i, value in enumerate(found.to(torch.float32), 1)}
