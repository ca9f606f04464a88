"""Names of the form 'module:name', and what is said of those that name nothing."""

from __future__ import annotations

import os
import sys

import pytest

from lightning_moa.answers import is_foreign, load
from lightning_moa.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, from which modules can be imported and after the test no longer can."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", os.getcwd())])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("my_rewards:length", True),
        ("package.module:Class", True),
        ("gold", False),
        ("Ray2333/gpt2-large-helpful-reward_model", False),
        ("C:\\models", False),
        ("https://host/x", False),
    ],
)
def test_the_form(name, foreign):
    assert is_foreign(name) is foreign


def test_a_name_of_a_module_in_the_current_folder_is_loaded(folder):
    (folder / "some_answers.py").write_text("def length():\n    return 3\n")
    assert load("some_answers:length")() == 3


def test_a_library_comes_before_the_current_folder(folder):
    (folder / "json.py").write_text("raise ValueError\n")
    assert load("json:loads")("3") == 3


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "the module some_answers has no length"),
        ("lenght = 1", r"has no length \(did you mean lenght\?\)"),
        (
            "import no_such_thing",
            r"its module needs no_such_thing, which is not installed, some_answers.py line 1",
        ),
        (
            "\nimport json\njson.loads('{')",
            r"cannot be imported \(JSONDecodeError: .*, some_answers.py line 3\)",
        ),
        ("def f(:\n", r"imported \(SyntaxError: .*, some_answers.py line 1\)"),
        ("raise ValueError('two\\nlines')", r"ValueError: two lines, some_answers.py line 1\)"),
        ("raise SystemExit", r"SystemExit: no message, some_answers.py line 1\)"),
    ],
)
def test_a_module_without_it_is_told_in_one_line(folder, source, said):
    (folder / "some_answers.py").write_text(source)
    with pytest.raises(UserError, match=said) as caught:
        load("some_answers:length", "ppo.rewards.helpful")
    assert str(caught.value).startswith("ppo.rewards.helpful=some_answers:length: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:f", "no_such_module:f: no such module; it must lie in the current folder"),
        ("no_such.module:f", "no such module"),
        ("json.no_such:f", "no such module"),
        ("json.py:f", "no such module; a module is named without .py"),
        ("json:", "the form is module:Class"),
        (":f", "the form is module:Class"),
        ("json", "the form is module:Class"),
        ("a-b:f", "the form is"),
        (".answers:load", "the form is"),
    ],
)
def test_what_names_nothing_is_refused(folder, name, said):
    with pytest.raises(UserError, match=said):
        load(name)
