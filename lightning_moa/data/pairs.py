"""Your own file of pairs: a prompt, two responses, and a column of 0/1 for each objective."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import PairsConfig
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.pair_files import read_pairs
from lightning_moa.data.tables import PairTable


class Pairs(PreferenceData):
    """Pairs of a local file or folder. Label columns: all other columns of the file, and the rule `shorter`.

    `labels` is needed: `data.labels.<objective>=<column>`, where the column holds the index of the better
    response (0, 1, false, true) or null where nobody said; '-column' reverses it. Any other value is an error
    that names its row. Texts are taken as they stand.
    """

    config: PairsConfig

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """Those of `config.labels`."""
        return tuple(choice.objective for choice in choose_labels(self.config.labels, objectives))

    def tables(self) -> dict[str, PairTable]:
        """The pairs of "train" and "eval"."""
        return read_pairs(self.config, self.objectives, self.report)
