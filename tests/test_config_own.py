"""Data sets of one's own on the command line: chosen, set, shown by --help, and refused in one line."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lightning_moa.config import StudyConfig, parse
from lightning_moa.data import DataConfig
from lightning_moa.errors import UserError
from lightning_moa.help import describe
from tests.data.my_data import MyConfig, MyData

NAME = "tests.data.my_data:MyData"


@dataclass
class Odd(DataConfig):
    """A field that no key can set, and that has no line of help."""

    years: object = field(default_factory=lambda: {1, 2})


class OddData(MyData):
    Config = Odd


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "smoke.yaml").write_text("data: {name: synthetic, pairs: 30}\nseeds: [3]\n")
    (tmp_path / "smoke.text.yaml").write_text("data: {max_length: 96, max_response_length: 48}\n")
    (tmp_path / "gpu.yaml").write_text(f"data: {{name: '{NAME}', questions: 50}}\n")
    return tmp_path


def of(folder, *words, scale="smoke"):
    return parse(StudyConfig, [f"scale={scale}", *words], folder)


def test_ones_own_data_set_is_chosen_and_set(folder):
    config = of(folder, f"data={NAME}", "data.questions=7", "data.labels.slow=-careful")
    assert type(config.data) is MyConfig
    assert (config.data.name, config.data.questions) == (NAME, 7)
    assert list(config.data.labels) == ["careful", "brief", "slow"]
    assert config.data.max_length == 96, "what is said of text holds for it"
    assert config.seeds == [3]


def test_a_file_may_name_it(folder):
    config = of(folder, scale="gpu")
    assert (config.data.name, config.data.questions) == (NAME, 50)
    assert of(folder, "data=synthetic", scale="gpu").data.name == "synthetic"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([f"data={NAME}", "data.question=7"], "no key 'data.question' (did you mean questions?)"),
        ([f"data={NAME}", "data.questions=0"], "data.questions=0: must be at least 1"),
        ([f"data={NAME}", "data.questions=x"], "'data.questions' takes a whole number"),
        (
            ["data=tests.data.my_data:Mine"],
            "data=tests.data.my_data:Mine: the module tests.data.my_data has no Mine",
        ),
        (["data=nothing"], "data=nothing: allowed are answers, beavertails"),
        (["data=nothing"], "and one of your own as module:Class"),
        ([f"data.name={NAME}"], "chosen by data=NAME or data=module:Class"),
        ([f"data={__name__}:OddData"], f"data={__name__}:OddData: its Odd has a field that no key can be"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(folder, words, said):
    with pytest.raises(UserError) as caught:
        of(folder, *words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_shows_its_options_where_it_is_named():
    text = describe(StudyConfig, ["--help", f"data={NAME}", "seeds=[1]"])
    section = text.partition(f"with data={NAME}:\n")[2]
    assert "data.questions" in section
    assert "how many there are  [40]" in section
    assert "with data=module:Class" in describe(StudyConfig)
    assert "data.years" in describe(StudyConfig, [f"data={__name__}:OddData"])
    with pytest.raises(UserError, match="data=no_data:X: no such module"):
        describe(StudyConfig, ["data=no_data:X"])
