"""Answers from outside: the examples' six, run as a user would, killed once; and a wrong twin of each, refused."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import lightning_moa as moa
from lightning_moa.cli import main as cli
from lightning_moa.errors import UserError
from tests.conftest import REPOSITORY

SOURCE = REPOSITORY / "examples" / "own"
FILES = (
    "my_objective",
    "my_policy",
    "my_deployment",
    "my_reward",
    "my_data",
    "my_aggregation",
    "my_callback",
    "my_training",
)
CSVS = ("points.csv", "accuracies.csv", "metrics.csv", "claims.csv")


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """The examples' files in a folder that has nothing to do with the repository."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(SOURCE, folder / "study")
    return folder


def begin(own: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "own.py", f"runs_dir={own / 'runs'}", *words]
    return subprocess.Popen(
        command,
        cwd=own / "study",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def results(own) -> Path:
    """What the study leaves that was killed in the middle and started again."""
    killed = begin(own, f"results_dir={own / 'results'}", "workers=1")
    deadline = time.monotonic() + 240
    while not list((own / "runs").glob("align-*/task.json")):
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    again = begin(own, f"results_dir={own / 'results'}", "workers=1")
    said = again.communicate(timeout=240)[0]
    assert again.returncode == 0, said
    assert "already there" in said.splitlines()[0]
    (folder,) = (own / "results" / "own" / "own").iterdir()
    return folder


def test_files_are_short_and_use_public_names_only():
    for path in SOURCE.glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) < (40 if path.stem == "own" else 60), path
        assert not re.search(r"\._[a-z]", text), path
        assert " import _" not in text, path
    assert {path.stem for path in SOURCE.glob("*.py")} == {*FILES, "own"}


def test_their_settings_are_sections_of_the_configuration_and_in_the_help(own, monkeypatch, capsys):
    monkeypatch.chdir(own / "study")
    monkeypatch.syspath_prepend(str(own / "study"))
    monkeypatch.setattr(sys, "argv", ["own.py", "--help"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path("own.py", run_name="__main__")
    assert done.value.code == 0
    shown = capsys.readouterr().out
    for key in ("ipo.tau", "ipo.lr", "film.strength", "adapter.rank", "ppo.rewards"):
        assert f"\n{key} " in shown


def test_a_study_of_answers_from_outside_ends_in_tables_a_picture_and_a_verdict(results):
    points = pd.read_csv(results / "points.csv")
    assert set(points["method"]) == {"film", "mixed", "panacea", "sft"}
    assert set(points["seed"]) == {0, 1}
    assert len(points[points["method"] == "mixed"]) == 2 * 3
    assert (results / "own.png").stat().st_size > 10_000
    (verdict,) = pd.read_csv(results / "claims.csv")["verdict"]
    assert verdict in ("holds", "fails", "within noise")
    assert "concise: my_reward:brevity" in (results / "run.yaml").read_text()


def test_a_reward_from_outside_scores_what_it_says(results):
    """All policies have one space of rewards; brevity's is minus the words of a response."""
    brevity = pd.read_csv(results / "points.csv")["reward_concise"]
    assert (brevity <= 0).all()
    assert brevity.nunique() > 1


def test_killed_and_gone_on_with_it_leaves_the_bytes_of_an_undisturbed_study(own, results):
    whole = begin(own, f"results_dir={own / 'whole'}", f"runs_dir={own / 'other'}", "workers=2")
    said = whole.communicate(timeout=240)[0]
    assert whole.returncode == 0, said
    for name in CSVS:
        expected = own / "whole" / "own" / "own" / results.name / name
        assert (results / name).read_bytes() == expected.read_bytes(), name


def test_the_results_are_compared_with_any_others(results, capsys):
    assert cli(["compare", str(results)]) == 0
    shown = capsys.readouterr().out
    assert "film" in shown
    assert "mixed" in shown


def test_some_of_the_methods_are_run_by_their_names(own, results):
    start = begin(own, f"results_dir={own / 'some'}", "methods=[film]", "workers=1")
    said = start.communicate(timeout=240)[0]
    assert start.returncode == 0, said
    assert "] film, seed 0 (" not in said, "it is trained already"
    (folder,) = (own / "some" / "study" / "own").iterdir()
    assert folder.name == f"{results.name}-film", "of the data and of the methods"
    assert set(pd.read_csv(folder / "points.csv")["method"]) == {"film", "sft"}


FILM = """
import torch
from my_policy import FiLM


class Deaf(FiLM):
    '''Says that it is steered, and isn't.'''

    def shift(self, film, block, given, hidden):
        return hidden * (1 + film.weight.sum())


class Spare(FiLM):
    '''Trains a tensor that takes no part.'''

    def __init__(self, model, m, strength=1.0):
        super().__init__(model, m, strength)
        self.spare = torch.nn.Parameter(torch.ones(2))


class Forgetful(FiLM):
    '''Leaves out of its state what it has learned.'''

    def trained_state(self):
        return {name: value for name, value in super().trained_state().items() if '1' not in name and '0' not in name}


class Sticky(FiLM):
    '''Leaves the model changed.'''

    def unload(self):
        self.model.get_output_embeddings().weight.data.mul_(2)
        return super().unload()
"""
OTHERS = """
from dataclasses import dataclass
import torch
import lightning_moa as moa
from my_data import MyData
from my_objective import IPO


class Rows(IPO):
    '''A loss of each row.'''

    def losses(self, policy, batch, preference):
        return super().losses(policy, batch, preference).expand(len(batch.labels), -1)


class Cut(IPO):
    '''Losses without a gradient.'''

    def losses(self, policy, batch, preference):
        return super().losses(policy, batch, preference).detach()


class Bare(IPO):
    '''No optimiser's settings.'''

    sections = {}


class Vector:
    '''As many scalars as objectives.'''

    def __call__(self, losses, preference, parameters=()):
        return preference * losses


@dataclass(frozen=True)
class Twice(moa.Deployment):
    '''Two policies of one name.'''

    def policies(self, trained):
        for _ in range(2):
            policy = trained.load()
            yield moa.Deployed('one', policy, trained.grid)
            policy.unload()


@dataclass(frozen=True)
class Off(moa.Deployment):
    '''Preferences off the simplex.'''

    def policies(self, trained):
        yield moa.Deployed('off', trained.load(), torch.ones(1, 2))


class Torn(MyData):
    def rows(self):
        yield 'a prompt', 'one response', {'thorough': 1}


def short(prompts, responses):
    return [1.0]


def silent(prompts, responses):
    return [None for _ in responses]
"""
FILM_BY_IPO = ("panacea", "my_policy:FiLM", "my_objective:IPO", "linear")
TWINS = {
    "policy that does not listen": (
        {"policy": "wrong_policy:Deaf"},
        "Deaf says that 2 preference values steer it, but its logits are the same at",
    ),
    "policy with a tensor that takes no part": (
        {"policy": "wrong_policy:Spare"},
        "Spare: no gradient reaches spare",
    ),
    "policy that forgets": ({"policy": "wrong_policy:Forgetful"}, "Forgetful"),
    "policy that stays": ({"policy": "wrong_policy:Sticky"}, r"Sticky\.unload: the model's own logits"),
    "objective of rows": (
        {"objective": "wrong:Rows"},
        r"Rows\.losses: shape \(2,\) is expected for 2 objectives, \(16, 2\) came",
    ),
    "objective without gradient": (
        {"objective": "wrong:Cut"},
        r"Cut\.losses: they hang on no trained tensor",
    ),
    "objective without settings": (
        {"objective": "wrong:Bare"},
        "objective wrong:Bare needs `sections`, the first of them an OptimiserConfig",
    ),
    "aggregation of a vector": (
        {"aggregation": "wrong:Vector"},
        r"Vector: one scalar is expected of an aggregation, \(2,\) came",
    ),
    "deployment of two alike": ({"deployment": "wrong:Twice"}, "Twice: two policies .*'one'"),
    "deployment off the simplex": ({"deployment": "wrong:Off"}, r"Off\.policies: off: preference"),
    "no such class": ({"policy": "my_policy:Film"}, "policy=my_policy:Film: "),
    "no such module": ({"objective": "nowhere:IPO"}, "objective=nowhere:IPO: no such module"),
    "an objective for a policy": ({"policy": "my_objective:IPO"}, "policy=my_objective:IPO: not an answer"),
}


@pytest.fixture
def elsewhere(own, monkeypatch) -> Path:
    monkeypatch.syspath_prepend(str(own / "study"))
    (own / "study" / "wrong_policy.py").write_text(FILM)
    (own / "study" / "wrong.py").write_text(OTHERS)
    monkeypatch.chdir(own / "study")
    return own


def run(own: Path, product: moa.Product, *words: str) -> None:
    """The study of one method, in this process."""
    others = importlib.import_module("own").METHODS
    study = moa.Study(str(own / "study" / "own.py"), "own", {**others, "mine": product}, scale="smoke")
    config, _ = study.read(["seeds=[0]", f"runs_dir={own / 'runs'}", *words])
    with Path(os.devnull).open("w") as nowhere:
        moa.conduct(config, {"mine": product}, Console(file=nowhere))


@pytest.mark.parametrize(("changes", "message"), TWINS.values(), ids=list(TWINS))
def test_a_wrong_twin_is_refused_in_one_line(elsewhere, results, changes, message):
    names = dict(zip(("method", "policy", "objective", "aggregation"), FILM_BY_IPO, strict=True))
    answers = {"deployment": moa.Steered(), **names, **changes}
    product = moa.Product(trained_on=moa.TrainedOn.sampled(), **answers)
    with pytest.raises(UserError, match=message) as refused:
        run(elsewhere, product)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data=wrong:Torn", r"Torn\.rows\(\), row 1 has 3 values"),
        ("data=wrong:short", "data=wrong:short: a class is needed"),
        ("ppo.rewards.concise=wrong:short", "wrong:short returned 1 numbers? for"),
        ("ppo.rewards.concise=wrong:silent", "wrong:silent gave nothing"),
        ("ppo.rewards.concise=wrong:nothing", "ppo.rewards.concise=wrong:nothing"),
        (
            "ppo.rewards.brief=my_reward:brevity",
            "ppo.rewards.brief=my_reward:brevity: the study's objectives are helpful, concise",
        ),
    ],
)
def test_a_wrong_data_set_or_reward_is_refused_in_one_line(elsewhere, results, word, message):
    product = moa.Product("panacea", "svd_lora", "ppo", "linear", moa.TrainedOn.sampled(), moa.Steered())
    with pytest.raises(UserError, match=message) as refused:
        run(elsewhere, product, word)
    assert "\n" not in str(refused.value)
