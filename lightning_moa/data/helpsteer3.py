"""nvidia/HelpSteer3, its preferences: conversations with two responses, and by how much people prefer one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_moa.data.configs import HelpSteer3Config
from lightning_moa.data.files import read_hub, read_local
from lightning_moa.data.pairs import PublishedPairs

if TYPE_CHECKING:
    import pandas as pd

HUB_ID, SUBSET = "nvidia/HelpSteer3", "preference"


class HelpSteer3(PublishedPairs):
    """Label columns: overall_preference, a strength from -3 to 3, below 0 where the first response is the better one
    and 0 where both are alike; and the rule `shorter`.

    `path`: a file, a folder with files named train and validation, or a copy of the repository (its folder preference
    is read). Empty: the hub, with its validation split.
    """

    config: HelpSteer3Config
    strengths = ("overall_preference",)

    def frames(self) -> Mapping[str, pd.DataFrame]:
        """The rows: context, response1, response2 and the strength."""
        if self.config.path is None:
            splits = {"train": "train", "eval": "validation"}
            return read_hub(HUB_ID, self.config.revision, splits, subset=SUBSET)
        path = Path(self.config.path).expanduser()
        return read_local(path / SUBSET if (path / SUBSET).is_dir() else path)
