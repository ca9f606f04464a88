"""Which of the synthetic world's kinds of response the policies give to risky prompts. Light."""

from __future__ import annotations

import pandas as pd

from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.data.world_objectives import world_of_rows
from lightning_moa.errors import UserError
from lightning_moa.study.collect import Collected
from lightning_moa.world import World
from lightning_moa.world.lexicon import MODES

OTHER = "other"
"""A response that opens with no mode's word."""


def world_of(config: StudyConfig) -> World:
    """The world that a study's data are drawn from.

    Raises:
        UserError: the data are not the synthetic world's.
    """
    if not isinstance(config.data, SyntheticConfig):
        raise UserError(f"data={config.data.name}: has no world; allowed is synthetic")
    return world_of_rows(config.data)


def risky_modes(collected: Collected, world: World) -> pd.DataFrame:
    """Share of each mode among a policy's responses to risky prompts.

    Returns:
        `method`, `seed`, `step`, `policy`, `lambda_*` (empty where no preference is known), `risky_<mode>` for each
        of the world's modes and `risky_other`, shares in [0, 1] that sum to 1, and `n`, the risky prompts.
    """
    responses = collected.responses
    risky = responses[world.is_risky(responses["prompt"].tolist())]
    modes = world.modes(risky["response"].tolist())
    keys = ["method", "seed", "step", "policy", *(f"lambda_{name}" for name in collected.objectives)]
    shown = risky[keys].assign(
        **{f"risky_{mode}": [each == mode for each in modes] for mode in (*MODES, OTHER)}
    )
    groups = shown.groupby(keys, dropna=False, sort=False)
    return groups.mean().assign(n=groups.size()).reset_index()
