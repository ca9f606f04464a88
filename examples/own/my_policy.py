"""A policy of one's own: the preference scales and shifts the hidden states behind each block (FiLM)."""

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

import lightning_moa as moa


@dataclass
class FiLMConfig:
    """The preference scales and shifts hidden states."""

    strength: float = moa.option(1.0, "factor on both", above=0)


class FiLM(moa.SteeredPolicy):
    """h <- h (1 + gamma(preference)) + delta(preference) behind each block; both start at 0."""

    sections = {"film": FiLMConfig}

    def __init__(self, model, m: int, strength: float = 1.0) -> None:
        super().__init__(model.requires_grad_(False))
        self.m, self.strength = m, strength
        blocks, width = model.get_decoder().layers, model.config.hidden_size
        self.films = nn.ModuleList(nn.Linear(m, 2 * width, bias=False, device=model.device) for _ in blocks)
        for film in self.films:
            nn.init.zeros_(film.weight)
        pairs = zip(blocks, self.films, strict=True)
        self.hooks = [block.register_forward_hook(partial(self.shift, film)) for block, film in pairs]

    def shift(self, film: nn.Linear, block: nn.Module, given: tuple, hidden: Tensor) -> Tensor:
        preference = self.steering.preference  # (m,), or (batch, m): one for each row
        if not self.steering.enabled or preference is None:
            return hidden
        gamma, delta = (self.strength * film(preference)).chunk(2, dim=-1)
        if preference.ndim == 2:
            gamma, delta = gamma[:, None], delta[:, None]
        return hidden * (1 + gamma) + delta

    def options(self) -> dict:
        """What it is made with, for `policy.json`."""
        return {"m": self.m, "strength": self.strength}

    def unload(self):
        for hook in self.hooks:
            hook.remove()
        return super().unload()
