"""The table of products: what is trained, at which preferences, and that its names exist."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.methods import products
from lightning_moa.methods.products import DPS_DPO, PANACEA_LS_DPO, REWARDED_SOUPS_DPO, SINGLE_OBJECTIVE_PPO

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


def test_an_unknown_way_of_training_is_refused():
    with pytest.raises(UserError, match="trained_on=here: allowed are sampled, corners, grid, centre"):
        replace(DPS_DPO, trained_on="here").training_preferences(2, 0.5)
