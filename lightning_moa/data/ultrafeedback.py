"""openbmb/UltraFeedback: several completions of a prompt, each rated in four respects by a language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lightning_moa.data.configs import UltraFeedbackConfig
from lightning_moa.data.files import read_hub, read_local
from lightning_moa.data.pairs import PublishedPairs

if TYPE_CHECKING:
    import pandas as pd

HUB_ID = "openbmb/UltraFeedback"


class UltraFeedback(PublishedPairs):
    """Label columns: instruction_following, honesty, truthfulness, helpfulness (ratings from 1 to 5), overall_score and
    fine-grained_score, of which a tie is no label; and the rule `shorter`. Pairs are all those of a prompt's
    completions, six of four, unless `pairs_per_prompt` says fewer.

    `path`: a file or folder of the published JSON lines. Empty: the hub. There is no test split: a share of the prompts
    is held out.
    """

    config: UltraFeedbackConfig

    def frames(self) -> Mapping[str, pd.DataFrame]:
        """The rows: instruction and completions."""
        if self.config.path is None:
            return read_hub(HUB_ID, self.config.revision, {"train": "train"})
        return read_local(self.config.path, by_name=False)
