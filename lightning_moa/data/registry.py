"""The data sets by name. Nothing heavy is imported until one is built."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from lightning_moa.data.configs import CONFIGS, DataConfig
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from lightning_moa.data.base import PreferenceData


class DataSet(NamedTuple):
    """A data set's options, and the module and class that read it (imported when first built)."""

    config: type[DataConfig]
    module: str
    class_name: str

    def load(self) -> type[PreferenceData]:
        """The data module's class."""
        loaded: type[PreferenceData] = getattr(import_module(self.module), self.class_name)
        return loaded


CLASSES = {
    "hh_rlhf": "HHRLHF",
    "pku_saferlhf": "PKUSafeRLHF",
    "beavertails": "BeaverTails",
    "summarize_from_feedback": "SummarizeFromFeedback",
    "pairs": "Pairs",
    "synthetic": "Synthetic",
    "synthetic_summaries": "SyntheticSummaries",
}
"""The class that reads each data set; its file bears the data set's name."""

DATASETS: dict[str, DataSet] = {
    name: DataSet(CONFIGS[name], f"lightning_moa.data.{name}", class_name)
    for name, class_name in CLASSES.items()
}


def build(config: DataConfig, objectives: Sequence[str] | None = None) -> PreferenceData:
    """The data module of `config.name`, for the named objectives (None: all of `config.labels`, in order).

    Raises `UserError` for a name that is not registered or a config of another data set.
    """
    entry = DATASETS.get(config.name)
    if entry is None:
        raise UserError(f"data.name={config.name!r}: allowed are {', '.join(sorted(DATASETS))}")
    if not isinstance(config, entry.config):
        raise UserError(
            f"data.name={config.name!r} takes options of type {entry.config.__name__}, "
            f"got {type(config).__name__}"
        )
    return entry.load()(config, objectives)
