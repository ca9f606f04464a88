"""What every worker needs, imported once by the process that workers are forked from."""

from lightning_moa.runs import align, evaluate, reward_model
from lightning_moa.study import script

__all__ = ["align", "evaluate", "reward_model", "script"]
