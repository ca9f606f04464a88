"""The import rules of docs/architecture.md, read from the sources; and which rooms load without torch."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "lightning_moa"

LEAVES = {
    *(
        "answers",
        "batches",
        "digests",
        "errors",
        "fields",
        "lazy",
        "folders",
        "optimiser",
        "peak_memory",
        "processes",
        "signals",
        "run_folders",
        "scaffold",
        "task_files",
        "turns",
        "workers",
    )
}
ROOMS = {
    "pareto": set(),
    "world": set(),
    "reach": set(),
    "strategies": set(),
    "policies": set(),
    "data": {"world"},
    "rewards": {"data"},
    "aggregation": {"pareto", "policies"},
    "deployments": {"pareto", "policies"},
    "objectives": {"pareto", "policies", "rewards", "data"},
    "methods": {"pareto", "aggregation", "policies", "objectives", "rewards", "data", "deployments"},
    "evaluation": {"pareto", "policies", "rewards"},
    "callbacks": {"pareto", "policies", "rewards", "objectives", "methods", "evaluation"},
    "reporting": {"pareto"},
    # The light settings of a data set are part of a study's; the names of strategies too.
    "config": {"data", "strategies"},
    "help": {"config", "data"},
}
ANSWERS = set(ROOMS) - {"help", "reach", "callbacks"}
ROOMS |= {
    # What a worker does reaches neither the engine that starts it nor what is told of it: a change there makes no other
    # result.
    "runs": ANSWERS - {"config", "reporting", "world"},
    "study": {*ANSWERS, "help", "reach"} - {"evaluation", "world"},
    "forecast": {*ANSWERS, "study", "runs"} - {"evaluation", "world"},
    "figures": {*ANSWERS, "study", "runs"},
    "inference": {*ANSWERS, "runs"} - {"config", "evaluation", "world"},
    "pages": {"reporting"},
    "watch": {"reporting"},
    "demo": {"data", "inference", "policies", "reporting", "rewards"},
    # A command's module loads what it needs when it runs.
    "commands": {"data", "demo", "forecast", "inference", "pages", "policies", "reporting", "watch"},
}
TOP = {"cli": {"commands", "reporting"}}

LIGHT = [
    "aggregation",
    "callbacks",
    "data",
    "data.registry",
    "deployments",
    "evaluation",
    "methods",
    "objectives",
    "policies",
    "rewards",
    "evaluation.judge",
    "figures.final_gains",
    "figures.gradients",
    "figures.judging",
    "figures.cluster_figures",
    "figures.panels",
    "figures.prompts",
    "study.chosen",
    "study.study",
    "study.artefacts",
    "study.some",
    "config",
    "study.planning",
    "study.seeds",
    "study.execute",
    "study.collect",
    "pareto",
    "world",
    "reach.digest",
    "runs.offline_logps",
    "cli",
    "inference.found",
    "inference.preferences",
    "help",
    "methods.products",
    "rewards.sources",
    "strategies.choices",
    "task_files",
    "optimiser",
    "answers",
]
LIGHT += [
    f"{path.parent.name}.{path.stem}"
    for name in ("names", "settings")
    for path in PACKAGE.glob(f"*/{name}.py")
]
LIGHT += [
    f"{room}.{path.stem}"
    for room in ("reporting", "pages", "watch")
    for path in sorted((PACKAGE / room).glob("*.py"))
    if path.stem != "__init__"
]
HEAVY = ("torch", "transformers", "lightning", "peft", "datasets", "scipy.stats")


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
        assert rooms_imported(path) <= LEAVES | set(ROOMS)
        return
    if room in LEAVES:
        assert rooms_imported(path) <= LEAVES
        return
    allowed = (ROOMS | TOP)[room]
    assert rooms_imported(path) <= allowed | LEAVES | {room}


def test_rooms_lie_above_each_other():
    """No circle of rooms: there is an order in which each may use those before it alone."""
    rooms = ROOMS | TOP
    assert tuple(TopologicalSorter(rooms).static_order())
    assert not rooms["study"] & {"runs", "forecast", "figures"}
    assert not rooms["runs"] & {"study", "reporting", "forecast", "figures"}
    assert "figures" not in rooms["forecast"]
    assert "forecast" not in rooms["figures"]


def edges() -> dict[str, set[str]]:
    """Module of the package to those of it that its import imports: what a lazy room loads for it included."""
    graph = {}
    for path in sources():
        name = module_of(path)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        graph[name] = at_once(path.read_text(), package) - {name}
    return graph


def at_once(source: str, package: str) -> set[str]:
    """The package's modules that an import of a source in `package` runs: what functions import, and what only type
    checkers read, left out."""
    found = set()
    for node in running(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inside = f"{base}.{alias.name}"
                found.add(inside if is_module(inside) else loaded_for(base, alias.name))
    ours = {name for name in found if f"{name}.".startswith("lightning_moa.")}
    # A module's packages run first; its own, which may import it in turn, are there when it is.
    parents = {name.rsplit(".", i)[0] for name in ours for i in range(1, name.count(".") + 1)}
    own = {package.rsplit(".", i)[0] for i in range(package.count(".") + 1)}
    return {name for name in ours | (parents - own) if is_module(name)}


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for each in node.orelse:
                yield each
                yield from running(each)
            continue
        yield node
        yield from running(node)


def loaded_for(package: str, name: str) -> str:
    """The submodule that a lazy package loads for a name, or the package itself."""
    submodule = tables().get(package, {}).get(name)
    return package if submodule is None else f"{package}.{submodule}"


@cache
def tables() -> dict[str, dict[str, str]]:
    """Each lazy package's table."""
    found = {}
    for path in PACKAGE.rglob("__init__.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "attach":
                found[module_of(path)] = ast.literal_eval(node.args[1])
    return found


def test_no_module_imports_itself_by_way_of_others():
    graph = edges()
    assert set().union(*graph.values()) <= set(graph)
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_the_walk_of_what_runs_sees_lazy_names_and_passes_over_functions():
    source = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from lightning_moa.study import tasks\n"
        "else:\n    import lightning_moa.world.text\n"
        "def f():\n    from lightning_moa import reporting\n"
        "class C:\n    from ..errors import UserError\n    def f(self):\n        import lightning_moa.cli\n"
        "try:\n    from lightning_moa.policies import LoRA, response_logps\nexcept ImportError:\n    pass\n"
        "from lightning_moa.pareto import points\n"
        "import numpy"
    )
    assert at_once(source, "lightning_moa.objectives") == {
        "lightning_moa.world",
        "lightning_moa.world.text",
        "lightning_moa.errors",
        "lightning_moa.policies",
        "lightning_moa.policies.lora",
        "lightning_moa.policies.logprobs",
        "lightning_moa.pareto",
        "lightning_moa.pareto.points",
    }


@pytest.mark.parametrize("path", sorted((PACKAGE / "methods").glob("*.py")), ids=lambda path: path.stem)
def test_methods_never_import_each_other(path):
    if path.stem in ("base", "evaluated", "__init__"):
        return
    others = {name for name in imported(path) if f"{name}.".startswith("lightning_moa.methods.")}
    shared = ("base", "evaluated", "head_watch", "names", "products", "settings", "stopping", "switches")
    assert others <= {f"lightning_moa.methods.{name}" for name in shared}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_imports_an_experiment_or_a_test(path):
    assert not {name.split(".")[0] for name in imported(path)} & {"experiments", "tests"}


def test_every_room_has_a_rule():
    rooms = {room_of(module_of(path)) for path in sources()} - {None}
    assert rooms == LEAVES | set(ROOMS) | set(TOP)


def test_the_architecture_page_says_the_same():
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    (picture,) = re.findall(r"^lightning_moa/\n(.*?)^experiments/", page, flags=re.MULTILINE | re.DOTALL)
    told = dict(re.findall(r"^  (\w+)/ +-> (.+?)(?:  |$)", picture, flags=re.MULTILINE))
    assert set(told) == {room for room in ROOMS if (PACKAGE / room).is_dir()}
    lines = list(told)
    for room, words in told.items():
        assert told_of(words, lines[: lines.index(room)]) == ROOMS[room], room
    (leaves,) = re.findall(r"^((?:  [\w, ]+\n)*?  [\w, ]+?)  +leaves ", picture, flags=re.MULTILINE)
    assert set(re.findall(r"\w+", leaves)) == LEAVES
    for name, words in re.findall(r"(\w+)\.py \(-> ([\w, ]+)\)", picture):
        assert {word.strip() for word in words.split(",")} == (ROOMS | TOP)[name]


def told_of(words: str, above: Collection[str]) -> set[str]:
    """The rooms that a line of the picture allows: names, or `above`, the rooms of the lines before it, with some more
    (`and`) and without others (`but`)."""
    if words == "leaves":
        return set()
    named, _, less = words.partition(" but ")
    named, _, more = named.partition(" and ")
    found = set(above) if named == "above" else set(re.split(", ", named))
    return (found | set(re.findall(r"\w+", more))) - set(re.findall(r"\w+", less))


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


def test_planning_loads_of_the_answers_no_more_than_torch():
    """Their classes say what they need; lightning and transformers take seconds to load."""
    code = (
        "import sys\n"
        "from lightning_moa.answers import load\n"
        "from lightning_moa.methods.sections import TABLES\n"
        "for kind in ('policy', 'objective', 'aggregation'):\n"
        "    for known in TABLES[kind].values():\n"
        "        load(known.path)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert done.stdout.strip() == "['torch']"
