"""`moa generate`: what is asked, and with which noise."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pandas as pd
import torch

from lightning_moa.cli import main
from lightning_moa.commands import generate
from lightning_moa.reporting.files import spreadsheet_text
from lightning_moa.runs.measuring import EVALUATION


def test_prompts_of_an_own_csv_are_as_they_were_before_it_was_made_safe(tmp_path):
    prompts = ["-2 + 2 is what?", "=SUM(a)", "'tis so?"]
    spreadsheet_text(pd.DataFrame({"prompt": prompts})).to_csv(tmp_path / "answers.csv", index=False)
    options = argparse.Namespace(prompts=str(tmp_path / "answers.csv"), prompt=None)
    assert generate._given(options) == prompts


def test_a_policy_that_was_named_is_not_called_the_nearest():
    loaded = argparse.Namespace(objectives=("helpful", "harmless"))
    opened = argparse.Namespace(preference=torch.tensor([0.0, 1.0]), distance=0.5)
    said = [generate._heading(loaded, opened, [0.0, 1.0], asked) for asked in (None, "0 1")]
    assert said == [
        "helpful 0, harmless 1 (the nearest that was trained)",
        "helpful 0, harmless 1 (the policy that was named)",
    ]


def test_a_seed_of_the_noise_is_that_of_the_evaluation(monkeypatch, capsys, tmp_path):
    """As `evaluation.sample_seed`, whose noise is apart from that of trainings."""
    seeds = []

    class Loaded:
        def __init__(self):
            self.objectives, self.spec = ("helpful", "harmless"), {"seed": 0}
            self.source = argparse.Namespace(study=None)

        def open(self, preference, policy):
            deployed = argparse.Namespace(name="steered")
            return argparse.Namespace(deployed=deployed, preference=torch.tensor([0.5, 0.5]), distance=0.0)

        def answer(self, opened, prompts, batch_size, **decoding):
            seeds.append(decoding["seed"])
            return ["fine"] * len(prompts)

    monkeypatch.setattr(generate, "load_chosen", lambda options: Loaded())
    for words in ([], ["--sample-seed", "0"], ["--sample-seed", "7"]):
        assert main(["generate", str(tmp_path), "--prompt", "hello", *words]) == 0
    assert seeds == [None, EVALUATION, EVALUATION + 7]
    capsys.readouterr()
    assert main(["generate", str(tmp_path), "--prompt", "hello", "--sample-seed", "-1"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: sample seed -1: allowed are whole numbers of at least 0"
    ]


def test_a_line_of_a_text_file_ends_where_the_file_says(tmp_path):
    (tmp_path / "prompts.txt").write_bytes("one\u2028text\r\n\n two\x85more \nthree".encode())
    options = argparse.Namespace(prompts=str(tmp_path / "prompts.txt"), prompt=None)
    assert generate._given(options) == ["one\u2028text", " two\x85more ", "three"]


def test_a_wrong_folder_is_told_before_torch_is_imported():
    code = "import sys; from lightning_moa.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    words = ["generate", "no_such_folder", "--prompt", "a"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"], done.stderr
