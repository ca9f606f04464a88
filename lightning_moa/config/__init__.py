"""Every setting of a study, typed; and how a script's `key=value` arguments become one."""

from lightning_moa.config.options import (
    SYNTHETIC,
    EvaluationConfig,
    HardwareConfig,
    MethodConfig,
    ModelConfig,
    RewardModelConfig,
    SFTConfig,
    StudyConfig,
    TokenizerConfig,
    TrainerConfig,
)
from lightning_moa.config.parsing import parse

__all__ = [
    "SYNTHETIC",
    "EvaluationConfig",
    "HardwareConfig",
    "MethodConfig",
    "ModelConfig",
    "RewardModelConfig",
    "SFTConfig",
    "StudyConfig",
    "TokenizerConfig",
    "TrainerConfig",
    "parse",
]
