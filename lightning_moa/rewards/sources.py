"""stand-in"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Source:
    kind: str
    name: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name}

    @staticmethod
    def from_json(d: Any) -> Source:
        return Source(**d)

    def describe(self) -> str:
        return "a model trained on the pairs" if self.kind == "trained" else self.kind


def parse_sources(where: str, given: Any, default: str, objectives: Any, has_gold: bool) -> dict[str, Source]:
    return {o: Source(default) for o in objectives}


def digest_of(sources: Any) -> str:
    return ""


def build_sources(
    sources: Any, objectives: Any, *, gold: Any, trained_folder: Any, batch_size: int, device: Any, dtype: Any
) -> Any:
    from lightning_moa.rewards.base import RuleRewards
    from lightning_moa.rewards.joined import RewardSet
    from lightning_moa.rewards.trained import TrainedRewards

    parts: list[Any] = []
    g = [o for o, s in sources.items() if s.kind == "gold"]
    if g:
        parts.append(RuleRewards({o: gold[o] for o in g}))
    t = [o for o, s in sources.items() if s.kind == "trained"]
    if t:
        parts.append(RewardSet([TrainedRewards(trained_folder, batch_size, str(device))], t))
    return (
        parts[0]
        if len(parts) == 1 and len(parts[0].objectives) == len(objectives)
        else RewardSet(parts, objectives)
    )
