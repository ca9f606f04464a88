"""Which Python `make` takes, on machines that have several or none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NONE = "error: Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.13"


def python(folder: Path, name: str, version: tuple[int, int] | None) -> Path:
    """A Python of some version, as far as make asks it; None: it is there and doesn't run."""
    path = folder / name
    if version is None:
        path.write_text("#!/bin/sh\nexit 127\n")
    else:
        # What make hands over is run with the version replaced.
        fake = (
            f"import sys; sys.version_info = ({version[0]}, {version[1]}, 0, 'final', 0); exec(sys.argv[1])"
        )
        path.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" -c "{fake}" "$@"\n')
    path.chmod(0o755)
    return path


def install(folder: Path, *words: str) -> tuple[int, str, str]:
    """`make install` where the folder's Pythons are the only ones: exit code, what it would take, what it says.

    Only its first line, the check, is carried out.
    """
    names = ("sh", "bash", "make", "test", "echo", "sed", "grep")
    for name in names:
        found = shutil.which(name)
        assert found is not None
        if not (folder / name).exists():
            (folder / name).symlink_to(found)
    for file in ("requirements.lock", "pyproject.toml"):
        (folder / file).touch()
    text = (REPOSITORY / "Makefile").read_text()
    check = text[: text.index("\t$(PYTHON) -m venv")] + "\t@echo taken: $(PYTHON)\n"
    (folder / "Makefile").write_text(check)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHON"} | {"PATH": str(folder)}
    done = subprocess.run(
        ["make", "install", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    taken = re.search(r"^taken: (\S+)$", done.stdout, re.M)
    return done.returncode, "" if taken is None else taken.group(1), done.stderr


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"python3.11": (3, 11), "python3.12": (3, 12), "python3.13": (3, 13)}, "python3.13"),
        ({"python3.11": (3, 11), "python3.12": (3, 12), "python3.14": (3, 14)}, "python3.12"),
        # A wrapper that only says that there is no such version.
        ({"python3.11": (3, 11), "python3.13": None}, "python3.11"),
        ({"python3": (3, 12)}, "python3"),
        ({"python3": (3, 14), "python": (3, 11)}, "python"),
    ],
)
def test_the_newest_accepted_python_that_runs_is_taken(tmp_path, there, taken):
    for name, version in there.items():
        python(tmp_path, name, version)
    assert install(tmp_path) == (0, taken, "")


@pytest.mark.parametrize("there", [{}, {"python3": (3, 10)}, {"python3": (3, 14), "python3.14": (3, 14)}])
def test_without_one_it_says_so_in_one_line(tmp_path, there):
    for name, version in there.items():
        python(tmp_path, name, version)
    code, taken, said = install(tmp_path)
    assert code == 2
    assert not taken
    assert said.splitlines()[0] == NONE


def test_the_one_that_is_named_is_taken_or_refused(tmp_path):
    python(tmp_path, "python3.13", (3, 13))
    mine, old = python(tmp_path, "mine", (3, 12)), python(tmp_path, "old", (3, 10))
    assert install(tmp_path, f"PYTHON={mine}")[:2] == (0, str(mine))
    for refused in (old, tmp_path / "nowhere"):
        code, _, said = install(tmp_path, f"PYTHON={refused}")
        assert code == 2
        assert said.splitlines()[0] == NONE


def test_the_same_pythons_are_named_everywhere():
    accepted = re.search(r"^ACCEPTED := (.*)$", (REPOSITORY / "Makefile").read_text(), re.M)
    assert accepted is not None
    versions = sorted(accepted.group(1).split())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    classified = [line.rpartition(" ")[2] for line in project["classifiers"]]
    assert classified == versions
    assert project["requires-python"] == f">={versions[0]}"
    said = f"Python {', '.join(versions[:-1])} or {versions[-1]}"
    assert said in NONE
    assert said in (REPOSITORY / "README.md").read_text()
