"""The best response to a prompt, where the world is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lightning_moa.data.worlds import WorldData
from lightning_moa.errors import UserError
from lightning_moa.inference.scoring import data_of

DRAWN = 16
NEAR = 0.01
"""Weight of the KL, in reward a nat: so little that the optimum draws next to nothing but the best."""


class Best:
    """Of the world of a study; knows nothing for other data.

    Args:
        spec: of a measurement.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        data = data_of(spec)
        self.world = data.world if isinstance(data, WorldData) else None
        self.objectives: list[str] = list(spec["objectives"])

    def response(self, prompt: str, preference: np.ndarray) -> tuple[str, list[float]] | None:
        """The response of the highest weighted gold reward, and its m rewards; None where the prompt is not its.

        It is the best of what the optimum draws whose KL costs next to nothing.

        Args:
            preference: (m,), on the simplex.
        """
        if self.world is None:
            return None
        optimum = self.world.optimum(preference, NEAR, self.objectives)
        try:
            drawn = self.world.sample_responses([prompt] * DRAWN, np.random.default_rng(0), optimum)
        except UserError:  # A prompt that this world does not have.
            return None
        rewards = self.world.rewards([prompt] * DRAWN, drawn, self.objectives)
        place = int((rewards @ preference).argmax())
        return drawn[place], rewards[place].tolist()
