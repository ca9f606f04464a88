"""A callback for a study that is watched."""

from __future__ import annotations

from lightning_moa.callbacks import GridRewards


class Every20(GridRewards):
    """A look every 20 updates."""

    def __init__(self) -> None:
        super().__init__(every=20, prompts=4, grid_step=0.5)
