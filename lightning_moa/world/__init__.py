"""Synthetic worlds in which every preference's best policy is known exactly."""

from lightning_moa.world.exact import ExactFront, ExactWorld, Optimum
from lightning_moa.world.lexicon import MODES, Size
from lightning_moa.world.policy import Expectation, Policy
from lightning_moa.world.rewards import OBJECTIVES
from lightning_moa.world.summaries import SummaryWorld
from lightning_moa.world.summary_lexicon import SummarySize
from lightning_moa.world.thresholds import ThresholdWorld
from lightning_moa.world.world import World

__all__ = [
    "MODES",
    "OBJECTIVES",
    "ExactFront",
    "ExactWorld",
    "Expectation",
    "Optimum",
    "Policy",
    "Size",
    "SummarySize",
    "SummaryWorld",
    "ThresholdWorld",
    "World",
]
