"""What objective i is on a batch: per-objective losses (m,), to minimise."""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.objectives.base import Objective as Objective
    from lightning_moa.objectives.base import better_sign as better_sign
    from lightning_moa.objectives.base import labelled_mean as labelled_mean
    from lightning_moa.objectives.base import per_example as per_example
    from lightning_moa.objectives.bradley_terry import BradleyTerry as BradleyTerry
    from lightning_moa.objectives.bradley_terry import bradley_terry_losses as bradley_terry_losses
    from lightning_moa.objectives.dpo import DPO as DPO
    from lightning_moa.objectives.dpo import dpo_losses as dpo_losses
    from lightning_moa.objectives.dpo import implicit_margins as implicit_margins
    from lightning_moa.objectives.grpo import GRPO as GRPO
    from lightning_moa.objectives.likelihood import Likelihood as Likelihood
    from lightning_moa.objectives.likelihood import LikelihoodInContext as LikelihoodInContext
    from lightning_moa.objectives.likelihood import RewardWeightedLikelihood as RewardWeightedLikelihood
    from lightning_moa.objectives.modpo import MODPO as MODPO
    from lightning_moa.objectives.ppo import PPO as PPO
    from lightning_moa.objectives.ppo import PPOSettings as PPOSettings
    from lightning_moa.objectives.rloo import RLOO as RLOO
    from lightning_moa.objectives.scored import ScoredObjective as ScoredObjective
    from lightning_moa.objectives.squared_error import SquaredError as SquaredError

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BradleyTerry": "bradley_terry",
        "DPO": "dpo",
        "GRPO": "grpo",
        "Likelihood": "likelihood",
        "LikelihoodInContext": "likelihood",
        "MODPO": "modpo",
        "Objective": "base",
        "PPO": "ppo",
        "PPOSettings": "ppo",
        "RLOO": "rloo",
        "RewardWeightedLikelihood": "likelihood",
        "ScoredObjective": "scored",
        "SquaredError": "squared_error",
        "better_sign": "base",
        "bradley_terry_losses": "bradley_terry",
        "dpo_losses": "dpo",
        "implicit_margins": "dpo",
        "labelled_mean": "base",
        "per_example": "base",
    },
)
