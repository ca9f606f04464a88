"""One source of rewards, many kinds: a model of the hub or trained here, or a rule. All score texts, higher
is better.
"""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.rewards.base import Rewards as Rewards
    from lightning_moa.rewards.base import RuleRewards as RuleRewards
    from lightning_moa.rewards.base import as_rewards as as_rewards
    from lightning_moa.rewards.base import check_scores as check_scores
    from lightning_moa.rewards.hub import HubRewards as HubRewards
    from lightning_moa.rewards.joined import Normalised as Normalised
    from lightning_moa.rewards.joined import RewardSet as RewardSet
    from lightning_moa.rewards.selection import mors as mors
    from lightning_moa.rewards.selection import select as select
    from lightning_moa.rewards.table import MODELS as MODELS
    from lightning_moa.rewards.table import HubModel as HubModel
    from lightning_moa.rewards.table import hub_model as hub_model
    from lightning_moa.rewards.table import models_of as models_of
    from lightning_moa.rewards.trained import TrainedRewards as TrainedRewards
    from lightning_moa.rewards.unit import UNIT_MAPS as UNIT_MAPS
    from lightning_moa.rewards.unit import UnitMap as UnitMap

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "MODELS": "table",
        "UNIT_MAPS": "unit",
        "HubModel": "table",
        "HubRewards": "hub",
        "Normalised": "joined",
        "RewardSet": "joined",
        "Rewards": "base",
        "RuleRewards": "base",
        "TrainedRewards": "trained",
        "UnitMap": "unit",
        "as_rewards": "base",
        "check_scores": "base",
        "hub_model": "table",
        "models_of": "table",
        "mors": "selection",
        "select": "selection",
    },
)
