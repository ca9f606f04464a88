"""Rewards of responses in a file."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.cli import main
from lightning_moa.errors import UserError
from lightning_moa.inference.found import chosen
from lightning_moa.inference.scoring import score_file, summary
from lightning_moa.reporting.files import spreadsheet_text


def brevity(prompts, responses):
    return [-float(len(response.split())) for response in responses]


@pytest.fixture
def measured(study, tmp_path):
    """The study's own responses without their scores, and with them."""
    found = chosen(study, "panacea_ls")
    frame = pd.read_csv(found.runs / found.measurement / "responses.csv", keep_default_na=False)
    bare = frame[["prompt", "response", "policy", "lambda_helpful", "lambda_harmless"]]
    bare.to_json(tmp_path / "answers.jsonl", orient="records", lines=True)
    return tmp_path / "answers.jsonl", frame, found


def test_a_study_scores_as_it_measured(measured):
    path, frame, study = measured
    scored = score_file(path, {}, study)
    for column in ("reward_helpful", "reward_harmless", "gold_helpful", "gold_harmless"):
        np.testing.assert_allclose(scored[column].to_numpy(float), frame[column].to_numpy(float), atol=1e-5)
    told = summary(scored)
    assert told["n"].tolist() == [8, 8, 8]
    first = scored[:8]["gold_helpful"].to_numpy(float)
    assert told["gold_helpful"][0] == pytest.approx(first.mean())
    assert told["gold_helpful_se"][0] == pytest.approx(first.std(ddof=1) / 8**0.5)


def test_sources_by_name(measured):
    path, frame, study = measured
    name = f"{__name__}:brevity"
    scored = score_file(path, {"concise": name})
    assert scored["reward_concise"].tolist() == [-float(len(each.split())) for each in frame["response"]]
    both = score_file(path, {"concise": name, "helpful": "gold"}, study)
    np.testing.assert_allclose(both["reward_helpful"].to_numpy(float), frame["gold_helpful"].to_numpy(float))


@pytest.mark.parametrize("name", [f"{__name__}:brevity", "lightning_moa.reporting.files:write_atomically"])
def test_a_function_that_a_study_measured_with_is_called_only_by_the_users_word(measured, name):
    path, frame, study = measured
    record = study.measured()
    record["spec"]["rewards"] = {
        each: {**dict.fromkeys(kept), "kind": "function", "name": name}
        for each, kept in record["spec"]["rewards"].items()
    }
    other = SimpleNamespace(measured=lambda: record, runs=study.runs)
    with pytest.raises(UserError, match=f"{name}: from outside; .* --own {name}"):
        score_file(path, {}, other)
    if name.endswith("brevity"):
        scored = score_file(path, {}, other, own=[brevity])
        assert scored["reward_helpful"].tolist() == [-float(len(each.split())) for each in frame["response"]]


@pytest.mark.parametrize(
    ("rewards", "said"),
    [
        ({}, "--rewards: none"),
        ({"a": "gold"}, "a=gold: only the world of a study"),
        ({"a": "trained"}, "a=trained: only a study by --results"),
        ({"a": "no_such"}, "--rewards.a=no_such"),
    ],
)
def test_sources_that_are_none(measured, rewards, said):
    with pytest.raises(UserError, match=said):
        score_file(measured[0], rewards)


def test_a_batch_of_none_and_an_objective_twice_are_refused(measured, capsys):
    for size in (0, -1):
        with pytest.raises(UserError, match=f"batch_size={size}: must be at least 1"):
            score_file(measured[0], {"concise": f"{__name__}:brevity"}, batch_size=size)
    assert main(["score", str(measured[0]), "--rewards", "a=one:x", "a=two:x"]) == 2
    assert "an objective is there twice" in capsys.readouterr().err


def test_files_that_cannot_be_scored(tmp_path):
    name = {"concise": f"{__name__}:brevity"}
    file = tmp_path / "x.jsonl"
    for row, said in (
        ({"prompt": "a", "answer": "b"}, "no column 'response'"),
        ({"prompt": "a", "response": None}, "column 'response', row 1 has no text"),
        ({"prompt": "a", "response": "b", "reward_concise": 1}, "has a column reward_concise already"),
    ):
        file.write_text(json.dumps(row))
        with pytest.raises(UserError, match=said):
            score_file(file, name)


def test_a_text_that_was_made_safe_for_spreadsheets_is_scored_as_it_was(tmp_path):
    rows = pd.DataFrame({"prompt": ["a", "b"], "response": ["- one two", "=x"]})
    spreadsheet_text(rows).to_csv(tmp_path / "a.csv", index=False)
    scored = score_file(tmp_path / "a.csv", {"concise": f"{__name__}:brevity"})
    assert scored["response"].tolist() == ["- one two", "=x"]
    assert scored["reward_concise"].tolist() == [-3.0, -1.0]
