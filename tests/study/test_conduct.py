"""What a study refuses before its first run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from lightning_moa.errors import UserError
from lightning_moa.study.artefacts import study_of
from lightning_moa.study.conduct import conduct

FIGURE5 = Path(__file__).resolve().parents[2] / "experiments" / "panacea" / "figure5.py"


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (0, "hardware.accelerator=gpu: torch finds no GPU here"),
        (1, r"hardware.devices=2: torch finds 1 GPU\(s\)"),
    ],
)
def test_gpus_that_are_not_there_are_found_before_any_run(gpus, said, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    words = ["scale=smoke", "hardware.accelerator=gpu", "hardware.devices=2", f"runs_dir={tmp_path}"]
    config, methods = study_of(FIGURE5).read(words)
    with pytest.raises(UserError, match=f"^{said}"):
        conduct(config, methods, Console(file=io.StringIO()))
    assert not list(tmp_path.iterdir())
