"""LightningModules, one file a method, each a product of three answers (see `products.py`)."""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.methods.base import Alignment as Alignment
    from lightning_moa.methods.dps import DPS as DPS
    from lightning_moa.methods.dynamic_weights import DynamicWeights as DynamicWeights
    from lightning_moa.methods.gapo import GAPO as GAPO
    from lightning_moa.methods.ham import HaM as HaM
    from lightning_moa.methods.head_watch import HeadWatch as HeadWatch
    from lightning_moa.methods.mgda import MGDA as MGDA
    from lightning_moa.methods.panacea import Panacea as Panacea
    from lightning_moa.methods.pgapo import PGAPO as PGAPO
    from lightning_moa.methods.products import Product as Product
    from lightning_moa.methods.reward_model import RewardModel as RewardModel
    from lightning_moa.methods.rewarded_soups import RewardedSoups as RewardedSoups
    from lightning_moa.methods.ric import RiC as RiC
    from lightning_moa.methods.safe_rlhf import SafeRLHF as SafeRLHF
    from lightning_moa.methods.sca import HeadwiseSCA as HeadwiseSCA
    from lightning_moa.methods.sft import SFT as SFT
    from lightning_moa.methods.stopping import Stoppable as Stoppable
    from lightning_moa.methods.watching import GradientWatch as GradientWatch

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Alignment": "base",
        "DPS": "dps",
        "DynamicWeights": "dynamic_weights",
        "GAPO": "gapo",
        "GradientWatch": "watching",
        "HaM": "ham",
        "HeadWatch": "head_watch",
        "HeadwiseSCA": "sca",
        "MGDA": "mgda",
        "PGAPO": "pgapo",
        "Panacea": "panacea",
        "Product": "products",
        "RewardModel": "reward_model",
        "RewardedSoups": "rewarded_soups",
        "RiC": "ric",
        "SFT": "sft",
        "SafeRLHF": "safe_rlhf",
        "Stoppable": "stopping",
    },
)
