"""Rates that another study took: read, checked, used."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml

from lightning_moa.config import MethodConfig
from lightning_moa.errors import UserError
from lightning_moa.figures import tuning
from lightning_moa.figures.all_methods import METHODS, studies
from lightning_moa.figures.rates import RATES

ROWS = [
    {"method": "gapo", "lr": 0.005, "expected_utility": 1.0, "mean_regret": None, "taken": False},
    {"method": "gapo", "lr": 0.015, "expected_utility": 1.1, "mean_regret": None, "taken": True},
    {"method": "epo", "lr": 0.03, "expected_utility": 0.9, "mean_regret": 0.5, "taken": True},
]


@pytest.fixture
def table(tmp_path):
    """Writes a rates.csv as a study does."""

    def write(rows=ROWS):
        frame = pd.DataFrame(rows).assign(paper="cross", artefact="table_methods", scale="smoke")
        frame.to_csv(tmp_path / "rates.csv", index=False)
        return str(tmp_path / "rates.csv")

    return write


def test_what_another_study_took_is_used_and_nothing_is_tuned(cross_config, table, monkeypatch):
    monkeypatch.setattr(tuning, "conduct_what_converges", None)
    cross_config.rates = table()
    methods = {name: METHODS[name] for name in ("gapo", "epo")}
    chosen, rates = tuning.tuned(cross_config, methods, None)
    assert {name: each.lr for name, each in chosen.methods.items()} == {"gapo": 0.015, "epo": 0.03}
    assert rates["taken"].tolist() == [False, True, True]
    assert rates.columns.tolist() == ["method", "lr", "expected_utility", "mean_regret", "taken"]
    assert tuning.tuned(cross_config, {"epo": METHODS["epo"]}, None)[1]["method"].tolist() == ["epo"]
    # A plan knows them, too.
    ((label, own, _),) = studies(cross_config)
    assert (label, own.methods["gapo"].lr) == ("", 0.015)
    assert cross_config.methods == {}


def test_a_method_without_a_rate_or_with_two_is_refused(cross_config, table):
    cross_config.rates = table()
    with pytest.raises(UserError, match=r"rates=.*rates\.csv: no rate of mgda, upgrad was tried there"):
        tuning.tuned(cross_config, {name: METHODS[name] for name in ("gapo", "mgda", "upgrad")}, None)
    cross_config.methods = {"gapo": MethodConfig(lr=0.1)}
    with pytest.raises(UserError, match=r"methods\.gapo\.lr=0\.1: rates=.* says its rate; give one of"):
        tuning.tuned(cross_config, {"gapo": METHODS["gapo"]}, None)


def test_rates_that_were_chosen_on_reported_seeds_are_refused(cross_config, table, tmp_path):
    cross_config.rates = table()
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"config": {"tuning_seeds": [100, 1, 2]}}))
    assert cross_config.seeds == [0]
    tuning.tuned(cross_config, {"gapo": METHODS["gapo"]}, None)
    cross_config.seeds = [0, 1, 2]
    for use in (studies, lambda config: tuning.tuned(config, {"gapo": METHODS["gapo"]}, None)):
        with pytest.raises(UserError, match="its rates were chosen on seeds 1, 2, which would be reported"):
            use(cross_config)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROWS[0]], "of gapo 0 of 1 rates are taken"),
        ([{**ROWS[0], "taken": True}, ROWS[1]], "of gapo 2 of 2 rates are taken"),
        ([{**ROWS[1], "taken": "yes"}], "taken is 'yes'; allowed are True and False"),
        ([{**ROWS[1], "lr": -1.0}], "lr is -1; allowed are numbers above 0"),
        ([{**ROWS[1], "lr": "fast"}], "column 'lr', row 1 is 'fast'"),
        ([{"method": "gapo", "taken": True}], "missing column lr"),
    ],
)
def test_a_file_of_another_form_is_refused_by_name(table, rows, message):
    file = table(rows)
    with pytest.raises(UserError, match=rf"^{file}: .*{message}"):
        RATES.read(file)


def test_a_file_that_is_not_there(cross_config, tmp_path):
    cross_config.rates = str(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"none\.csv: can't be read, No such file"):
        studies(cross_config)
