"""The table of products: names that lead to classes, settings that are somebody's, and preferences to train for."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from lightning_moa import methods as room
from lightning_moa.aggregation.names import AGGREGATIONS
from lightning_moa.answers import load, use
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.deployments import Alone, Deployment, EachHead, InPrompt, Nearest, Soup, Steered, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.methods import Alignment, products
from lightning_moa.methods.names import METHODS
from lightning_moa.methods.products import (
    DPS_DPO,
    FIVE,
    LINEAR_PPO,
    PANACEA_LS_DPO,
    PGAPO_PPO,
    REWARDED_SOUPS_DPO,
    SINGLE_OBJECTIVE_PPO,
    TEN,
    Product,
    dpo_heads,
    ham,
    ppo_on_one,
    ric,
    sca,
    sca_heads,
    scalarisations,
)
from lightning_moa.methods.sections import TABLES, answers_of
from lightning_moa.objectives import Objective
from lightning_moa.objectives.names import OBJECTIVES
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.policies import Policy
from lightning_moa.policies.names import POLICIES
from lightning_moa.study.chosen import Chosen, schema_of

ALL = {name: value for name, value in vars(products).items() if isinstance(value, Product)}
ALL |= {"PPO_ON_ONE": ppo_on_one(1), "HAM": ham(), "HAM_3": ham(3), "SCA": sca(FIVE)}
ALL |= {"SCA_HEADS": sca_heads(FIVE), "RIC": ric(FIVE), "DPO_HEADS": dpo_heads(2)}
FORMS = {"method": Alignment, "policy": Policy, "objective": Objective}
NAMES = [(kind, name) for kind, table in TABLES.items() for name in table]
NOT_IN_BUILD = {"steered"}
"""Options that a class's own `build` takes, and its constructor doesn't."""


def test_the_tables_are_the_rooms():
    expected = {"method": METHODS, "policy": POLICIES, "objective": OBJECTIVES, "aggregation": AGGREGATIONS}
    assert expected == TABLES


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_every_name_leads_to_a_class_that_names_the_same_sections(kind, name):
    known = TABLES[kind][name]
    found = load(known.path)
    assert issubclass(found, FORMS.get(kind, object))
    assert callable(getattr(found, "__call__" if kind == "aggregation" else "__init__"))
    assert dict(getattr(found, "sections", {})) == dict(known.sections)
    if kind == "objective":
        assert issubclass(next(iter(known.sections.values())), OptimiserConfig)


def test_every_method_of_ours_has_a_name():
    ours = {getattr(room, name) for name in room.__all__}
    ours = {each for each in ours if isinstance(each, type) and issubclass(each, Alignment)} - {Alignment}
    assert ours == {load(known.path) for known in METHODS.values()}


@pytest.mark.parametrize("product", ALL.values(), ids=list(ALL))
def test_a_products_answers_are_there_and_can_be_deployed(product):
    for kind, answer in answers_of(product).items():
        assert issubclass(load(answer.path), FORMS.get(kind, object))
    assert isinstance(product.deployment, Deployment)
    product.deployment.check(product.trained_on)


@pytest.mark.parametrize("product", ALL.values(), ids=list(ALL))
def test_what_a_product_says_is_a_setting_or_an_argument(product):
    """A word that neither a section nor a constructor knows would be said to nobody."""
    config = schema_of({"one": product})(data=SyntheticConfig())
    chosen = Chosen.of(config, "one", product)
    for kind, options in chosen.options.items():
        known = inspect.signature(load(chosen.answers[kind].path).__init__).parameters
        assert set(options) <= {*known, *NOT_IN_BUILD}
    said = {key for kind in TABLES for key in getattr(product, kind).options}
    as_options = {key for options in chosen.options.values() for key in options}
    values = {key: value for section in chosen.values.values() for key, value in vars(section).items()}
    for key in said - as_options:
        (given,) = [
            getattr(product, kind).options[key] for kind in TABLES if key in getattr(product, kind).options
        ]
        assert values[key] == given


@pytest.mark.parametrize("m", [2, 3])
def test_training_preferences(m):
    assert PANACEA_LS_DPO.trained_on.preferences(m, 0.5) == [None]
    assert REWARDED_SOUPS_DPO.trained_on.preferences(m, 0.5) == np.eye(m).tolist()
    grid = DPS_DPO.trained_on.preferences(m, 0.5)
    assert len(grid) == {2: 3, 3: 6}[m]
    np.testing.assert_allclose(np.sum(grid, axis=1), 1)
    assert SINGLE_OBJECTIVE_PPO.trained_on.preferences(m, 0.5) == [[1 / m] * m]


def test_training_preferences_of_one_users_policies():
    interior = PGAPO_PPO.trained_on.preferences(2, 0.2)
    assert [row[0] for row in interior] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert len(PGAPO_PPO.trained_on.preferences(3, 0.25)) == 3
    assert ppo_on_one(2).trained_on.preferences(3, 0.5) == [[0, 0, 1]]
    given = replace(LINEAR_PPO, trained_on=TrainedOn.given([(0.3, 0.7), (1.0, 0.0)]))
    assert given.trained_on.preferences(2, 0.5) == [[0.3, 0.7], [1, 0]]


@pytest.mark.parametrize("product", [PGAPO_PPO, ppo_on_one(3)])
def test_a_product_without_a_preference_to_train_for_is_refused(product):
    with pytest.raises(UserError, match="no preference of 3 objectives is left"):
        product.trained_on.preferences(3, 0.5)


@pytest.mark.parametrize("trained_on", ["here", "grid", None, FIVE])
def test_an_unknown_way_of_training_is_refused(trained_on):
    with pytest.raises(UserError, match=r"trained_on=.*: one of TrainedOn's is expected") as refused:
        replace(DPS_DPO, trained_on=trained_on)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        (Steered, "a Deployment is expected"),
        (None, "a Deployment is expected"),
        ("steered", "deployment=steered: the form is module:Class"),
        ("lightning_moa.deployments:Stirred", r"did you mean Steered\?"),
        ("lightning_moa.errors:UserError", "a Deployment is expected"),
    ],
)
def test_what_is_no_deployment_is_refused(deployment, words):
    with pytest.raises(UserError, match=words) as refused:
        replace(PANACEA_LS_DPO, deployment=deployment)
    assert "\n" not in str(refused.value)


def test_a_deployment_may_be_named():
    named = replace(PANACEA_LS_DPO, deployment="lightning_moa.deployments:Steered")
    assert named == PANACEA_LS_DPO


class Mine(Alignment):
    """A method from outside."""


def test_answers_may_be_names_classes_or_uses_of_them():
    path = f"{__name__}:Mine"
    products = [
        Product(method, "lora", "dpo", "linear", TrainedOn.centre(), Alone())
        for method in (Mine, path, use(Mine), use(path))
    ]
    assert all(product == products[0] for product in products)
    assert products[0].method.name == path
    assert answers_of(products[0])["method"].path == path


def test_a_class_that_workers_cannot_import_is_refused():
    class Local(Alignment):
        pass

    with pytest.raises(UserError, match="Local: worker processes must be able to import it"):
        Product(Local, "lora", "dpo", "linear", TrainedOn.centre(), Alone())


def test_heads_are_as_many_as_a_product_says():
    assert ham().policy == use("heads")
    assert ham(3).policy == use("heads", number=3)
    for heads in (0, -1):
        with pytest.raises(UserError, match=rf"ham\({heads}\): K must be at least 1"):
            ham(heads)
    heads = sca_heads(TEN)
    assert heads.policy.options == {"number": 10}
    assert np.array(heads.method.options["head_preferences"]).tolist() == np.array(TEN).tolist()
    assert sca(FIVE).policy.options == ric(FIVE).policy.options == {"number": 1}


def test_baselines_have_the_preferences_that_they_are_given():
    assert sca(FIVE).trained_on == TrainedOn.given(FIVE)
    assert sca(FIVE).deployment == ham().deployment == EachHead()
    assert ric(FIVE).deployment == InPrompt(FIVE)
    assert ric(np.array(FIVE)) == ric(FIVE)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 6])
def test_scalarisations_lie_on_the_simplex_and_hold_every_corner(m):
    rows = np.array(scalarisations(m))
    assert rows.shape == ({1: 1, 2: 5, 3: 10}.get(m, 2 * m + 1), m)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    assert {tuple(row) for row in np.eye(m).tolist()} <= {tuple(row) for row in rows.tolist()}


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        (Steered(), "Steered uses one policy"),
        (InPrompt(FIVE), "InPrompt uses one policy"),
        (Soup(), "Soup needs a policy for each objective"),
    ],
)
def test_policies_that_a_deployment_cannot_use_are_refused_when_the_product_is_written(deployment, words):
    with pytest.raises(UserError, match=words) as refused:
        Product("dps", "lora", "dpo", "linear", TrainedOn.grid(), deployment)
    assert "\n" not in str(refused.value)
    Product("dps", "lora", "dpo", "linear", TrainedOn.grid(), Nearest())
