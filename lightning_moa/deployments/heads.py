"""Each member of each policy by itself (HaM's heads)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_moa.deployments.base import Deployed, Deployment, Trained, shown


@dataclass(frozen=True)
class EachHead(Deployment):
    """Every policy that a trained one has (its heads), under the preference that it was trained for, or under none."""

    def policies(self, trained: Trained) -> Iterator[Deployed]:
        import torch

        for place, at in enumerate(trained.trained_at):
            policy = trained.load(place)
            members = policy.members()
            for name, member in members:
                preferences = None if at is None else torch.tensor([list(at)], dtype=torch.float64)
                called = [] if at is None else [shown(at)]
                if at is None or len(members) > 1:
                    called.append(name)
                yield Deployed(" ".join(called), member, preferences)
            policy.unload()
