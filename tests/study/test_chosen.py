"""What a method says of its own settings, and where."""

from __future__ import annotations

import pytest

from lightning_moa.config import MethodConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import PANACEA_PPO
from lightning_moa.study.chosen import Chosen, schema_of


@pytest.mark.parametrize(("key", "value"), [("steps", 9), ("lr", 0.02)])
def test_updates_and_rate_are_told_where_scripts_set_them_too(key, value):
    config = schema_of({"panacea": PANACEA_PPO})()
    config.methods["panacea"] = MethodConfig(**{key: value}, settings={"ppo": {"batch_size": 3}})
    chosen = Chosen.of(config, "panacea", PANACEA_PPO)
    assert (getattr(chosen.settings, key), chosen.settings.batch_size) == (value, 3)
    config.methods["panacea"] = MethodConfig(settings={"ppo": {key: value}})
    told = rf"^methods\.panacea\.settings\.ppo\.{key}: allowed is methods\.panacea\.{key}={value}$"
    with pytest.raises(UserError, match=told):
        Chosen.of(config, "panacea", PANACEA_PPO)
