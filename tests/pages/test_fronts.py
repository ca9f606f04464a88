"""The points that a browser draws: their regret is that of metrics.csv."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.pages.compared import comparisons
from lightning_moa.pages.fronts import front_data, regrets
from lightning_moa.reporting.compare import compare
from lightning_moa.reporting.compare_formats import cells_of
from lightning_moa.reporting.exact_front import read_exact
from lightning_moa.reporting.loaded import load_runs
from lightning_moa.reporting.schema import SPACES
from tests.pages.conftest import REPOSITORY

TINY = [
    "panacea/figure4/tiny",
    "panacea/figure_dimensions/tiny/m3",
    "gapo/figure_scale/tiny/m2/x8",
    "ham/figure_structure/tiny",
]


@pytest.mark.parametrize("name", TINY)
def test_regret_is_that_of_the_measures(name):
    folder = REPOSITORY / "results" / name
    (run,) = load_runs([folder])
    data = front_data(run, read_exact(folder / "exact_front.csv"))
    held = 0
    for number, method in enumerate(data["methods"]):
        for seed, expected in run.regret(method["name"]).items():
            mine = [row[6] for row in data["spaces"]["gold"] if row[0] == number and row[1] == seed]
            known = [value for value in mine if value is not None]
            if len(known) == len(mine):
                assert np.mean(known) == pytest.approx(expected, abs=1e-4)
                held += 1
    assert held or not run.regret("panacea")
    assert len(data["exact"]) == len(pd.read_csv(folder / "exact_front.csv"))


def test_rows_are_those_of_the_last_step():
    (run,) = load_runs([REPOSITORY / "results" / "panacea" / "figure4" / "tiny"])
    data = front_data(run)
    assert {row[7] for row in data["spaces"]["gold"] if data["methods"][row[0]]["name"] == "panacea"} == {150}
    assert data["exact"] == []
    assert {row[6] for row in data["spaces"]["gold"]} == {None}
    assert data["methods"][0] == {
        "name": "panacea",
        "label": "Panacea",
        "colour": "#0072B2",
        "symbol": "circle",
    }


def test_no_regret_without_a_best_policy():
    points = pd.DataFrame({"lambda_a": [0.5], "gold_a": [1.0], "kl": [1.0]})
    assert np.isnan(regrets(points, None)).all()
    known = pd.DataFrame({"lambda_a": [0.5], "gold_a": [2.0], "kl": [0.0], "value": [1.0]})
    # Without any divergence nothing tells beta.
    assert np.isnan(regrets(points, known)).all()
    assert regrets(points, known.assign(kl=1.0, value=0.5)).tolist() == [0.5 - (0.5 * 1.0 - 0.5 * 1.0)]


def test_pairs_are_what_moa_compare_says(monkeypatch):
    folders = ["panacea/figure4/tiny", "gapo/figure_pareto/tiny", "panacea/figure_dimensions/tiny/m3"]
    runs = {name: load_runs([REPOSITORY / "results" / name])[0] for name in folders}
    pairs, left_out = comparisons(runs)
    assert left_out == 0
    assert {one: list(others) for one, others in pairs.items()} == {
        folders[0]: [folders[1]],
        folders[1]: [],
        folders[2]: [],
    }
    said = pairs[folders[0]][folders[1]]
    expected = compare(load_runs([REPOSITORY / "results" / name for name in folders[:2]]))
    assert [row[2:] for row in said["rows"]] == [row[2:] for row in cells_of(expected)]
    assert any(line.startswith("commits differ") for line in said["warnings"])
    monkeypatch.setattr("lightning_moa.pages.compared.MOST", 0)
    assert comparisons(runs) == ({name: {} for name in folders}, 1)


def test_objectives_in_another_order_are_the_same():
    folder = REPOSITORY / "results" / "panacea" / "figure4" / "tiny"
    runs = dict(enumerate(load_runs([folder]) * 2))
    frame = runs[1].points
    turned = frame[["lambda_harmless", "lambda_helpful", *[c for c in frame if not c.startswith("lambda_")]]]
    runs[1] = replace(runs[1], points=turned, name="turned")
    pairs, _ = comparisons({str(key): run for key, run in runs.items()})
    rows = [row[2:-1] for row in pairs["0"]["1"]["rows"][1:]]
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]


def test_a_browser_has_words_for_every_space():
    script = (REPOSITORY / "lightning_moa" / "pages" / "static" / "front.js").read_text()
    (words,) = re.findall(r"const WORDS = \{(.*)\};", script)
    assert set(re.findall(r"(\w+): \"", words)) == set(SPACES)
