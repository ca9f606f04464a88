"""Estimates of memory against runs on a CPU, in fresh processes: whole tasks of studies, models that dominate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_moa.forecast.memory import MARGIN

SCRIPT = Path(__file__).with_name("measured_runs.py")
LINUX = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc"
)


@LINUX
@pytest.mark.parametrize(
    "words",
    [
        ("ppo", "model.family=opt", "ppo.accumulate=2", "model.gradient_checkpointing=true"),
        ("likelihood", "reward_model.train=lora"),
    ],
    ids=["ppo opt checkpointed", "likelihood heads, reward model by LoRA"],
)
def test_every_task_of_a_study_takes_what_was_foretold(words, tmp_path):
    # Freed memory goes back at once, so that the resident size is that of what lives.
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MALLOC_TRIM_THRESHOLD_": "0",
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }
    command = [sys.executable, str(SCRIPT), str(tmp_path), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {"method", "reward model", "reference policy"} & {each["run"] for each in found}
    ratios = {each["run"]: each["estimated"] / each["measured"] for each in found}
    assert all(abs(ratio - 1) <= MARGIN for ratio in ratios.values()), ratios
