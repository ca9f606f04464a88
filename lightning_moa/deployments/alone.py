"""Policies that know no preference (GAPO, MGDA, Safe RLHF)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_moa.deployments.base import Deployed, Deployment, Trained


@dataclass(frozen=True)
class Alone(Deployment):
    """One policy, whatever the preference; or several, each measured by itself."""

    def policies(self, trained: Trained) -> Iterator[Deployed]:
        for place in range(len(trained.folders)):
            policy = trained.load(place)
            yield Deployed("alone" if len(trained.folders) == 1 else f"alone {place}", policy)
            policy.unload()
