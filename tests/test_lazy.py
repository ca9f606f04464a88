"""The public names of the package and its rooms: they exist, they are typed, and none is loaded before it is used."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_moa as moa
from lightning_moa.lazy import attach

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "lightning_moa"
ROOMS = ("aggregation", "callbacks", "data", "evaluation", "methods", "objectives", "policies", "rewards")
LAZY = ("lightning_moa", *(f"lightning_moa.{room}" for room in ROOMS))
HEAVY = ("torch", "lightning", "transformers", "peft", "datasets", "pandas", "numpy")


def path_of(package: str) -> Path:
    return REPOSITORY.joinpath(*package.split("."), "__init__.py")


def table_of(package: str) -> dict[str, str]:
    """The names and submodules that a package hands to `attach`, read from its source."""
    (found,) = [
        node.value
        for node in ast.parse(path_of(package).read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    ]
    assert ast.unparse(found.func) == "attach"
    assert ast.unparse(found.args[0]) == "__name__"
    table: dict[str, str] = ast.literal_eval(found.args[1])
    assert len(found.args[1].keys) == len(table), "a name stands in the table twice"
    return table


def typed_of(package: str) -> dict[str, str]:
    """The same, as the package tells type checkers."""
    (block,) = [node for node in ast.parse(path_of(package).read_text()).body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, "without `as`, it is no name of the package's own"
            found[alias.name] = node.module.removeprefix(f"{package}.")
    return found


@pytest.mark.parametrize("package", LAZY)
def test_a_package_does_nothing_but_name(package):
    kinds = [type(node) for node in ast.parse(path_of(package).read_text()).body]
    assert kinds == [ast.Expr, ast.ImportFrom, ast.ImportFrom, ast.If, ast.Assign] or (
        package == "lightning_moa" and kinds.count(ast.Assign) == 2 and moa.__version__
    )


@pytest.mark.parametrize("package", LAZY)
def test_what_runs_and_what_is_typed_agree(package):
    assert table_of(package) == typed_of(package)


@pytest.mark.parametrize("package", LAZY)
def test_every_name_is_there_and_is_what_its_module_defines(package):
    room = importlib.import_module(package)
    assert room.__all__ == sorted(table_of(package))
    assert set(room.__all__) <= set(dir(room))
    for name, module in table_of(package).items():
        value = getattr(room, name)
        assert value is getattr(importlib.import_module(f"{package}.{module}"), name), name
        # Where it says where it is from, that is the module in the table.
        if isinstance(value, type) or callable(value):
            assert value.__module__ == f"{package}.{module}", name


@pytest.mark.parametrize("package", LAZY)
def test_no_name_is_a_submodules(package):
    """Importing `package.name` would put the module where the name was."""
    folder = path_of(package).parent
    modules = {path.stem for path in folder.glob("*.py")} | {
        path.parent.name for path in folder.glob("*/__init__.py")
    }
    assert not modules & set(table_of(package))


@pytest.mark.parametrize("package", LAZY)
def test_an_unknown_name_is_an_attribute_error(package):
    room = importlib.import_module(package)
    with pytest.raises(AttributeError, match=rf"module '{package}' has no attribute 'Other'"):
        _ = room.Other
    with pytest.raises(ImportError, match="cannot import name 'Other'"):
        exec(f"from {package} import Other")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_a_room_loads_nothing():
    code = (
        "import importlib, json, sys\n"
        "out = {}\n"
        f"for name in {LAZY!r}:\n"
        "    importlib.import_module(name)\n"
        f"    out[name] = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        "print(json.dumps(out))\n"
    )
    assert json.loads(run(code)) == {name: [] for name in LAZY}


def test_names_that_need_no_torch_load_none():
    code = (
        "import sys, lightning_moa as moa\n"
        "moa.UserError, moa.option, moa.Product, moa.hypervolume, moa.RewardSet, moa.RewardJudge, moa.DataConfig\n"
        "print('torch' in sys.modules)\n"
        "moa.Linear\n"
        "print('torch' in sys.modules)\n"
    )
    assert run(code).split() == ["False", "True"]


FUNCTIONS = [
    ("lightning_moa.aggregation", "volume", "hypervolume"),
    ("lightning_moa.policies", "generation", "generate"),
    ("lightning_moa.pareto", "hypervolume", "hypervolume"),
    ("lightning_moa.pareto", "hypervolume_gradient", "hypervolume_gradient"),
]


def imported(package: str, module: str, name: str, module_first: bool) -> str:
    lines = [f"import {package}.{module}", f"from {package} import {name} as first"]
    return "\n".join(
        [
            *(lines if module_first else reversed(lines)),
            f"from {package} import {name} as again",
            f"import {package} as room",
            f"assert first is again is room.{name}",
            "assert type(first).__name__ == 'function'",
        ]
    )


@pytest.fixture(scope="module")
def ended() -> dict[str, int]:
    """Code -> the exit code of a process of its own, forked from one that has imported the libraries and nothing of
    the package."""
    codes = [imported(*each, first) for each in FUNCTIONS for first in (False, True)]
    parent = (
        "import json, os, sys, traceback\n"
        "import moocore, torch\n"
        "assert not [name for name in sys.modules if name.startswith('lightning_moa.')]\n"
        "out = {}\n"
        f"for code in {codes!r}:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try:\n"
        "            exec(code, {})\n"
        "        except BaseException:\n"
        "            traceback.print_exc()\n"
        "            os._exit(1)\n"
        "        os._exit(0)\n"
        "    out[code] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "print(json.dumps(out))\n"
    )
    found: dict[str, int] = json.loads(run(parent))
    return found


@pytest.mark.parametrize(("package", "module", "name"), FUNCTIONS)
@pytest.mark.parametrize("module_first", [False, True])
def test_a_function_stays_one_whatever_is_imported_first(package, module, name, module_first, ended):
    assert ended[imported(package, module, name, module_first)] == 0


def test_the_package_names_methods_where_aggregators_share_the_name():
    from lightning_moa import aggregation, methods

    for name in ("GAPO", "MGDA", "PGAPO"):
        assert getattr(moa, name) is getattr(methods, name)
        assert getattr(moa, name) is not getattr(aggregation, name)


def test_everything_in_a_star_is_named():
    names: dict[str, object] = {}
    exec("from lightning_moa.objectives import *", names)
    assert set(names) - {"__builtins__"} == set(table_of("lightning_moa.objectives"))


def taken(source: str) -> set[tuple[str, str]]:
    """(package, name) of each import from a lazy package, functions included."""
    return {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module in LAZY and not node.level
        for alias in node.names
    }


def files() -> list[Path]:
    return [
        path
        for folder in ("lightning_moa", "experiments", "benchmarks", "tests")
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
    ]


def test_whatever_is_imported_from_a_room_is_there():
    """A type checker doesn't tell: a module with `__getattr__` may have any name."""
    for path in files():
        for package, name in taken(path.read_text()):
            here = REPOSITORY.joinpath(*package.split("."), name)
            known = name in table_of(package) or here.with_suffix(".py").is_file() or here.is_dir()
            assert known or (package, name) == ("lightning_moa", "__version__"), f"{path}: {package}.{name}"


def test_the_package_itself_imports_from_rooms():
    """Its own names would lead past the rules of who may import whom."""
    names = set(table_of("lightning_moa"))
    for path in sorted(PACKAGE.rglob("*.py")):
        assert (
            not {name for package, name in taken(path.read_text()) if package == "lightning_moa"} & names
        ), path


def test_a_failing_module_says_so_itself(tmp_path, monkeypatch):
    folder = tmp_path / "some_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "broken.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("some_package")
    load, known, public = attach("some_package", {"Thing": "broken"})
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        load("Thing")
    assert public == ["Thing"]
    assert "Thing" in known()
    assert not hasattr(package, "Thing")
