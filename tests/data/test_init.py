import subprocess
import sys

import pytest

from lightning_moa.data import DATASETS, build
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import CONFIGS, DataConfig, PKUSafeRLHFConfig
from lightning_moa.errors import UserError


def test_importing_the_room_loads_nothing_heavy():
    heavy = ("torch", "lightning", "transformers", "datasets", "pandas", "tokenizers")
    code = f"import sys, lightning_moa.data; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", [name for name in DATASETS if not name.startswith("synthetic")])
def test_every_data_set_is_built_from_its_config(name):
    config = CONFIGS[name]()
    names = ("a", "b")
    if not config.labels and name != "prompts":
        config.labels = dict.fromkeys(names, "x")
    data = build(config, None if config.labels else names)
    assert isinstance(data, DATASETS[name].load())
    assert isinstance(data, PreferenceData)
    assert data.objectives == tuple(config.labels or names)
    assert build(config, [data.objectives[-1]]).objectives == data.objectives[-1:]


def test_wrong_names_and_configs():
    with pytest.raises(UserError, match=r"data\.name=nothing: allowed are .*hh_rlhf"):
        build(DataConfig(name="nothing"))
    with pytest.raises(UserError, match="takes options of type HHRLHFConfig"):
        build(PKUSafeRLHFConfig(name="hh_rlhf"))
