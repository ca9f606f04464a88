"""The methods on one front: who stands there, for how many objectives, and on what terms."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lightning_moa.errors import UserError
from lightning_moa.figures.all_methods import METHODS, conduct_front, methods_of, responses_of, studies
from lightning_moa.figures.tuning import TunedConfig
from lightning_moa.methods.sections import TABLES
from lightning_moa.study.chosen import chosen_methods
from lightning_moa.study.study import Study

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "cross" / "table_methods.py"
OUT = {"torchjd", "hypervolume", "rewarded_soups", "gapo", "mgda", "pgapo", "tchebycheff"}
"""Short names that no row needs: a family, one that stands for itself, and methods that draw what another does too."""


@pytest.fixture
def config():
    study = Study(str(SCRIPT), "world", METHODS, TunedConfig, parts=studies, any_methods=True)
    read, methods = study.read(["scale=smoke"])
    assert methods is METHODS
    return read


@pytest.mark.parametrize("kind", TABLES)
def test_every_answer_of_ours_stands_in_the_table(kind):
    used = {getattr(product, kind).name for product in METHODS.values()}
    assert used >= set(TABLES[kind]) - OUT


@pytest.mark.parametrize("m", [2, 3, 4])
def test_its_methods_are_there_for_any_number_of_objectives(m):
    for name, product in methods_of(m).items():
        for row in product.trained_on.preferences(m, 0.25):
            assert row is None or len(row) == m, name


def test_one_kl_weight_holds_for_all(config):
    (_, _, methods) = studies(config)[1]
    chosen = chosen_methods(config, methods)
    weights = {each.objective.kl_weight(each.settings) for each in chosen.values()}
    assert weights - {None} == {config.exact_beta}


def test_without_a_world_the_best_is_not_known(config):
    config.data = SimpleNamespace(name="pairs")
    with pytest.raises(UserError, match="data=pairs: a world is needed"):
        conduct_front("figure_fronts", config, METHODS, None)


def test_every_method_has_as_many_responses_in_an_update(config):
    assert set(responses_of(config, METHODS).values()) == {16}
