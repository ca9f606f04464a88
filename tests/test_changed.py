"""Which tests `make test-fast` runs, in which order, and when it ends."""

from __future__ import annotations

import subprocess

import pytest

from tests import changed
from tests.conftest import pytest_runtest_setup

FILES = {
    "lightning_moa/__init__.py": "",
    "lightning_moa/lazy.py": "",
    "lightning_moa/room/base.py": "class Base: ...\n",
    "lightning_moa/room/user.py": "def use():\n    from lightning_moa.room import Base\n    return Base\n",
    "lightning_moa/other.py": "",
    "benchmarks/slow.py": "",
    "tests/room/test_base.py": "",
    "tests/room/test_base_more.py": "",
    "tests/room/test_user.py": "from lightning_moa.room.user import use\n",
    "tests/room/test_direct.py": "from .help import far\nfrom lightning_moa.room.base import Base\n",
    "tests/room/help.py": "import lightning_moa.other\nfar = 1\n",
    "tests/runs/test_long.py": "from lightning_moa.room import Base\n",
    "tests/test_pages.py": "PAGE = 'docs/page.md'\n",
    "tests/test_shipped.py": "FILES = glob('*.yaml')\nSCRIPT = 'figure4'\n",
}
FILES["lightning_moa/room/__init__.py"] = (
    "from lightning_moa.lazy import attach\n\n"
    "__getattr__, __dir__, __all__ = attach(__name__, {'Base': 'base'})\n"
)


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "reached"),
    [
        (
            "lightning_moa/room/base.py",
            {"test_base": 0, "test_base_more": 0, "test_direct": 1, "test_long": 1, "test_user": 2},
        ),
        ("lightning_moa/other.py", {"test_direct": 2}),
        ("tests/room/test_user.py", {"test_user": 0}),
        ("docs/page.md", {"test_pages": 0}),
        ("experiments/x/config/y/tiny.yaml", {"test_shipped": 0}),
        ("experiments/x/figure4.py", {"test_shipped": 0}),
        ("benchmarks/slow.py", {}),
    ],
)
def test_the_nearest_first(root, file, reached):
    found = changed.distances([file], root)
    assert {path.rpartition("/")[2].removesuffix(".py"): far for path, far in found.items()} == reached


def test_what_starts_processes_is_left_unless_it_is_of_the_change_itself(root, monkeypatch):
    files, left = changed.chosen(["lightning_moa/room/base.py"], root)
    assert [file.rpartition("/")[2] for file in files] == [
        *("test_base.py", "test_base_more.py", "test_direct.py", "test_user.py"),
    ]
    assert left == 1
    files, left = changed.chosen(["tests/runs/test_long.py", "docs/page.md"], root)
    assert (files, left) == (["tests/test_pages.py", "tests/runs/test_long.py"], 0)
    monkeypatch.setattr(changed, "MOST", 1)
    assert changed.chosen(["lightning_moa/room/base.py"], root) == (["tests/room/test_base.py"], 4)


def test_changes_are_those_of_the_branch_and_on_main_of_the_last_commit(tmp_path):
    def git(*words):
        own = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *own, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit(name):
        (tmp_path / name).write_text(name)
        git("add", ".")
        git("commit", "-m", name)

    git("init")
    commit("first")
    commit("second")
    assert changed.changes(tmp_path) == ["second"]
    (tmp_path / "new").write_text("")
    (tmp_path / "first").write_text("other")
    assert changed.changes(tmp_path) == ["first", "new"]
    git("checkout", "-b", "branch")
    commit("third")
    commit("fourth")
    assert changed.changes(tmp_path) == ["first", "fourth", "new", "third"]
    assert changed.changes(tmp_path, "HEAD~1") == ["fourth"]


def test_nothing_is_begun_when_the_time_is_over(monkeypatch, request):
    monkeypatch.setenv("TESTS_END", "1")
    with pytest.raises(pytest.skip.Exception, match="no time left"):
        pytest_runtest_setup(request.node)
    monkeypatch.setenv("TESTS_END", "inf")
    pytest_runtest_setup(request.node)
