"""The studies that a script conducts, by the `STUDY` that it declares. Light: nothing here needs torch."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lightning_moa.errors import UserError
from lightning_moa.study.study import Part, Study


def studies_of(path: Path, arguments: Sequence[str]) -> list[Part]:
    """What a script would train.

    Args:
        path: the script.
        arguments: its `key=value` words.

    Raises:
        UserError: no such script, one that trains nothing, or settings that are not allowed.
    """
    study = study_of(path)
    if not study.methods:
        raise UserError(f"{path}: this script trains nothing of its own, so there is nothing to plan")
    config, methods = study.read(arguments)
    return study.parts_of(config, methods)


def study_of(path: Path) -> Study:
    """The study that a script declares.

    Raises:
        UserError: no such script, or one that declares none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such script; one of experiments/<paper>/*.py is expected")
    study = getattr(_module(path), "STUDY", None)
    if not isinstance(study, Study):
        raise UserError(
            f"{path}: no script of a study; it must declare STUDY = Study(__file__, family, methods)"
        )
    return study


def _module(path: Path) -> ModuleType:
    # Known by it, as dataclasses of a script's own must be; not by its stem, which may be another module's.
    name = f"lightning_moa_script_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise UserError(f"{path}: no script of a study; a Python file is expected")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        # As Python does for a script that is started: answers of one's own may lie beside it.
        sys.path.append(folder)
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
