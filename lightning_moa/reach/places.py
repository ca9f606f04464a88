"""Where modules are, found without importing any, nor their parents."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[1]
"""This package's folder."""

_STANDARD = Path(os.__file__).parent


class Module(NamedTuple):
    """A module, and whether it is own: not installed and not of the standard library, so that its source is
    followed."""

    name: str
    file: Path | None
    folders: tuple[str, ...] = ()
    """Where a package's submodules are."""
    own: bool = True

    @property
    def top(self) -> str:
        """The top-level package's name."""
        return self.name.partition(".")[0]

    @property
    def ours(self) -> bool:
        """Whether it is of this package."""
        return self.top == PACKAGE.name

    def absolute(self, level: int, name: str) -> str:
        """What is imported here as `name` with so many leading dots, as seen from outside."""
        parts = self.name.split(".")
        above = parts[: max(len(parts) - level + bool(self.folders), 0)] if level else []
        return ".".join(filter(None, (*above, name)))


class Places:
    """Modules by name."""

    def __init__(self) -> None:
        self._known: dict[str, Module | None] = {}

    def locate(self, name: str) -> Module | None:
        """The module of a full name; below an installed package, that package."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> Module | None:
        above, _, last = name.rpartition(".")
        if not last:
            return None
        if not above:
            return _top_level(name)
        parent = self.locate(above)
        if parent is None or not parent.own:
            return parent
        # By its last name: by its full name Python would want the parent to be imported.
        return _module(name, PathFinder.find_spec(last, parent.folders)) if parent.folders else None

    def beside(self, module: Module) -> Iterator[Module]:
        """Every module of the top-level package; of one that is in none, of its folder."""
        top = self.locate(module.top)
        if top is not None and top.folders:
            for folder in map(Path, top.folders):
                yield from _below(folder, top.name)
        elif module.file is not None:
            for file in module.file.parent.glob("*.py"):
                known = self.locate(file.stem)
                found = known is not None and known.file == file
                yield Module(file.stem if found else f"{module.name}/{file.stem}", file)


def _below(folder: Path, top: str) -> Iterator[Module]:
    for file in filter(_is_own, folder.rglob("*.py")):
        parts = (top, *file.relative_to(folder).with_suffix("").parts)
        if file.name == "__init__.py":
            yield Module(".".join(parts[:-1]), file, (str(file.parent),))
        else:
            yield Module(".".join(parts), file)


def _top_level(name: str) -> Module | None:
    """A top-level module; this package is the one that runs, wherever another may be installed."""
    if name == PACKAGE.name:
        return Module(name, PACKAGE / "__init__.py", (str(PACKAGE),))
    spec = PathFinder.find_spec(name)
    if spec is None:
        # Built in, or found by an editable installation's own finder.
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
    return _module(name, spec)


def _module(name: str, spec: ModuleSpec | None) -> Module | None:
    if spec is None:
        return None
    folders = tuple(spec.submodule_search_locations or ())
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    places = [file] if file is not None else [Path(folder) for folder in folders]
    return Module(name, file, folders, any(map(_is_own, places)))


def _is_own(path: Path) -> bool:
    return not {"site-packages", "dist-packages"} & set(path.parts) and not path.is_relative_to(_STANDARD)
