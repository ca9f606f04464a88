"""One source of rewards, many kinds: a model of the hub or trained here, or a rule. All score texts, higher
is better.

What needs torch is imported when it is first asked for, so that the table of models is there at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightning_moa.rewards.base import Rewards, RuleRewards, check_scores
from lightning_moa.rewards.joined import Normalised, RewardSet
from lightning_moa.rewards.selection import mors, select
from lightning_moa.rewards.table import MODELS, HubModel, hub_model, models_of
from lightning_moa.rewards.unit import UNIT_MAPS, UnitMap

if TYPE_CHECKING:
    from lightning_moa.rewards.hub import HubRewards
    from lightning_moa.rewards.trained import TrainedRewards

__all__ = [
    "MODELS",
    "UNIT_MAPS",
    "HubModel",
    "HubRewards",
    "Normalised",
    "RewardSet",
    "Rewards",
    "RuleRewards",
    "TrainedRewards",
    "UnitMap",
    "check_scores",
    "hub_model",
    "models_of",
    "mors",
    "select",
]

_LATER = {"HubRewards": "hub", "TrainedRewards": "trained"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
