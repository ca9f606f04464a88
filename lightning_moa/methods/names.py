"""This room's LightningModules by their short names. Light: no torch."""

from __future__ import annotations

from lightning_moa.answers import Known
from lightning_moa.methods.settings import DynamicConfig, LagrangianConfig

METHODS = {
    "panacea": Known("lightning_moa.methods.panacea:Panacea"),
    "dps": Known("lightning_moa.methods.dps:DPS"),
    "rewarded_soups": Known("lightning_moa.methods.rewarded_soups:RewardedSoups"),
    "gapo": Known("lightning_moa.methods.gapo:GAPO"),
    "mgda": Known("lightning_moa.methods.mgda:MGDA"),
    "pgapo": Known("lightning_moa.methods.pgapo:PGAPO"),
    "safe_rlhf": Known("lightning_moa.methods.safe_rlhf:SafeRLHF", {"lagrangian": LagrangianConfig}),
    "dynamic_weights": Known(
        "lightning_moa.methods.dynamic_weights:DynamicWeights", {"dynamic": DynamicConfig}
    ),
    "ham": Known("lightning_moa.methods.ham:HaM"),
    "sca": Known("lightning_moa.methods.sca:HeadwiseSCA"),
    "ric": Known("lightning_moa.methods.ric:RiC"),
}
"""Which preference an update is made for, and what else a method does."""
