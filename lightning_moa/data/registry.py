"""The data sets by name. Nothing heavy of this package is imported until one is built."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from dataclasses import is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_moa.answers import is_foreign, load
from lightning_moa.data.configs import CONFIGS, DataConfig
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from lightning_moa.data.base import PreferenceData


class DataSet(NamedTuple):
    """A data set's options, and the module and class that read it (imported when first built)."""

    config: type[DataConfig]
    module: str
    class_name: str

    @property
    def path(self) -> str:
        """'module:Class'."""
        return f"{self.module}:{self.class_name}"

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
    "answers": "Answers",
    "prompts": "Prompts",
    "helpsteer2": "HelpSteer2",
    "helpsteer3": "HelpSteer3",
    "ultrafeedback": "UltraFeedback",
    "synthetic": "Synthetic",
    "synthetic_summaries": "SyntheticSummaries",
    "synthetic_thresholds": "SyntheticThresholds",
}
"""The class that reads each data set; its file bears the data set's name."""

DATASETS: dict[str, DataSet] = {
    name: DataSet(CONFIGS[name], f"lightning_moa.data.{name}", class_name)
    for name, class_name in CLASSES.items()
}


INTERFACE = (
    *("batches", "encoded", "exact_front", "fit_texts", "gold_rewards", "prompt_list", "sequence_rewards"),
    *("sft_rows", "table", "use"),
)
"""What is asked of a data set, beside `config`, `objectives` and `report`; see `base.PreferenceData`."""


def data_entry(name: str, where: str = "data") -> DataSet:
    """A data set of this package by its short name, or one of the user's own, 'module:Class', whose module is imported.

    The options of one's own are its class attribute `Config`, a subclass of `DataConfig`; without it, `DataConfig`.

    Args:
        name: short, or 'module:Class'.
        where: the key that gave it, for errors.

    Raises:
        UserError: no such data set, or a class that is none.
    """
    if name in DATASETS:
        return DATASETS[name]
    if not is_foreign(name):
        near = difflib.get_close_matches(name, DATASETS, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"{where}={name}: allowed are {', '.join(sorted(DATASETS))}{guess}, and one of your own as module:Class"
        )
    loaded = load(name, where)
    _check_class(loaded, f"{where}={name}")
    module, _, class_name = name.partition(":")
    return DataSet(getattr(loaded, "Config", DataConfig), module, class_name)


def build(config: DataConfig, objectives: Sequence[str] | None = None) -> PreferenceData:
    """The data module of `config.name`, for the named objectives (None: all of `config.labels`, in order).

    Raises `UserError` for a name that names no data set or a config of another data set.
    """
    entry = data_entry(config.name, "data.name")
    if not isinstance(config, entry.config):
        raise UserError(
            f"data.name={config.name!r} takes options of type {entry.config.__name__}, "
            f"got {type(config).__name__}"
        )
    return entry.load()(config, objectives)


def _check_class(loaded: Any, shown: str) -> None:
    """Raise a `UserError` for what is no data set."""
    if not inspect.isclass(loaded):
        raise UserError(f"{shown}: a class is needed, this is of type {type(loaded).__name__}")
    absent = [method for method in INTERFACE if not callable(getattr(loaded, method, None))]
    if absent:
        raise UserError(
            f"{shown}: no data set, it has no {', '.join(absent)}; make it a subclass of lightning_moa.data.RowData"
        )
    open_methods = sorted(getattr(loaded, "__abstractmethods__", ()))
    if open_methods:
        raise UserError(f"{shown}: its method {open_methods[0]}() is still to be written")
    try:
        inspect.signature(loaded).bind(None, None)
    except TypeError as error:
        raise UserError(
            f"{shown}: it must be built as {loaded.__name__}(config, objectives) ({error})"
        ) from error
    options = getattr(loaded, "Config", DataConfig)
    if not (inspect.isclass(options) and is_dataclass(options) and issubclass(options, DataConfig)):
        raise UserError(
            f"{shown}: its Config must be a dataclass that is a subclass of lightning_moa.data.DataConfig"
        )
    if "__dataclass_fields__" not in vars(options):
        raise UserError(
            f"{shown}: its {options.__name__} lacks @dataclass, without which its own options are none"
        )
