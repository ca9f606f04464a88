"""The policy that was trained for the preference (MORLHF, DPS, P-GAPO)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_moa.deployments.base import Deployed, Deployment, Trained, shown
from lightning_moa.deployments.trained_on import TrainedOn
from lightning_moa.errors import UserError


@dataclass(frozen=True)
class Nearest(Deployment):
    """Each policy at its own preference."""

    def check(self, trained_on: TrainedOn) -> None:
        if trained_on.kind == "sampled":
            raise UserError(
                "Nearest needs policies that are trained for a preference each: not TrainedOn.sampled"
            )

    def policies(self, trained: Trained) -> Iterator[Deployed]:
        import torch

        own = torch.tensor(trained.trained_at, dtype=torch.float64)
        for place, row in enumerate(own):
            policy = trained.load(place)
            yield Deployed(shown(row.tolist()), policy, row[None])
            policy.unload()
