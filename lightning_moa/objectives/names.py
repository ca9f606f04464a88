"""This room's answers by their short names. Light: no torch."""

from __future__ import annotations

from lightning_moa.answers import Known
from lightning_moa.objectives.settings import (
    SCORED,
    DPOConfig,
    GRPOConfig,
    MODPOConfig,
    PPOConfig,
    RLOOConfig,
)
from lightning_moa.policies.settings import HeadsConfig

OBJECTIVES = {
    "dpo": Known("lightning_moa.objectives.dpo:DPO", {"dpo": DPOConfig}),
    "modpo": Known("lightning_moa.objectives.modpo:MODPO", {"modpo": MODPOConfig}),
    "ppo": Known("lightning_moa.objectives.ppo:PPO", {"ppo": PPOConfig}),
    "grpo": Known("lightning_moa.objectives.grpo:GRPO", {"grpo": GRPOConfig}),
    "rloo": Known("lightning_moa.objectives.rloo:RLOO", {"rloo": RLOOConfig}),
    "likelihood": Known(
        "lightning_moa.objectives.likelihood:RewardWeightedLikelihood", {**SCORED, "heads": HeadsConfig}
    ),
    "in_context": Known("lightning_moa.objectives.likelihood:LikelihoodInContext", SCORED),
}
"""What objective i is on a batch. The first section of each holds its optimiser."""
