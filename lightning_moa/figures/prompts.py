"""The sets of prompts that a study's policies are measured on, where there are several. Light: no torch."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_moa.config import StudyConfig
from lightning_moa.data.config_checks import check_config
from lightning_moa.data.configs import DataConfig
from lightning_moa.data.registry import data_entry
from lightning_moa.errors import UserError


def prompt_sets(config: StudyConfig) -> dict[str, DataConfig]:
    """Each set of `evaluation.prompt_sets` by its name; without any, the study's own data, named after itself.

    A set that names no data set, or the study's, differs from the study's data in the keys that it gives.

    Raises:
        UserError: a data set or a key that there is not.
    """
    given = config.evaluation.prompt_sets or {config.data.name: {}}
    return {
        name: _data_of(config, f"evaluation.prompt_sets.{name}", dict(keys)) for name, keys in given.items()
    }


def _data_of(config: StudyConfig, where: str, keys: dict[str, object]) -> DataConfig:
    name = str(keys.pop("name", config.data.name))
    options = data_entry(name, f"{where}.name").config
    start = deepcopy(asdict(config.data)) if name == config.data.name else {}
    try:
        made = OmegaConf.merge(OmegaConf.structured(options), start, keys)
    except OmegaConfBaseException as error:
        raise UserError(f"{where}: {str(error).splitlines()[0]}") from error
    built: DataConfig = OmegaConf.to_object(made)  # type: ignore[assignment]
    check_config(built)
    return built
