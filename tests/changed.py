"""The tests of what has changed, within a minute and a half: `make test-fast`.

    python -m tests.changed [REVISION] [pytest's options]

What has changed since REVISION; by default since the branch left main, and on main itself since the last commit, or in
it where nothing has. First come files of tests that have changed, that mirror a changed source, or that name a changed
file which is no module; then those that import such a source, the nearer the sooner. Files that start processes
(`conftest.LONG`) come last, and of the first kind alone. What has not begun after a minute is skipped, and counted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from lightning_moa.reach.sources import read
from tests.conftest import LONG

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60
"""After which no test is begun; the last ones and the workers' start and end come on top."""
MOST = 40
"""Files: each that is collected is imported by every worker."""


def main(words: list[str]) -> int:
    given = [word for word in words if not word.startswith("-")]
    changed = changes(ROOT, given[0] if given else None)
    print("changed:", ", ".join(changed) or "nothing")
    files, left = chosen(changed, ROOT)
    if left:
        print(f"{left} files of tests that it reaches are left to make test")
    if not files:
        return 0
    end = {"TESTS_END": str(time.time() + SECONDS), "OMP_NUM_THREADS": "1"}
    options = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *words[len(given) :]]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files], cwd=ROOT, env={**os.environ, **end}, check=False
    )
    return done.returncode


def changes(root: Path, since: str | None = None) -> list[str]:
    """Files that differ from a revision, new ones among them and deleted ones not, relative to the repository."""

    def git(*words: str) -> list[str]:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def differ(revision: str) -> list[str]:
        new = git("ls-files", "--others", "--exclude-standard")
        return sorted({*git("diff", "--name-only", "--diff-filter=d", revision), *new})

    if since is not None:
        return differ(since)
    head = git("rev-parse", "HEAD")
    # Where there is no such branch, as in a build's checkout, what has changed is the last commit's.
    main = git("branch", "--list", "main", "--format=%(objectname)") or head
    return differ(git("merge-base", main[0], "HEAD")[0]) or differ("HEAD~1")


def chosen(changed: Iterable[str], root: Path) -> tuple[list[str], int]:
    """The files of tests to run, the nearest first, and how many more are reached."""
    far = distances(changed, root)
    ordered = sorted(far, key=lambda file: (file.startswith(LONG), far[file], file))
    kept = [file for file in ordered if not (file.startswith(LONG) and far[file])][:MOST]
    return kept, len(far) - len(kept)


def distances(changed: Iterable[str], root: Path) -> dict[str, int]:
    """Each file of tests that changes reach -> how far it is from the nearest: 0 that file itself, its mirror, or one
    that names it; 1 one that imports it, 2 one that imports what does."""
    places = {
        name_of(path.relative_to(root)): path
        for room in ("lightning_moa", "tests", "benchmarks")
        for path in (root / room).rglob("*.py")
    }
    by: dict[str, set[str]] = defaultdict(set)
    for name, path in places.items():
        for each in imports_of(name, path, places):
            by[each].add(name)
    tests = {name: path for name, path in places.items() if path.name.startswith("test_")}
    texts = {name: path.read_text() for name, path in tests.items()}
    found: dict[str, int] = {}
    for file in map(Path, changed):
        name, far = name_of(file), 0
        if name in places:
            front = {name} | mirrors(file, tests)
        else:
            # A script by its name, any other file by its full name or as one of `*.yaml`.
            named = (
                rf"\b{file.stem}\b"
                if file.suffix == ".py"
                else rf"\b{re.escape(file.name)}\b|\*{file.suffix}\b"
            )
            front = {test for test, text in texts.items() if re.search(named, text)}
        seen: set[str] = set()
        while front:
            for each in front:
                found[each] = min(far, found.get(each, far))
            seen |= front
            front, far = {other for each in front for other in by[each]} - seen, far + 1
    return {str(tests[name].relative_to(root)): far for name, far in found.items() if name in tests}


def mirrors(file: Path, tests: Iterable[str]) -> set[str]:
    """lightning_moa/room/name.py -> tests.room.test_name, and test_name_more."""
    start = f"{name_of(Path('tests', *file.parts[1:-1]))}.test_{file.stem}"
    return {test for test in tests if test == start or test.startswith(f"{start}_")}


def imports_of(name: str, path: Path, places: dict[str, Path]) -> set[str]:
    """The repository's modules that a file imports anywhere, through the tables of lazy packages."""
    found = set()
    for level, module, wanted in read(path).imports:
        parts = name.split(".")
        keep = len(parts) - level + (path.name == "__init__.py")
        full = ".".join(filter(None, (*parts[:keep], module))) if level else module
        table = read(places[full]).table if full in places else {}
        inside = f"{full}.{table.get(wanted or '', wanted)}"
        found |= {inside} if inside in places else {full} & places.keys()
    return found


def name_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
