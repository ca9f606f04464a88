"""Experiment scripts as modules."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def load(path: Path) -> ModuleType:
    """The script, imported under its paper's and its own name."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses look for what their annotations name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def settings(module: Any, *words: str) -> tuple[Any, Any]:
    """A script's configuration at its smallest scale, and its methods."""
    return module.STUDY.read(["scale=smoke", *words])


@cache
def parts(module: Any) -> list[Any]:
    """Label, configuration and methods of each of a script's studies."""
    return module.STUDY.parts_of(*settings(module))


@cache
def studies(module: Any) -> list[Any]:
    """What a script has of its own kind: label, configuration and methods of each study."""
    return module.studies(settings(module)[0])
