"""Every command in the README is run, at the smoke scale; every line of its Python example too."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
COMMANDS = [
    line.removeprefix("$ ").strip()
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
    if line.startswith("$ ")
]
SMALL = (
    "scale=smoke",
    "workers=1",
    "runs_dir=runs",
    "results_dir=made",
    "sft.steps=3",
    "reward_model.steps=2",
)


def run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: the repository's scripts and results, and a file of pairs."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("experiments", "results"):
        (folder / name).symlink_to(ROOT / name)
    rows = [
        {
            "prompt": f"How do I fix chair number {i}?",
            "response_0": f"Take glue, a clamp and an hour of time for chair {i}.",
            "response_1": "Buy another." + " Really." * (i % 5),
            "helpful_better_id": i % 2,
            "verbose_better_id": 0,
        }
        for i in range(60)
    ]
    (folder / "my_pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_there_are_commands() -> None:
    assert {"make reproduce", "make test", "moa list"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, folder: Path) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        run([*words, "--dry-run"], ROOT)
    elif words[0] == "python":
        assert words[1].startswith("experiments/")
        run(
            [sys.executable, str(ROOT / words[1]), *(w for w in words[2:] if "scale=" not in w), *SMALL],
            folder,
        )
    else:
        assert words[0] == "moa"
        run(words, folder)


def test_python_example() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    names: dict[str, object] = {}
    exec(example, names)
    points = names["points"]
    assert names["hypervolume"](points, reference_point=[0.0, 0.0]) == pytest.approx(0.48)  # type: ignore[operator]
    assert list(names["is_non_dominated"](points)) == [True, True, False]  # type: ignore[operator]


def test_files_that_it_names_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_the_aggregation_of_ones_own_in_the_page_on_gapo() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "gapo.md").read_text(), re.S)
    names: dict[str, object] = {}
    exec(example, names)
    weights = names["Equal"]().solve(np.diag([4.0, 0.25]), np.array([0.5, 0.5]))  # type: ignore[operator]
    np.testing.assert_allclose(weights, [0.5, 2.0])


@pytest.mark.parametrize("paper", ["gapo", "ham"])
def test_files_that_the_pages_on_papers_name_are_there(paper: str) -> None:
    text = (ROOT / "docs" / f"{paper}.md").read_text()
    scripts = re.findall(r"`(\w+\.py)`", text)
    assert scripts
    assert all((ROOT / "experiments" / paper / name).is_file() for name in scripts)
