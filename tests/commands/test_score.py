"""`moa score`: whose reward model scores, and what is shown."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from lightning_moa.cli import main
from tests.inference.test_found import put


@pytest.fixture
def answers(tmp_path):
    file = tmp_path / "answers.csv"
    pd.DataFrame({"prompt": ["a", "b"], "response": ["c", "d e"]}).to_csv(file, index=False)
    return str(file)


def test_several_studies_are_refused(answers, tmp_path, capsys):
    results = tmp_path / "results"
    put(results / "x", m=(0, 1))
    put(results / "y", m=(0,))
    assert main(["score", answers, "--results", str(results)]) == 2
    said = f"error: {results}: several studies, {results / 'x'}, {results / 'y'}; name one\n"
    assert capsys.readouterr().err == said
    # Of the seed that one of them alone has there is one study, whose runs are not here.
    assert main(["score", answers, "--results", str(results), "--seed", "1"]) == 2
    assert "the runs of m, seed 1, are not in" in capsys.readouterr().err
    assert main(["score", answers, "--results", str(results), "--seed", "7"]) == 2
    assert "no seed 7; there are 0, 1" in capsys.readouterr().err


def test_whole_numbers_are_shown_as_such(answers, capsys):
    assert main(["score", answers, "--rewards", "concise=tests.inference.test_scoring:brevity"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "±" in line and "mean" not in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["2", "-1.5 ± 0.5"]


def test_columns_of_the_file_that_are_no_rewards_and_names_in_brackets_are_left_as_they_are(tmp_path, capsys):
    file = tmp_path / "answers.csv"
    rows = {
        "prompt": ["a", "b"],
        "response": ["c", "d"],
        "policy": ["[/x]", "a [bold] one"],
        "gold_note": ["good", ""],
    }
    pd.DataFrame(rows).to_csv(file, index=False)
    assert main(["score", str(file), "--rewards", "concise=tests.inference.test_scoring:brevity"]) == 0
    said = capsys.readouterr().out
    assert "[/x]" in said
    assert "a [bold] one" in said
    assert "gold_note" not in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(answers, capsys):
    words = ["--rewards", "concise=tests.inference.test_scoring:brevity", "--device", "cuda"]
    assert main(["score", answers, *words]) == 2
    assert capsys.readouterr().err == "error: device=cuda: there is no GPU here\n"
