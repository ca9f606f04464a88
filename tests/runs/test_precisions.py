"""Studies from end to end on bases in 16 and in 8 bits: DPO, PPO, and likelihood with several heads."""

from __future__ import annotations

import importlib.util
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console
from safetensors.torch import load_file

from lightning_moa.config.options import HardwareConfig
from lightning_moa.policies.quantised import is_quantised
from lightning_moa.runs import loading, schedules
from lightning_moa.runs.training import prepare
from lightning_moa.study.planning import plan_study
from tests.conftest import REPOSITORY
from tests.experiments.scripts import load, settings

QUICK = ["sft.steps=4", "evaluation.grid_step=1", "evaluation.prompts=16", "evaluation.max_new_tokens=4"]
STUDIES = {
    "panacea/figure5": ["dpo.steps=2", "reward_model.steps=2"],
    "panacea/figure4": ["ppo.steps=1", "ppo.reward=trained", "ppo.max_new_tokens=4", "reward_model.steps=2"],
    # Without online rounds, panel c is panel a.
    "ham/figure3": ["likelihood.steps=2", "likelihood.rows=60", "online.rounds=0", "heads.number=2"],
}
OPTIMISERS = {"bf16": "adamw", "int8": "adamw_8bit"}


def start(name: str, root: Path, *words: str) -> Path:
    """The folder that a script leaves, worked in this process."""
    path = REPOSITORY / "experiments" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folders = [f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"]
    given = ["scale=smoke", "workers=1", "code_in_key=false", *folders, *QUICK, *STUDIES[name], *words]
    config, _ = module.STUDY.read(given)
    module.main(config, Console(file=io.StringIO(), width=200))
    (folder,) = (root / "results" / name).iterdir()
    return folder


@pytest.mark.parametrize("name", list(STUDIES))
@pytest.mark.parametrize("precision", list(OPTIMISERS))
def test_a_script_runs_at_a_precision(precision, name, tmp_path, monkeypatch):
    loaded, kinds = [], []

    def load_model(*path, **options):
        loaded.append(loading_model(*path, **options))
        return loaded[-1]

    def adamw(kind, *given, **options):
        kinds.append(kind)
        return making_adamw(kind, *given, **options)

    loading_model, making_adamw = loading.load_model, schedules.adamw
    monkeypatch.setattr(loading, "load_model", load_model)
    monkeypatch.setattr(schedules, "adamw", adamw)
    # Pictures take a third of the time and know no precision.
    monkeypatch.setattr(Figure, "savefig", lambda *given, **options: None)
    folder = start(
        name, tmp_path, f"hardware.precision={precision}", f"hardware.optimiser={OPTIMISERS[precision]}"
    )

    numbers = {"points.csv": 0, "metrics.csv": 0}
    for table in (path for path in folder.rglob("*.csv") if path.name in numbers):
        frame = pd.read_csv(table)
        rows = frame.select_dtypes("number")
        # Not every method has every number.
        numbers[table.name] += int(np.isfinite(rows).to_numpy().sum())
        assert not np.isinf(rows).to_numpy().any()
        if table.name == "points.csv":
            assert frame["kl"].notna().all()
            assert frame.filter(regex="^(gold|reward)_").notna().to_numpy().any(axis=1).all()
    assert min(numbers.values()) > 0

    # What has all its weights trained is in floating point; bases are written in float32.
    bases = list((tmp_path / "runs").glob("base-*/model"))
    for base in bases:
        assert {each.dtype for each in load_file(base / "model.safetensors").values()} == {torch.float32}
    widths = sorted(json.loads((base / "config.json").read_text())["hidden_size"] for base in bases)
    assert widths == ([16, 24] if name == "ham/figure3" else [16])
    rewards = list((tmp_path / "runs").glob("reward_model-*/model"))
    assert len(rewards) == (name != "ham/figure3")
    for model in rewards:
        tensors = load_file(model / "model.safetensors").values()
        assert all(each.is_floating_point() and bool(each.isfinite().all()) for each in tensors)
    for policy in (tmp_path / "runs").glob("align-*/policy"):
        assert {each.dtype for each in load_file(policy / "policy.safetensors").values()} == {torch.float32}

    types = [(is_quantised(model), model.dtype) for model in loaded]
    assert types.count((False, torch.float32)) == len(rewards)
    assert set(types) - {(False, torch.float32)} == {(precision == "int8", torch.bfloat16)}
    assert OPTIMISERS[precision] in kinds


def test_fast_products_are_asked_for_by_each_run_and_are_part_of_what_it_is():
    """`medium` is torch's own word for it; whether a CPU then takes bfloat16 is torch's affair."""
    hardware = asdict(HardwareConfig())
    one, other = (torch.randn(256, 512, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    exact = one.double() @ other.double().T
    before, errors = torch.get_float32_matmul_precision(), {}
    try:
        for bf32 in (True, False):
            prepare({**hardware, "bf32": bf32})
            assert torch.get_float32_matmul_precision() == ("medium" if bf32 else "highest")
            errors[bf32] = float((one @ other.T - exact).abs().max() / exact.std())
    finally:
        torch.set_float32_matmul_precision(before)
    assert errors[False] < 1e-5
    assert errors[True] < 0.02
    script = load(REPOSITORY / "experiments" / "panacea" / "figure5.py")
    keys = set()
    for bf32 in ("true", "false"):
        plan = plan_study(*settings(script, f"hardware.bf32={bf32}"))
        keys |= {task.key for task in plan.targets() if task is not plan.exact}
    assert len(keys) == 2 * (len(plan.targets()) - 1)
