"""A child process in which packages are not installed, or leave a mark when they are imported, its workers included."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

# Python runs a sitecustomize.py that it finds before anything else.
_HIDE = """
from importlib.machinery import PathFinder

HIDDEN = {names!r}
find_spec, find_distributions = PathFinder.find_spec, PathFinder.find_distributions


def spec(name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else find_spec(name, path, target)


def distributions(*given, **options):
    return (found for found in find_distributions(*given, **options) if found.name not in HIDDEN)


PathFinder.find_spec, PathFinder.find_distributions = staticmethod(spec), staticmethod(distributions)
"""
_MARK = """
from pathlib import Path

with Path({mark!r}).open("a") as file:
    print({name!r}, file=file)
raise ImportError({name!r} + " was imported")
"""


def without(names: Sequence[str], folder: Path) -> dict[str, str]:
    """The environment of a process in which the packages are not installed."""
    (folder / "sitecustomize.py").write_text(_HIDE.format(names=tuple(names)))
    return _first(folder)


def marked(names: Sequence[str], folder: Path, mark: Path) -> dict[str, str]:
    """The environment of a process that writes a package's name to `mark` when it is imported, and goes on without."""
    for name in names:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(_MARK.format(name=name, mark=str(mark)))
    return _first(folder)


def _first(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])}


def run(words: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False
    )
