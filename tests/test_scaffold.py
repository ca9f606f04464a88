"""`moa new method NAME`: its three files run at once; what can't be written is refused."""

from __future__ import annotations

import importlib
import runpy
import subprocess
import sys

import pandas as pd
import pytest

from lightning_moa.cli import main
from tests.conftest import REPOSITORY
from tests.test_readme import COMPARED


def test_a_new_methods_files_run_as_they_are(tmp_path, monkeypatch, capsys):
    assert main(["new", "method", "my_draw", "--folder", str(tmp_path / "mine")]) == 0
    written = capsys.readouterr().out.split()
    assert [path.rpartition("/")[2] for path in written] == [
        "my_draw.py",
        "test_my_draw.py",
        "compare_my_draw.py",
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    importlib.import_module("test_my_draw").test_my_draw_trains_and_is_validated()
    words = ["dpo.steps=2", "dpo.batch_size=8", *COMPARED]
    monkeypatch.setattr(sys, "argv", [written[2], *words])
    runpy.run_path(written[2], run_name="__main__")
    left = tmp_path / "results" / "own" / "my_draw" / "own"
    assert set(pd.read_csv(left / "metrics.csv")["method"]) >= {"panacea", "my_draw"}
    (verdict,) = pd.read_csv(left / "claims.csv")["verdict"]
    assert verdict in ("holds", "fails", "within noise")
    assert (left / "fronts.png").stat().st_size > 10_000


def test_its_files_are_in_the_houses_form(tmp_path):
    assert main(["new", "method", "a_longer_name", "--folder", str(tmp_path)]) == 0
    ruff = [sys.executable, "-m", "ruff"]
    for words in (["check"], ["format", "--check"]):
        config = ["--config", str(REPOSITORY / "pyproject.toml")]
        done = subprocess.run([*ruff, *words, *config, str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["class", "json", "test", "torch"])
def test_a_name_that_python_or_a_package_has_is_refused(tmp_path, name, capsys):
    """It would be imported in the other's place by every script in the folder."""
    assert main(["new", "method", name, "--folder", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"error: moa new method {name}: Python, or a package that is installed, has that name; another is needed\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_name_whose_class_would_be_a_word_of_python_is_refused(tmp_path, capsys):
    assert main(["new", "method", "none", "--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: moa new method none: None is a word of Python; another name is needed\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_the_method_that_it_is_compared_with_is_refused(tmp_path, capsys):
    """The script's methods would have one name twice, and the last of them win."""
    assert main(["new", "method", "panacea", "--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: moa new method panacea: the method that it is compared with has that name; another is needed\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["l", "tensor"])
def test_a_class_may_have_any_name_that_a_module_gives_it(tmp_path, name):
    """None hides what the files import: their checks would find it twice."""
    assert main(["new", "method", name, "--folder", str(tmp_path)]) == 0
    words = ["--select", "F811,F821", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_a_folder_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    assert main(["new", "method", "mine", "--folder", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'file'} is no folder; another --folder is needed\n"


@pytest.mark.parametrize("name", ["My", "1st", "a-b", ""])
def test_a_name_that_no_module_can_have_is_refused(tmp_path, name, capsys):
    assert main(["new", "method", name, "--folder", str(tmp_path)]) == 2
    assert "small letters" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_kept(tmp_path, capsys):
    (tmp_path / "test_mine.py").write_text("kept")
    assert main(["new", "method", "mine", "--folder", str(tmp_path)]) == 2
    assert "there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]


def test_what_no_disk_takes_is_said_in_a_line(tmp_path, capsys):
    assert main(["new", "method", "a" * 260, "--folder", str(tmp_path / "new")]) == 2
    assert "File name too long" in capsys.readouterr().err
