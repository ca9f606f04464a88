"""A world and the objectives of its rows, asked of its options alone: no data module is built, no Lightning loaded."""

from __future__ import annotations

from collections.abc import Sequence

import lightning_moa.world as worlds
from lightning_moa.data.config_checks import check_config
from lightning_moa.data.configs import SyntheticConfig, WorldConfig
from lightning_moa.errors import UserError
from lightning_moa.world.world import simple_share


def world_of_rows(config: SyntheticConfig) -> worlds.World:
    """The world that rows are drawn from, its share of risky prompts rounded to one that whole numbers can have."""
    return worlds.World.build(config.world_seed, float(simple_share(config.risky_share)))


def check_world(config: WorldConfig, objectives: Sequence[str]) -> None:
    """Raise the `UserError` that the data module would raise when it is built."""
    check_config(config)
    choose_objectives(config, objectives)


def choose_objectives(config: WorldConfig, objectives: Sequence[str] | None) -> tuple[str, ...]:
    """The names in order; None: the world's own.

    Raises:
        UserError: labels, an objective that the world lacks, or labellers whose weights don't fit.
    """
    if config.labels:
        raise UserError("data.labels: the synthetic world labels its pairs itself; choose objectives=[...]")
    names, allowed = tuple(objectives or config.own_objectives), getattr(worlds, config.world).objectives
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise UserError(f"objectives: '{unknown[0]}' is unknown; allowed are {', '.join(allowed)}")
    for labeller, weights in config.labellers.items():
        if len(weights) != len(names) or min(weights) < 0 or abs(sum(weights) - 1) > 1e-6:
            raise UserError(
                f"data.labellers.{labeller}={weights}: a weight of at least 0 for each of {', '.join(names)} "
                "is needed, and a sum of 1"
            )
    return names
