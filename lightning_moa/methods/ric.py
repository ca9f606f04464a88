"""RiC (Yang et al., 2024): the rewards of a response stand in its prompt.

Policy: any, the preference is in the prompt. Objective: likelihood. Aggregation: none, there is one loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_moa.methods.base import Alignment


class RiC(Alignment):
    """Supervised fine-tuning on prompts that say which rewards their response has (HaM, section 2.2)."""

    def preference(self, step: int) -> Tensor:
        """The weight of the one loss."""
        return torch.ones(1)
