"""Folders of runs as studies leave them, in any state."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from lightning_moa.reporting.under_way import PROGRESS, STUDIES
from lightning_moa.run_folders import owner

MACHINE = owner().rpartition("-")[0]
GONE = f"{MACHINE}-999999999_1"
ELSEWHERE = "elsewhere-12_34"
KEYS = [f"align-{i:016x}" for i in range(8)]


def start(runs: Path, count: int, owned_by: str | None = None, name: str = "figure5-ab", **told: Any) -> None:
    """A start that asks for the first `count` keys, each of 10 expected seconds."""
    asked = [
        {"key": key, "name": f"policy {i}", "cost": 10.0, "there": False}
        for i, key in enumerate(KEYS[:count])
    ]
    content = {
        "script": "/x/figure5.py",
        "arguments": ["scale=smoke"],
        "workers": 1,
        "began": time.time() - 60,
    }
    content |= {"runs": asked, "ended": None, "how": None} | told
    folder = runs / STUDIES
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.{owned_by or owner()}").write_text(json.dumps(content))


def at_work(runs: Path, i: int, share: float = 0.5, owned_by: str | None = None) -> Path:
    """The i-th run, for 20 s so far, of which the last 10 told a share."""
    folder = runs / f".{KEYS[i]}.{owned_by or owner()}"
    logged(folder)
    now = time.time()
    told = {"name": f"policy {i}", "began": now - 20, "share": share, "at": now}
    (folder / PROGRESS).write_text(json.dumps(told | {"first_share": 0.0, "first_at": now - 10}))
    return folder


def logged(folder: Path) -> None:
    (folder / "log").mkdir(parents=True)
    (folder / "log" / "metrics.csv").write_text(
        "epoch,grid/reward/a,loss,step\n0,,0.5,0\n0,,0.25,3\n,1.5,,4\n"
    )


def done(runs: Path, i: int, seconds: float = 20.0) -> None:
    logged(runs / KEYS[i])
    (runs / KEYS[i] / "task.json").write_text(json.dumps({"name": f"policy {i}", "seconds": seconds}))


def failed(runs: Path, i: int) -> None:
    logged(runs / f"failed-{KEYS[i]}")
    (runs / f"failed-{KEYS[i]}" / "error.txt").write_text(
        f"policy {i}\n{{}}\n\nTraceback\nDiverged: the KL is 300\n"
    )


def stopped(runs: Path, i: int, update: int = 7) -> None:
    (runs / f"partial-{KEYS[i]}" / f"update-{update}").mkdir(parents=True)
    (runs / f"partial-{KEYS[i]}" / ".update-8.part").mkdir()
