"""The results that lie below folders, and which files of them a site shows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_moa.errors import UserError
from lightning_moa.reporting.catalogue import ARTEFACTS
from lightning_moa.reporting.schema import CLAIMS, POINTS

RECORD = "run.yaml"
MARKS = (RECORD, CLAIMS.file, POINTS.file)
"""A folder with one of these holds a result; so does one that has tables or pictures, and no result below it."""
SHOWN = (".csv", ".yaml", ".md", ".png")
SITE = "moa-report.json"
"""In the folder of a site, so that none is taken for results, and only a site is written over."""
LARGEST = 20 * 2**20
"""Bytes of a file that a site takes along."""
DEEPEST = 12
"""Folders below the one that was named."""


@dataclass(frozen=True)
class Part:
    """A folder of a result: its own, or one below it, such as a panel's."""

    name: str
    """The way there from the result's own folder, with slashes; empty for that itself."""
    folder: Path
    files: tuple[Path, ...]
    """Of the kinds that are shown, by name."""

    def file(self, name: str) -> Path | None:
        """One of its files, or None."""
        return next((file for file in self.files if file.name == name), None)


@dataclass(frozen=True)
class Result:
    """What one start of a script has left, or one study."""

    key: str
    """Letters, digits and dashes; no other result of the site has it."""
    paper: str
    artefact: str
    scale: str
    folder: Path
    place: str
    """The folder as whoever asked would name it."""
    parts: tuple[Part, ...]
    problems: tuple[str, ...]
    """Files that are passed over, and why."""


def find_results(paths: Sequence[str | Path]) -> list[Result]:
    """The results in folders, and in those below them, in the order of the papers.

    A result is named by the last three folders of its path: `<paper>/<artefact>/<scale>`. Folders that are links are
    passed over, but for those that were named; files that are links out of what was named are not read.

    Raises:
        UserError: no such folder, or none that holds a result.
    """
    folders: dict[Path, Path] = {}
    named: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; allowed are folders of results, and folders above them")
        root = path.resolve()
        here = dict.fromkeys(_results_below(root), root)
        if not here:
            raise UserError(
                f"{path}: no result in it; allowed are folders with {', '.join(MARKS)}, tables or pictures"
            )
        folders |= {folder: root for folder in here if folder not in folders}
        named.setdefault(root, path)
    keys: dict[str, int] = {}
    found = []
    for folder, root in folders.items():
        paper, artefact, scale = _names(folder, root)
        key = slug(f"{paper}-{artefact}-{scale}")
        keys[key] = keys.get(key, 0) + 1
        name = key if keys[key] == 1 else f"{key}--{keys[key]}"
        place = (named[root] / folder.relative_to(root)).as_posix()
        found.append(_result(name, (paper, artefact, scale), folder, place, root))
    return sorted(found, key=_order)


def slug(text: str) -> str:
    """A text as a file's name: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


def _results_below(folder: Path, depth: int = 0) -> Iterator[Path]:
    names = {file.name for file in folder.iterdir() if file.is_file()}
    if SITE in names:
        return
    if names & set(MARKS):
        yield folder
        return
    below = [each for each in _folders(folder) if depth < DEEPEST]
    results = [found for each in below for found in _results_below(each, depth + 1)]
    if not results and any(Path(name).suffix in SHOWN for name in names):
        results = [folder]
    yield from results


def _names(folder: Path, root: Path) -> tuple[str, str, str]:
    """Paper, artefact and scale."""
    inside = folder.relative_to(root).parts
    known = {artefact.paper for artefact in ARTEFACTS}
    marked = any((folder / name).is_file() for name in MARKS)
    parts = ("-", "-", *folder.parts[1:])
    if marked or len(inside) > 2 or parts[-3] in known:
        return parts[-3], parts[-2], parts[-1]
    # Tables that lie by themselves, such as benchmarks.
    return "other", "/".join(inside) or folder.name, "-"


def _order(result: Result) -> tuple[int, str, str, str]:
    """The papers' artefacts as the catalogue has them, then all others."""
    known = [(artefact.paper, artefact.name) for artefact in ARTEFACTS]
    mine = (result.paper, result.artefact)
    return (known.index(mine) if mine in known else len(known), *mine, result.scale)


def _folders(folder: Path) -> list[Path]:
    """The folders in it; hidden ones, links and those that can't be read left out."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.is_dir()
        and not each.name.startswith(".")
        and not each.is_symlink()
        and os.access(each, os.R_OK | os.X_OK)
    )


def _result(key: str, names: tuple[str, str, str], folder: Path, place: str, root: Path) -> Result:
    parts, problems = [], []
    for each in _all_folders(folder):
        name = each.relative_to(folder).as_posix().removeprefix(".")
        files = []
        for file in sorted(path for path in each.iterdir() if path.suffix in SHOWN):
            reason = _refused(file, root)
            if reason:
                problems.append(f"{file.relative_to(folder).as_posix()}: {reason}")
            else:
                files.append(file)
        if files or not name:
            parts.append(Part(name, each, tuple(files)))
    return Result(key, *names, folder, place, tuple(parts), tuple(problems))


def _all_folders(folder: Path, depth: int = 0) -> Iterator[Path]:
    yield folder
    if depth < DEEPEST:
        for each in _folders(folder):
            yield from _all_folders(each, depth + 1)


def _refused(file: Path, root: Path) -> str | None:
    """Why a file is not read; None where it is."""
    if not file.resolve().is_relative_to(root):
        return "a link out of the folder, which is not followed"
    if not file.is_file():
        return "no file"
    size = file.stat().st_size
    return (
        f"{size / 2**20:.0f} MiB, more than the {LARGEST // 2**20} that are shown" if size > LARGEST else None
    )
