"""What a study says of ZeRO-3, which goes back through a forward pass but once and shares out no bits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from lightning_moa.config.options import MethodConfig
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import GAPO_P1_PPO, LINEAR_PPO
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study
from tests.conftest import REPOSITORY

METHODS = {"gapo": GAPO_P1_PPO, "linear": LINEAR_PPO}


def config(strategy, passes=None):
    made = schema_of(METHODS)(data=SyntheticConfig(), seeds=[0], probe_passes=passes)
    made.hardware.devices, made.hardware.strategy = 2, strategy
    return made


@pytest.mark.parametrize(
    ("strategy", "passes", "fresh"),
    [
        ("ddp", None, False),
        ("deepspeed_2", None, False),
        ("deepspeed_3", None, True),
        ("deepspeed_3_offload", None, True),
        ("deepspeed_3", "fresh", True),
        ("ddp", "fresh", True),
        ("ddp", "shared", False),
    ],
)
def test_probed_gradients_have_passes_of_their_own_where_it_is_needed(strategy, passes, fresh):
    policies = plan_study(config(strategy, passes), METHODS).seeds[0].policies
    assert policies["gapo"][0].spec["fresh_passes"] is fresh
    assert policies["linear"][0].spec["fresh_passes"] is False


def test_a_shared_pass_is_refused_in_one_line():
    with pytest.raises(
        UserError, match=r"probe_passes=shared with hardware.strategy=deepspeed_3: .* allowed is fresh"
    ):
        plan_study(config("deepspeed_3", "shared"), METHODS)


def test_a_watch_is_refused_even_of_a_method_that_probes_nothing():
    made = config("deepspeed_3")
    made.methods["linear"] = replace(MethodConfig(), watch=5)
    with pytest.raises(UserError, match=r"methods\.linear\.watch=5: .*ZeRO-3, it must be 0"):
        plan_study(made, METHODS)


def test_8_bits_are_refused_by_a_script_before_it_works(tmp_path):
    words = ["hardware.strategy=deepspeed_3", "hardware.precision=int8", "hardware.devices=2"]
    folders = [f"results_dir={tmp_path / 'results'}", f"runs_dir={tmp_path / 'runs'}"]
    done = subprocess.run(
        [sys.executable, "experiments/panacea/figure5.py", "scale=smoke", *words, *folders],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: hardware.strategy=deepspeed_3 with hardware.precision=int8: ")
    assert "bitsandbytes issue 1451" in line
    assert list(tmp_path.iterdir()) == []
