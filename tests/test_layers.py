"""The import rules of docs/architecture.md, read from the sources; and which rooms load without torch."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "lightning_moa"

LEAVES = {"answers", "digests", "errors", "fields", "batches", "processes", "lazy"}
ROOMS = {
    "pareto": set(),
    "world": set(),
    "aggregation": {"pareto"},
    "policies": set(),
    "objectives": {"policies", "rewards"},
    "rewards": {"data"},
    "data": {"world"},
    "methods": {"pareto", "aggregation", "policies", "objectives", "rewards", "data"},
    "evaluation": {"pareto", "policies", "rewards"},
    "reporting": {"pareto"},
    "strategies": set(),
    # The light settings of a data set are part of a study's; the names of strategies too.
    "config": {"data", "strategies"},
    "help": {"config", "data", "strategies"},
}
ALL_ROOMS = {*ROOMS, "study"}
# What runs and answers may use everything below it.
ROOMS_ABOVE = {"study": ALL_ROOMS, "cli": ALL_ROOMS}

LIGHT = [
    "aggregation",
    "data",
    "data.registry",
    "evaluation",
    "methods",
    "objectives",
    "policies",
    "rewards",
    "evaluation.judge",
    "figures.prompts",
    "study.judging",
    "study.gradients",
    "study.ends",
    "config",
    "study.planning",
    "study.front_figures",
    "study.panels",
    "study.seeds",
    "study.scored_seeds",
    "study.execute",
    "study.collect",
    "pareto",
    "world",
    "cli",
    "methods.products",
    "rewards.sources",
    "strategies.choices",
]
LIGHT += [
    f"reporting.{path.stem}"
    for path in sorted((PACKAGE / "reporting").glob("*.py"))
    if path.stem != "__init__"
]
HEAVY = ("torch", "transformers", "lightning", "peft", "datasets")


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Every module that a file imports, by its full name."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    return names_in(path.read_text(), package)


def names_in(source: str, package: str) -> set[str]:
    """The modules that a source imports anywhere, functions and type checking included."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            # `from package import module` imports the module too.
            inside = {f"{base}.{alias.name}" for alias in node.names}
            found |= {base, *filter(is_module, inside)}
    return found


def is_module(name: str) -> bool:
    path = REPOSITORY.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def room_of(name: str) -> str | None:
    """The room of a module of this package; None for others and for the package itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == "lightning_moa" and len(parts) > 1 else None


def rooms_imported(path: Path) -> set[str]:
    return {room for name in imported(path) if (room := room_of(name)) is not None}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(path):
    room = room_of(module_of(path))
    if room is None:
        # The package's own names, of every room, are loaded when they are used; tests/test_lazy.py reads them.
        assert rooms_imported(path) <= {*LEAVES, *ROOMS}
        return
    if room in LEAVES:
        assert rooms_imported(path) <= LEAVES
        return
    allowed = ROOMS[room] if room in ROOMS else ROOMS_ABOVE[room]
    assert rooms_imported(path) <= allowed | LEAVES | {room}


@pytest.mark.parametrize("path", sorted((PACKAGE / "methods").glob("*.py")), ids=lambda path: path.stem)
def test_methods_never_import_each_other(path):
    if path.stem in ("base", "__init__"):
        return
    others = {name for name in imported(path) if f"{name}.".startswith("lightning_moa.methods.")}
    assert others <= {"lightning_moa.methods.base", "lightning_moa.methods.stopping"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_imports_an_experiment_or_a_test(path):
    assert not {name.split(".")[0] for name in imported(path)} & {"experiments", "tests"}


def test_every_room_has_a_rule():
    rooms = {room_of(module_of(path)) for path in sources()} - {None}
    assert rooms == LEAVES | set(ROOMS) | set(ROOMS_ABOVE)


def test_the_architecture_page_says_the_same():
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    told = dict(re.findall(r"^  (\w+)/ +-> (.+?)(?:  |$)", page, flags=re.MULTILINE))
    assert set(told) == {room for room in ALL_ROOMS if (PACKAGE / room).is_dir()}
    for room, allowed in ROOMS.items():
        if room in told and room != "methods":
            words = {word.strip() for word in told[room].split(",")} - {"leaves"}
            assert words == allowed, room


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_load_without_torch(name, loaded):
    assert loaded[name] == []


@pytest.fixture(scope="module")
def loaded():
    """The heavy packages that each light module loads, one process for all: the first to blame is found."""
    code = (
        "import importlib, json, sys\n"
        "out = {}\n"
        f"for name in {LIGHT!r}:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module('lightning_moa.' + name)\n"
        f"    out[name] = [heavy for heavy in {HEAVY!r} if heavy in sys.modules and heavy not in before]\n"
        "print(json.dumps(out))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    return json.loads(done.stdout)


def test_the_walk_sees_imports_wherever_they_stand():
    source = (
        "import os.path\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from lightning_moa.study.tasks import Task\n"
        "def f():\n    from lightning_moa import reporting\n    import lightning_moa.world.text\n"
        "class C:\n    from .dpo import DPO\n    from ..errors import UserError\n"
    )
    rooms = {room for name in names_in(source, "lightning_moa.objectives") if (room := room_of(name))}
    assert rooms == {"study", "reporting", "world", "objectives", "errors"}
