"""What a task can reach, and so what changes its key: made-up modules of a user's, and this package's own."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from pathlib import Path

import pytest

from lightning_moa.errors import UserError
from lightning_moa.reach import digest as reach
from lightning_moa.reach import places
from lightning_moa.reach.digest import code_digest, reached
from lightning_moa.reach.sources import read

ENTRY = "mine:Worst"
LAZY = """
from typing import TYPE_CHECKING
from lightning_moa.lazy import attach
if TYPE_CHECKING:
    from room.one import One as One
__getattr__, __dir__, __all__ = attach(__name__, {"One": "one", "first": "one", "Two": "deep.two"})
"""
ROOM = {"room/__init__.py": LAZY, "room/one.py": "One = first = 1", "room/deep/two.py": "Two = 2"}


class Folder:
    """A user's folder, on sys.path."""

    def __init__(self, root: Path):
        self.root = root

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.root / (name if "." in name else f"{name}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()

    def names(self, *entries: str) -> set[str]:
        """The user's modules that are reached."""
        return {name for name in reached(entries or [ENTRY]) if not name.startswith("lightning_moa")}

    def changes(self, name: str, text: str = "changed = True", **options: bool) -> bool:
        """Whether other content of a file makes another digest."""
        before = code_digest([ENTRY], **options)
        self.write(**{name: text})
        return code_digest([ENTRY], **options) != before


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Folder(tmp_path)
    made.write(
        mine="import helper\nclass Worst: pass", helper="def f():\n    from below import g", below="g = 1"
    )
    return made


def test_helpers_count_at_any_depth_and_other_files_do_not(folder):
    assert folder.names() == {"mine", "helper", "below"}
    assert not folder.changes("unused")
    assert not folder.changes("unused", "changed = 'again'")
    for name in ("below", "helper", "mine"):
        assert folder.changes(name)


def test_an_import_in_a_function_is_followed(folder):
    folder.write(mine="class Worst:\n    def f(self):\n        if self.g:\n            import below")
    assert folder.names() == {"mine", "below"}


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("import helper\n# a comment\n\nclass Worst: pass", False),
        ("'''A docstring.'''\nimport helper\nclass Worst:\n    '''Another.'''\n    pass", False),
        ("import  helper\nclass Worst:\n        pass", False),
        ("import helper\nclass Worst: pass\nWorst.a = 1", True),
        ("import helper as h\nclass Worst: pass", True),
        ("import helper\nclass Worst: a = 'a comment'", True),
    ],
)
def test_which_changes_of_a_file_count(folder, text, counts):
    assert folder.changes("mine", text) is counts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a = None", "a = 0"),
        ("a = 1", "a = 1.0"),
        ("a = 'b'", "a = b'b'"),
        ("a = b", "a = 'b'"),
        ("def f(a, /): return", "def f(a): return"),
        ("def f(): return None", "def f(): return 0"),
        ("a = {**b}", "a = {None: b}"),
        ("f(a.b)", "f(a, b)"),
        ("f('a', b)", "f('a')(b)"),
        ("f('a')\nb", "f('a', b)"),
        ("getattr(a, 'b')", "getattr(a, 'b', None)"),
        ("x = a < b", "x = a <= b"),
        ("if a:\n    b\nc", "if a:\n    b\n    c"),
        ("if TYPE_CHECKING:\n    a\nelse:\n    b", "if TYPE_CHECKING:\n    a\nelse:\n    c"),
        ("if not TYPE_CHECKING:\n    a", "if not TYPE_CHECKING:\n    b"),
        ("f'{a}'", "f'{a!r}'"),
    ],
)
def test_what_means_something_else_reads_otherwise(tmp_path, one, other):
    digests = set()
    for name, text in (("one", one), ("other", other)):
        (tmp_path / name).write_text(text)
        digests.add(read(tmp_path / name).digest)
    assert len(digests) == 2


def test_what_only_a_type_checker_imports_is_not_reached(folder):
    negated = (
        "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import below\nelse:\n    import helper"
    )
    checked = "import typing as t\nif t.TYPE_CHECKING:\n    import helper\nelse:\n    import below"
    for text in (negated, checked):
        folder.write(mine=text)
        assert folder.names() == {"mine", "below"}
    assert not folder.changes("mine", checked.replace("helper", "unused"))


def test_relative_imports_and_the_packages_on_the_way(folder):
    folder.write(
        **{
            "pack/__init__.py": "",
            "pack/a.py": "from .sub import c\nfrom . import b",
            "pack/b.py": "",
            "pack/sub/__init__.py": "from ..d import x",
            "pack/sub/c.py": "",
            "pack/sub/unused.py": "",
            "pack/d.py": "x = 1",
            "mine.py": "import pack.a",
        }
    )
    assert folder.names() == {"mine", "pack", "pack.a", "pack.b", "pack.sub", "pack.sub.c", "pack.d"}
    assert folder.names("pack.sub.c:C") == {"pack", "pack.sub", "pack.sub.c", "pack.d"}


def test_folders_without_an_init(folder):
    folder.write(
        **{
            "spaces/inner/a.py": "from . import b",
            "spaces/inner/b.py": "",
            "mine.py": "import spaces.inner.a",
        }
    )
    assert folder.names() == {"mine", "spaces.inner.a", "spaces.inner.b"}


def test_a_star_takes_what_all_names(folder):
    folder.write(
        **{
            "pack/__init__.py": "__all__ = ['a', 'x']",
            "pack/a.py": "",
            "pack/b.py": "",
            "mine.py": "from pack import *",
        }
    )
    assert folder.names() == {"mine", "pack", "pack.a"}


ONE, TWO = {"room.one"}, {"room.deep.two"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import room", set()),
        ("from room import One", ONE),
        ("from room import first as f", ONE),
        ("from room import Two", TWO),
        ("import room\nroom.Two.attribute", TWO),
        ("import room as r\ndef f():\n    return r.One()", ONE),
        ("import room\nroom.__version__", set()),
        ("import room\ngetattr(room, 'One')", ONE),
        ("import room\ngetattr(room, name)", ONE | TWO),
        ("import room\nf(room)", ONE | TWO),
        ("import room as r\nother = r", ONE | TWO),
        ("from room import *", ONE | TWO),
        ("import importlib\nimportlib.import_module('room').Two", ONE | TWO),
        ("import outer.inner\nouter.inner.Three", {"outer.inner.three"}),
        ("from outer import inner", set()),
        ("from outer import inner\ninner.Three", {"outer.inner.three"}),
        ("from outer import Three", {"outer.inner.three"}),
        ("import outer as o\no.Three", {"outer.inner.three"}),
        # A lazy package that another file has imported.
        ("import passing\npassing.r.Two", TWO),
        ("from passing import r\nr.One", ONE),
        ("from passing import *\nr.One", ONE),
    ],
)
def test_a_lazy_package_gives_what_is_asked_of_it(folder, text, found):
    outer = "from lightning_moa.lazy import attach as a\n__getattr__, __dir__, __all__ = a(__name__, {'Three': '%s'})"
    lazy = {"outer/__init__.py": outer % "inner", "outer/inner/__init__.py": outer % "three"}
    folder.write(**ROOM, **lazy, **{"outer/inner/three.py": ""}, passing="import room as r", mine=text)
    assert folder.names() - {"mine", "passing", "room", "outer", "outer.inner"} == found


def test_an_entry_may_name_what_is_lazy(folder):
    folder.write(**ROOM)
    assert folder.names("room:Two") == {"room", *TWO}
    assert folder.names("room") == {"room", *ONE, *TWO}


def test_a_new_name_in_a_table_changes_nothing_and_one_that_moves_does(folder):
    folder.write(**ROOM, mine="from room import One", **{"room/new.py": "New = One = 1"})
    more = LAZY.replace('{"One"', '{"New": "new", "One"').replace(
        "import One as One", "import One\n    import x"
    )
    assert not folder.changes("room/__init__.py", more)
    more += "\nvalue = 1"
    assert folder.changes("room/__init__.py", more)
    folder.write(mine="from room import One, New, first")
    assert folder.changes("room/__init__.py", more.replace('"One": "one"', '"One": "new"'))


def test_what_only_looks_like_a_table_is_none(folder):
    """Another `attach`, whose submodules cannot be known: a plain call."""
    folder.write(
        **ROOM | {"room/__init__.py": LAZY.replace("lightning_moa.lazy", "helper")},
        mine="from room import One",
    )
    assert "room.one" not in folder.names()
    for known, unknown in (('"Two"', "name"), ("__name__", "'other'"), ("attach(", "attach(*")):
        folder.write(**{"room/__init__.py": LAZY.replace(known, unknown)})
        assert {"room.one", "room.deep.two"} <= folder.names(), (
            "a table that cannot be read: all of the package"
        )


@pytest.mark.parametrize(
    "text",
    [
        "import importlib\nimportlib.import_module('pack.a')",
        "from importlib import import_module as load\nload('pack.a')",
        "load('pack.a')\nfrom importlib import import_module as load",
        "import importlib\nimportlib.import_module('.a', 'pack')",
        "__import__('pack.a')",
        "import runpy\nrunpy.run_module('pack.a')",
        "exec('import pack.a')",
        "eval('__import__(\"pack.a\")')",
    ],
)
def test_a_literal_name_is_followed(folder, text):
    folder.write(**{"pack/__init__.py": "", "pack/a.py": "", "pack/b.py": "", "mine.py": text})
    assert folder.names() == {"mine", "pack", "pack.a"}


@pytest.mark.parametrize(
    "text",
    [
        "import importlib\nimportlib.import_module(name)",
        "from importlib import import_module\nimport_module(f'pack.{name}')",
        "import importlib\nload = importlib.import_module",
        "__import__(name)",
        "exec(text)",
        "model = eval(text)",
        "import runpy\nrunpy.run_path('b.py')",
        "from importlib.util import spec_from_file_location\nspec_from_file_location('b', path)",
    ],
)
def test_a_name_that_only_a_run_can_tell_takes_all_of_its_package(folder, text):
    folder.write(
        **{
            "pack/__init__.py": "",
            "pack/a.py": text,
            "pack/sub/b.py": "import below",
            "mine.py": "import pack.a",
        }
    )
    assert folder.names() == {"mine", "pack", "pack.a", "pack.sub.b", "below"}
    folder.write(**{"mine.py": text, "inner/unused.py": ""})
    assert folder.names() == {"mine", "helper", "below"}


def test_a_method_of_the_same_name_runs_nothing(folder):
    folder.write(mine="def f(policy, text):\n    policy.eval(text)\n    policy.exec(text)")
    assert folder.names() == {"mine"}


def test_a_broken_file_counts_by_its_bytes(folder):
    folder.write(helper="import below\ndef f(:")
    assert folder.names() == {"mine", "helper"}
    assert folder.changes("helper", "import below\ndef f(:  # more")


@pytest.mark.parametrize("name", ["nowhere", "mine.nowhere", "", "mine.", "lightning_moa.nowhere"])
def test_a_module_that_is_not_there_is_named(folder, name):
    with pytest.raises(UserError, match=rf"^{name}: no such module; a class is named 'module:Class'$"):
        code_digest([f"{name}:Class"])


def test_two_copies_of_a_tree_have_one_digest(folder, tmp_path, monkeypatch):
    both = []
    for name in ("here", "there"):
        copy = Folder(tmp_path / name)
        copy.write(**ROOM, mine="import other\nexec(text)", other="from room import Two", unrelated="")
        with monkeypatch.context() as patched:
            patched.setattr(sys, "path", [str(copy.root), *sys.path])
            both.append(code_digest([ENTRY]))
            assert reached([ENTRY])["unrelated"].parent == copy.root
    assert both[0] == both[1] != code_digest([ENTRY])


def test_neither_order_nor_spelling_matters(folder):
    entries = [ENTRY, "helper", "lightning_moa.aggregation.linear:Linear"]
    assert code_digest(entries) == code_digest([*reversed(entries), "mine:Other", "below:g"])


def test_without_this_package_only_the_users_modules_count(folder, monkeypatch):
    folder.write(mine="import helper, lightning_moa.errors")
    digests = [code_digest([ENTRY, "lightning_moa.errors"], package=package) for package in (True, False)]
    monkeypatch.setattr(
        reach, "read", lambda path: read(path.with_name("fields.py") if path.stem == "errors" else path)
    )
    again = [code_digest([ENTRY, "lightning_moa.errors"], package=package) for package in (True, False)]
    assert again[0] != digests[0]
    assert again[1] == digests[1] == code_digest([ENTRY], package=False)
    assert folder.changes("below", package=False)


def test_the_versions_of_other_libraries_count(folder, monkeypatch):
    def digest_at(version):
        monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
        return code_digest([ENTRY])

    with monkeypatch.context() as patched:
        patched.setattr(reach, "_distributions", None)
        folder.write(below="import os\nimport torch.nn\nimport lightning_moa.policies.svd_lora")
        assert digest_at("1") == digest_at("2"), "of the standard library, in every key, read by this package"
    folder.write(below="import pytest")
    assert digest_at("1") != digest_at("2")


def test_the_versions_that_this_package_computes_with_count(monkeypatch):
    names, real = ("UPGrad", "PCGrad", "Hypervolume", "Linear"), importlib.metadata.version
    before = {entry: code_digest([entry]) for entry in map("lightning_moa:{}".format, names)}
    for place, other in enumerate(("scipy", "torchjd", "moocore", "pandas")):
        monkeypatch.setattr(importlib.metadata, "version", lambda of, o=other: "0" if of == o else real(of))
        changed = [code_digest([entry]) != one for entry, one in before.items()]
        assert changed == [place == i for i in range(3)] + [False]


def test_nothing_is_imported(folder):
    folder.write(mine="import room.one\nraise SystemExit", **ROOM | {"room/__init__.py": "raise SystemExit"})
    assert folder.names() == {"mine", "room", "room.one"}
    assert not {"mine", "room"} & set(sys.modules)


def test_this_package_is_reached_by_what_is_asked_of_it():
    assert "lightning_moa.aggregation.gapo" in reached(["lightning_moa.aggregation.gapo:GAPO"])
    assert "lightning_moa.aggregation.gapo" in reached(["lightning_moa.aggregation:GAPO"])
    assert "lightning_moa.aggregation.gapo" not in reached(["lightning_moa.aggregation.linear:Linear"])
    assert "lightning_moa.aggregation.linear" in reached(["lightning_moa:Linear"])


def test_a_users_method_reaches_this_packages_modules(folder):
    folder.write(mine="import lightning_moa as moa\nclass Worst(moa.DPO): pass")
    found = reached([ENTRY])
    assert {"mine", "lightning_moa.objectives.dpo", "lightning_moa.policies.logprobs"} <= set(found)
    assert "lightning_moa.objectives.ppo" not in found
    assert found["lightning_moa.objectives.dpo"] == places.PACKAGE / "objectives" / "dpo.py"


def test_another_copy_of_this_package_is_not_the_one_that_runs(folder):
    folder.write(
        **{
            "lightning_moa/__init__.py": "",
            "lightning_moa/errors.py": "",
            "mine.py": "import lightning_moa.errors",
        }
    )
    assert reached([ENTRY])["lightning_moa.errors"] == places.PACKAGE / "errors.py"


def test_this_packages_own_loaders_are_known():
    """They are passed over: each is given names that a task's entries hold, or, in `moa plan`, changes no result. A
    new one must be like them."""
    known = {"lazy.py", "data/registry.py", "answers.py", "study/artefacts.py", "study/execute.py"}
    files = {path.relative_to(places.PACKAGE).as_posix(): path for path in places.PACKAGE.rglob("*.py")}
    assert {name for name, path in files.items() if read(path).opaque} == known


def test_this_packages_tables_can_be_read():
    for path in places.PACKAGE.rglob("__init__.py"):
        if any(each.module == "lightning_moa.lazy" for each in read(path).imports):
            module = ".".join(("lightning_moa", *path.parent.relative_to(places.PACKAGE).parts))
            names = {name for name in read(path).table}
            assert names == set(importlib.import_module(module).__all__), module
            assert ast.get_docstring(ast.parse(path.read_text())), module
