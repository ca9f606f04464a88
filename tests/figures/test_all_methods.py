"""The methods on one front: who stands there, for how many objectives, and on what terms."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lightning_moa.errors import UserError
from lightning_moa.figures.all_methods import METHODS, conduct_front, methods_of, responses_of, studies
from lightning_moa.methods.sections import TABLES
from lightning_moa.study.chosen import chosen_methods
from lightning_moa.study.planning import REFERENCE, from_one_start, plan_study

OUT = {"torchjd", "hypervolume", "rewarded_soups", "gapo", "mgda", "pgapo", "tchebycheff"}
"""Short names that no row needs: a family, one that stands for itself, and methods that draw what another does too."""


@pytest.mark.parametrize("kind", TABLES)
def test_every_answer_of_ours_stands_in_the_table(kind):
    used = {getattr(product, kind).name for product in METHODS.values()}
    assert used >= set(TABLES[kind]) - OUT


@pytest.mark.parametrize("m", [2, 3, 4])
def test_its_methods_are_there_for_any_number_of_objectives(m):
    for name, product in methods_of(m).items():
        for row in product.trained_on.preferences(m, 0.25):
            assert row is None or len(row) == m, name


def test_a_study_of_some_methods_begins_where_that_of_all_does(cross_config):
    """A made tokenizer has words for the preferences in prompts, whether or not a method of the study reads them."""
    (_, own, methods) = studies(cross_config)[1]
    assert "<r2>" in own.vocabulary
    assert "<r3>" not in own.vocabulary

    def begins(config, *names):
        (seed,) = plan_study(config, {name: methods[name] for name in names}).seeds.values()
        return seed.evaluations[REFERENCE].key

    assert begins(own, "gapo") == begins(own, "gapo", "ric") == begins(own, "prompted_dpo")
    assert begins(cross_config, "gapo") != begins(cross_config, "ric")
    # Words that are needed besides come after those, and one's own before.
    assert from_one_start(own).vocabulary == own.vocabulary
    own.vocabulary = ["mine"]
    assert from_one_start(own).vocabulary[:2] == ["mine", "<r1>"]


def test_one_kl_weight_holds_for_all(cross_config):
    (_, _, methods) = studies(cross_config)[1]
    chosen = chosen_methods(cross_config, methods)
    weights = {each.objective.kl_weight(each.settings) for each in chosen.values()}
    assert weights - {None} == {cross_config.exact_beta}


def test_without_a_world_the_best_is_not_known(cross_config):
    cross_config.data = SimpleNamespace(name="pairs")
    with pytest.raises(UserError, match="data=pairs: a world is needed"):
        conduct_front("figure_fronts", cross_config, METHODS, None)


def test_every_method_has_as_many_responses_in_an_update(cross_config):
    assert set(responses_of(cross_config, METHODS).values()) == {16}
