"""What a task and those who read its result agree on: names of files, and how progress is told. Light."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_moa.errors import UserError

DONE = "task.json"
"""Written last: what the task was, its wall-clock and its peak memory."""
SIDECAR = "policy.json"
"""What a saved policy says of itself, in its folder."""
LOG = "log"
"""The folder of what loggers write."""
GRADIENTS = "gradients.csv"
"""What `GradientWatch` saw, in the folder of the run that it watched."""
ACCURACIES = "accuracies.json"
"""What a reward model's training leaves beside it: objective -> how many held-out pairs it orders as labelled."""
HEADS = "heads.csv"
"""What `HeadWatch` saw, in the same place."""

SCORES = ("reward_", "gold_", "judge_")
"""What columns of rewards begin with."""
RULES = ("length", "repetition", "ended")
"""Columns of what rules say of responses."""

AGAIN = "delete the run's folder and start again"

Progress = Callable[[float], None]
"""Called by a task with the share of its work that is done, 0 to 1."""


def read_mapping(path: Path) -> dict[str, Any]:
    """What a task wrote of itself, an object in JSON.

    Raises:
        UserError: the file is torn or of another kind; says what to do.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not as a task wrote it ({_line(error)}); {AGAIN}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: not as a task wrote it ({type(found).__name__}); {AGAIN}")
    return found


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def partial_folder(scratch: Path) -> Path:
    """Where a task keeps what outlives it when it is stopped: checkpoints, beside all results."""
    return partial_folder_of(scratch.parent, scratch.name.removeprefix(".").rpartition(".")[0])


def partial_folder_of(runs: Path, key: str) -> Path:
    """`partial_folder` of the task with this key."""
    return runs / f"partial-{key}"


def snapshots_in(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of the policies saved in the middle of a training, in order."""
    found = [(int(path.name.partition("-")[2]), path) for path in folder.glob("step-*")]
    return sorted(found)
