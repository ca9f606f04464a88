"""Experiment scripts as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

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
