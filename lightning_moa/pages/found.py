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
LONGEST = 80
"""Letters of a file's name in a site, without its ending."""
DEEPEST = 12
"""Folders below the one that was named."""


@dataclass(frozen=True)
class Part:
    """A folder of a result: its own, or one below it, such as a panel's."""

    name: str
    """The way there from the result's own folder, with slashes; empty for that itself."""
    key: str
    """As a result's; no other part of the site has it."""
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
    """Begins the names of its files in the site; no other result has it, in large letters or small ones."""
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
        try:
            here = dict.fromkeys(_results_below(root), root)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
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
        # A slug has no `~`, so that a part's key is no result's.
        key = counted(slug(f"{paper}-{artefact}-{scale}"), keys, "~~")
        place = (named[root] / folder.relative_to(root)).as_posix()
        found.append(_result(key, (paper, artefact, scale), folder, place, root))
    return sorted(found, key=_order)


def slug(text: str) -> str:
    """A text as a file's name: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:LONGEST].strip("-.") or "unnamed"


def counted(name: str, taken: dict[str, int], mark: str = "~") -> str:
    """The name, with a number behind it where it was taken, in large letters or small ones."""
    number = taken[name.lower()] = taken.get(name.lower(), 0) + 1
    return name if number == 1 else f"{name}{mark}{number}"


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
    """The folders in it that are read."""
    there = (each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    return sorted(each for each in there if _passed_over(each) is None)


def _passed_over(folder: Path) -> str | None:
    """Why a folder is not read; None where it is."""
    if folder.is_symlink():
        return "a folder that is a link, which is not followed"
    if not os.access(folder, os.R_OK | os.X_OK):
        return "a folder that can't be read"
    return None if _is_text(folder.name) else "a folder whose name is no text"


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8; Python has marks in one that isn't, which can't be written again."""
    return name.encode(errors="replace") == name.encode(errors="surrogateescape")


def _result(key: str, names: tuple[str, str, str], folder: Path, place: str, root: Path) -> Result:
    parts: list[Part] = []
    problems: list[str] = []
    keys: dict[str, int] = {}
    for each in _all_folders(folder):
        name = "" if each == folder else each.relative_to(folder).as_posix()
        files = []
        for file in sorted(each.iterdir()):
            is_folder = file.is_dir() and not file.name.startswith(".")
            reason = _passed_over(file) if is_folder else _refused(file, root)
            if reason is not None:
                way = file.relative_to(folder).as_posix().encode(errors="replace").decode()
                problems.append(f"{way}: {reason}")
            elif file.suffix in SHOWN and not is_folder:
                files.append(file)
        if files or not name:
            parts.append(
                Part(name, counted(key + (f"~{slug(name)}" if name else ""), keys), each, tuple(files))
            )
    return Result(key, *names, folder, place, tuple(parts), tuple(problems))


def _all_folders(folder: Path, depth: int = 0) -> Iterator[Path]:
    yield folder
    if depth < DEEPEST:
        for each in _folders(folder):
            yield from _all_folders(each, depth + 1)


def _refused(file: Path, root: Path) -> str | None:
    """Why a file of the kinds that are shown is not read; None where it is, and of others."""
    if file.suffix not in SHOWN:
        return None
    if not _is_text(file.name):
        return "a name that is no text"
    if not file.resolve().is_relative_to(root):
        return "a link out of the folder, which is not followed"
    if not file.is_file():
        return "no file"
    size = file.stat().st_size
    return (
        f"{size / 2**20:.0f} MiB, more than the {LARGEST // 2**20} that are shown" if size > LARGEST else None
    )
