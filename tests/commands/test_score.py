"""`moa score`: whose reward model scores, and what is shown."""

from __future__ import annotations

import pandas as pd
import pytest

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
