"""A callback as a study takes it: built without arguments."""

from pathlib import Path

import lightning_moa as moa


class Watch(moa.GridRewards):
    """Each second update."""

    def __init__(self) -> None:
        super().__init__(every=2, prompts=6, grid_step=0.5, max_new_tokens=4)

    def setup(self, trainer, pl_module, stage) -> None:
        super().setup(trainer, pl_module, stage)
        self.path = Path(trainer.logger.log_dir) / "fronts.csv"
