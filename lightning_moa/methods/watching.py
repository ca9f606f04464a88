"""A look at every objective's gradient now and then, whatever the method's own aggregation looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from lightning_moa.aggregation.gradients import gradients, gramian
from lightning_moa.policies import Policy
from lightning_moa.policies.probes import PROBES, Probe


class GradientWatch:
    """Records, every so many updates, the Gramian of the losses' gradients for each kind of probe, the weights that
    the method's aggregation gave, and how far each objective is carried by the step that the optimiser then took.

    It changes nothing in the training, but for rounding where the method probes all parameters and would not go back a
    last time. Where an update is made of several micro-batches or takes a second look at its
    rollout, the gradients are the last one's.

    Args:
        policy: the one that is trained.
        objectives: their names, (m,).
        every: updates between two looks.
    """

    def __init__(self, policy: Policy, objectives: Sequence[str], every: int) -> None:
        self.policy = policy
        self.objectives = list(objectives)
        self.every = every
        self.probes = {kind: Probe(policy, kind) for kind in PROBES}
        self.rows: list[dict[str, object]] = []
        self._updates = 0
        self._seen: list[dict[str, object]] = []
        self._gradients: list[Tensor] = []

    @property
    def due(self) -> bool:
        """Whether the update that is being made is looked at."""
        return self._updates % self.every == 0

    def look(self, losses: Tensor, total: Tensor) -> None:
        """Take the gradients of losses (m,) or (g, m), and the weights that `total` gives them."""
        if losses.shape[-1] != len(self.objectives):
            return  # scalarised before the loss: there is one gradient
        (weights,) = torch.autograd.grad(total, losses, retain_graph=True)
        if losses.ndim == 2:
            losses, weights = losses.mean(0), weights.sum(0)
        self._seen = []
        for kind, probe in self.probes.items():
            tensors = probe.tensors()
            stacked = gradients(losses, tensors)
            found = gramian(stacked, tensors)
            if kind == "all":
                self._gradients = stacked
            for i, name in enumerate(self.objectives):
                row: dict[str, object] = {"step": self._updates, "probe": kind, "objective": name}
                row["weight"] = float(weights[i])
                row |= {f"dot_{other}": float(found[i, j]) for j, other in enumerate(self.objectives)}
                self._seen.append(row)

    def before_step(self) -> list[Tensor]:
        """The parameters as they are, to be handed to `after_step`."""
        return [each.detach().clone() for each in self.policy.trainable_parameters()] if self._seen else []

    def after_step(self, before: Sequence[Tensor]) -> None:
        """Count the update; where it was looked at, what it gains each objective to first order: -<g_i, step>."""
        if self._seen:
            gains = torch.zeros(len(self.objectives), dtype=torch.float64)
            length = 0.0
            pairs = zip(self._gradients, self.policy.trainable_parameters(), before, strict=True)
            for stacked, now, then in pairs:
                moved = (now.detach() - then).flatten().double()
                gains -= (stacked.double() @ moved).cpu()
                length += float(moved.square().sum())
            for row in self._seen:
                gain = gains[self.objectives.index(str(row["objective"]))]
                self.rows.append({**row, "gain": float(gain), "moved": length**0.5})
        self._seen, self._gradients = [], []
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """What a run that is taken up again needs: the rows and the updates so far."""
        return {"rows": [dict(row) for row in self.rows], "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.rows, self._updates = list(state["rows"]), int(state["updates"])

    def write(self, path: Path) -> None:
        """A CSV: step, probe, objective, weight (that multiplied its loss), dot_<objective> (inner products of the
        losses' gradients), gain (of the objective, first order, by the step taken), moved (the step's length)."""
        dots = [f"dot_{name}" for name in self.objectives]
        columns = ["step", "probe", "objective", "weight", *dots, "gain", "moved"]
        # Columns without rows too: a method with one loss for all has nothing to see, and the file can be read.
        pd.DataFrame(self.rows, columns=columns).to_csv(path, index=False, lineterminator="\n")
