"""What a world's options say of its objectives, before any data module is built."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lightning_moa.data.configs import (
    SyntheticConfig,
    SyntheticSummariesConfig,
    SyntheticThresholdsConfig,
    WorldConfig,
)
from lightning_moa.data.registry import build
from lightning_moa.data.world_objectives import check_world, choose_objectives
from lightning_moa.errors import UserError

WORLDS = (SyntheticConfig, SyntheticSummariesConfig, SyntheticThresholdsConfig)


@pytest.mark.parametrize("kind", WORLDS)
def test_a_world_has_its_own_objectives_as_its_data_module_does(kind):
    config = kind()
    assert choose_objectives(config, None) == config.own_objectives == build(config).objectives
    turned = config.own_objectives[::-1]
    assert choose_objectives(config, turned) == turned == build(config, turned).objectives


@pytest.mark.parametrize(
    ("config", "names", "told"),
    [
        (
            SyntheticConfig(),
            ["helpful", "kind"],
            r"objectives: 'kind' is unknown; allowed are helpful, harmless",
        ),
        (
            SyntheticConfig(labels={"helpful": "x"}),
            None,
            r"data\.labels: the synthetic world labels its pairs",
        ),
        (
            SyntheticConfig(labellers={"ann": [0.5, 0.4]}),
            None,
            r"data\.labellers\.ann=\[0\.5, 0\.4\]: a weight",
        ),
        (SyntheticConfig(labellers={"ann": [1.0]}), None, r"data\.labellers\.ann=\[1\.0\]: a weight"),
        (SyntheticConfig(max_response_length=24), None, r"data\.max_response_length=24: must be below"),
    ],
)
def test_a_mistake_is_told_as_the_data_module_would(config: WorldConfig, names, told):
    with pytest.raises(UserError, match=told):
        check_world(config, names)
    with pytest.raises(UserError, match=told):
        build(config, names)


def test_nothing_that_would_be_waited_for_is_loaded_for_it():
    code = (
        "import sys\nfrom lightning_moa.data.configs import SyntheticConfig\n"
        "SyntheticConfig().check_rows(['helpful', 'harmless'])\n"
        "print([name for name in ('lightning', 'torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
