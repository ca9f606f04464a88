"""The studies that a script of `experiments/` conducts, by its own module. Light: nothing here needs torch."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lightning_moa.config import LikelihoodStudyConfig, PPOStudyConfig, StudyConfig, parse
from lightning_moa.data.configs import WorldConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.panels import settings_of
from lightning_moa.methods.products import Product
from lightning_moa.study.planning import Plan, plan_study

_CALL = re.compile(r'script\((\w+), main, __file__, family="(\w+)"')
_LARGE = "large"


@dataclass(frozen=True)
class Study:
    """One study of an artefact: a configuration and the methods that it trains."""

    label: str
    """What sets it apart from the artefact's others; empty where there is one alone."""
    config: StudyConfig
    methods: Mapping[str, Product]

    def plan(self) -> Plan:
        """Its tasks. A file of given responses that isn't there yet counts as there."""
        section = getattr(self.config, "ppo", None)
        if section is not None and section.ptx and section.ptx_path is None and not _is_world(self.config):
            # Their number and lengths do not hang on the file; this one stands for it and is never read.
            section.ptx_path = __file__
        return plan_study(self.config, self.methods)


def needs_given_responses(config: StudyConfig) -> bool:
    """Whether its runs will want `ppo.ptx_path`, which it does not say."""
    return (
        isinstance(config, PPOStudyConfig)
        and bool(config.ppo.ptx)
        and config.ppo.ptx_path is None
        and not _is_world(config)
    )


def studies_of(path: Path, arguments: Sequence[str]) -> list[Study]:
    """What a script would train.

    A script that conducts several studies may say which by a function `studies(config)`, which gives labels,
    configurations and methods. HaM's figures, whose panels show a small and a large model, need none.

    Args:
        path: the script.
        arguments: its `key=value` words.

    Raises:
        UserError: no such script, one that trains nothing, or settings that are not allowed.
    """
    module, schema, family = _script(path)
    config = parse(schema, arguments, path.resolve().parent / "config" / family, module.METHODS)
    if hasattr(module, "studies"):
        return [Study(*each) for each in module.studies(config)]
    if isinstance(config, LikelihoodStudyConfig) and hasattr(module, "conduct_panels"):
        letters = {"small, offline": {}, "large, offline": {_LARGE: True}, "small, online": {"online": True}}
        return [
            Study(label, settings_of(config, module.OBJECTIVES, **options), module.METHODS)
            for label, options in letters.items()
        ]
    if isinstance(config, LikelihoodStudyConfig) and hasattr(module, "OBJECTIVES"):
        config = settings_of(config, module.OBJECTIVES)
    return [Study("", config, _methods(module, config))]


def _methods(module: ModuleType, config: StudyConfig) -> Mapping[str, Product]:
    """The script's methods, with those that hang on the configuration's objectives where it has such."""
    own = getattr(module, "methods_of", None)
    methods: Mapping[str, Product] = module.METHODS
    if own is None or list(inspect.signature(own).parameters) != ["config"]:
        return methods
    found: Mapping[str, Product] = own(config)
    return found


def _script(path: Path) -> tuple[Any, type[StudyConfig], str]:
    """A script's module, its schema and the family of its configurations."""
    if not path.is_file():
        raise UserError(f"{path}: no such script; one of experiments/<paper>/*.py is expected")
    found = _CALL.findall(path.read_text()) if path.suffix == ".py" else []
    if len(found) != 1:
        raise UserError(
            f"{path}: no script of a study (it does not end in script(SCHEMA, main, __file__, family=..))"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: cannot be loaded as a module")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not getattr(module, "METHODS", None):
        raise UserError(f"{path}: this script trains nothing of its own, so there is nothing to plan")
    schema, family = found[0]
    return module, getattr(module, schema), family


def _is_world(config: StudyConfig) -> bool:
    return isinstance(config.data, WorldConfig)
