"""The table of products: what is trained, at which preferences, and that its names exist."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.methods import products
from lightning_moa.methods.products import (
    DPS_DPO,
    LINEAR_PPO,
    PANACEA_LS_DPO,
    PGAPO_PPO,
    REWARDED_SOUPS_DPO,
    SINGLE_OBJECTIVE_PPO,
    ppo_on_one,
)

ALL = [value for value in vars(products).values() if isinstance(value, products.Product)]


@pytest.mark.parametrize("product", ALL)
def test_every_named_class_exists(product):
    for path in (product.module, product.aggregation):
        module, _, name = path.partition(":")
        assert isinstance(getattr(importlib.import_module(module), name), type)
    assert product.policy in ("steered", "fixed", "lora")
    assert product.deployed_as in ("steered", "soup", "nearest", "alone")


@pytest.mark.parametrize("m", [2, 3])
def test_training_preferences(m):
    assert PANACEA_LS_DPO.training_preferences(m, 0.5) == [None]
    assert REWARDED_SOUPS_DPO.training_preferences(m, 0.5) == np.eye(m).tolist()
    grid = DPS_DPO.training_preferences(m, 0.5)
    assert len(grid) == {2: 3, 3: 6}[m]
    np.testing.assert_allclose(np.sum(grid, axis=1), 1)
    assert SINGLE_OBJECTIVE_PPO.training_preferences(m, 0.5) == [[1 / m] * m]


def test_training_preferences_of_one_users_policies():
    interior = PGAPO_PPO.training_preferences(2, 0.2)
    assert [row[0] for row in interior] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert len(PGAPO_PPO.training_preferences(3, 0.25)) == 3
    assert ppo_on_one(2).training_preferences(3, 0.5) == [[0, 0, 1]]
    given = replace(LINEAR_PPO, trained_on="given", preferences=((0.3, 0.7), (1.0, 0.0)))
    assert given.training_preferences(2, 0.5) == [[0.3, 0.7], [1, 0]]


@pytest.mark.parametrize("product", [PGAPO_PPO, replace(LINEAR_PPO, trained_on="given"), ppo_on_one(3)])
def test_a_product_without_a_preference_to_train_for_is_refused(product):
    with pytest.raises(UserError, match="no preference of 3 objectives is left"):
        product.training_preferences(3, 0.5)


def test_an_unknown_way_of_training_is_refused():
    with pytest.raises(
        UserError, match="trained_on=here: allowed are sampled, corners, grid, interior, centre"
    ):
        replace(DPS_DPO, trained_on="here").training_preferences(2, 0.5)
