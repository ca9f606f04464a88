"""The sources that a task can reach: what its entries' modules import, and what those do. Nothing is imported or run.

Followed are every `import` of this package's modules and of a user's own, wherever it stands, with the `__init__` of
each package on the way; calls that import by a literal name; and a lazy package's table (see `sources.ATTACH`), for
the names that are asked for. A user's file that imports by a name which only a run can tell takes its whole package
with it. This package's own loaders are given such names by the entries, and are passed over.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

from lightning_moa.errors import UserError
from lightning_moa.reach.places import Module, Places
from lightning_moa.reach.sources import Chain, Source, read

LIBRARIES = ("torch", "transformers", "peft", "lightning", "tokenizers", "numpy", "datasets")
"""Whose versions are in every key."""

COMPUTING = ("scipy", "moocore", "torchjd", "sklearn")
"""Packages that this package's own modules compute with, besides; their versions are in the keys of what reaches them.
The rest of what it imports reads, writes and shows, or is there for GPUs alone."""


def code_digest(entries: Collection[str], *, package: bool = True) -> str:
    """Hash of the sources that the modules of these entries can reach, and of the versions of the other libraries
    that a user's modules import, or this package's own compute with.

    Args:
        entries: 'module' or 'module:name'.
        package: whether this package's own modules count, beside a user's.
    """
    return Digests().of(entries, package=package)


class Digests:
    """Digests of many tasks, which share most of their entries: what each entry reaches is looked up once, and what
    the files say later is not seen."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], set[str]] = {}

    def of(self, entries: Collection[str], *, package: bool = True) -> str:
        """As `code_digest`."""
        # What several entries reach is what each of them reaches.
        lines = set[str]().union(*(self._lines(entry, package) for entry in entries))
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

    def _lines(self, entry: str, package: bool) -> set[str]:
        if (entry, package) not in self._known:
            walk = _Walk({entry}, package)
            lines = {f"{name} {walk.source(module).digest}" for name, module in walk.found.items()}
            lines |= {f"{name} from {module}" for name, module in walk.links.items()}
            lines |= {
                f"{name} {importlib.metadata.version(name)}" for name in _distributions_of(walk.installed)
            }
            self._known[entry, package] = lines
        return self._known[entry, package]


def reached(entries: Collection[str]) -> dict[str, Path]:
    """Every module whose source is hashed, and its file."""
    found = _Walk(entries, package=True).found
    return {name: file for name in sorted(found) if (file := found[name].file) is not None}


class _Walk:
    """All that the entries reach."""

    def __init__(self, entries: Collection[str], package: bool) -> None:
        self.package = package
        self.found: dict[str, Module] = {}
        self.links: dict[str, str] = {}
        """The lazy names that are asked for, and where they come from."""
        self.installed: set[str] = set()
        """Top-level packages that are not own, of those that a user's modules import and of COMPUTING."""
        self.places = Places()
        self.sources: dict[Path, Source] = {}
        self.used: set[tuple[str, Chain]] = set()
        self.waiting: list[Module] = []
        for entry in set(entries):
            name, _, wanted = entry.partition(":")
            self.enter(name, wanted)
        while self.waiting:
            self.follow(self.waiting.pop())

    def enter(self, name: str, wanted: str) -> None:
        module = self.reach(name)
        if module is None:
            raise UserError(f"{name}: no such module; a class is named 'module:Class'")
        if not module.own:
            self.installed.add(module.top)
        elif wanted:
            self.take(module, wanted)
        else:
            self.use(module, ())

    def source(self, module: Module) -> Source:
        """What a module's file says."""
        if module.file is None or not module.own:
            return Source()
        if module.file not in self.sources:
            try:
                self.sources[module.file] = read(module.file)
            except OSError as error:
                raise UserError(f"{module.name}: {module.file} cannot be read ({error.strerror})") from error
        return self.sources[module.file]

    def reach(self, name: str) -> Module | None:
        """The module of this name. It counts, if it is own, as do its parents, whose code runs first."""
        above = name.rpartition(".")[0]
        if above and name not in self.found:
            self.reach(above)
        module = self.places.locate(name)
        if module is not None:
            self.add(module)
        return module

    def add(self, module: Module) -> None:
        counts = module.own and module.file is not None and (self.package or not module.ours)
        if counts and module.name not in self.found:
            self.found[module.name] = module
            self.waiting.append(module)

    def follow(self, module: Module) -> None:
        """Reach what a file imports."""
        source = self.source(module)
        for level, name, wanted in source.imports:
            found = self.reach(module.absolute(level, name))
            if found is None:
                continue
            if not found.own and (not module.ours or (self.package and found.top in COMPUTING)):
                self.installed.add(found.top)
            if wanted == "*":
                self.use(found, ())
                for each in self.source(found).exports:
                    self.take(found, each)
            elif wanted is not None:
                self.take(found, wanted)
        for chain in source.uses:
            self.look_up(module, chain)
        if source.opaque and not module.ours:
            for other in self.places.beside(module):
                self.add(other)

    def offers(self, module: Module, name: str) -> Iterator[tuple[Module, Chain]]:
        """The modules that asking a package for a name imports, and what of them is the name."""
        submodule = self.places.locate(f"{module.name}.{name}") if module.own and module.folders else None
        if submodule is not None:
            yield submodule, ()
        target = self.source(module).table.get(name)
        if target is not None:
            self.links[f"{module.name}.{name}"] = target
            found = self.places.locate(f"{module.name}.{target}")
            if found is not None:
                yield found, (name,)

    def take(self, module: Module, name: str) -> None:
        """Follow `from module import name`."""
        for found, chain in self.offers(module, name):
            self.reach(found.name)
            for each in chain:
                self.take(found, each)

    def use(self, module: Module, chain: Chain) -> None:
        """Follow `module.a.b`, where a may be lazy; a bare `module` may be asked for all that it has."""
        if (module.name, chain) in self.used:
            return
        self.used.add((module.name, chain))
        if not chain:
            for name in self.source(module).table:
                self.take(module, name)
            return
        for found, more in self.offers(module, chain[0]):
            self.reach(found.name)
            self.use(found, (*more, *chain[1:]))
        self.look_up(module, chain)

    def look_up(self, module: Module, chain: Chain) -> None:
        """Follow `a.b` by what the module's file imported as a."""
        source = self.source(module)
        for level, name, wanted in source.bound.get(chain[0], set()):
            target = self.places.locate(module.absolute(level, name))
            if target is not None:
                self.use(target, (*((wanted,) if wanted else ()), *chain[1:]))
        for level, name in source.stars:
            target = self.places.locate(module.absolute(level, name))
            if target is not None:
                self.use(target, chain)


def _distributions_of(packages: Collection[str]) -> set[str]:
    """The distributions that top-level packages come from, but for those whose versions are in every key."""
    others = set(packages) - set(LIBRARIES) - sys.stdlib_module_names
    return {name for package in others for name in _distributions().get(package, ())} if others else set()


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()
