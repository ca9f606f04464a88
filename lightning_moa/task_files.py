"""What a task and those who read its result agree on: names of files, and how progress is told. Light."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

DONE = "task.json"
"""Written last: what the task was, its wall-clock and its peak memory."""
GRADIENTS = "gradients.csv"
"""What `GradientWatch` saw, in the folder of the run that it watched."""
ACCURACIES = "accuracies.json"
"""What a reward model's training leaves beside it: objective -> how many held-out pairs it orders as labelled."""
HEADS = "heads.csv"
"""What `HeadWatch` saw, in the same place."""

Progress = Callable[[float], None]
"""Called by a task with the share of its work that is done, 0 to 1."""


def partial_folder(scratch: Path) -> Path:
    """Where a task keeps what outlives it when it is stopped: checkpoints, beside all results."""
    key = scratch.name.removeprefix(".").rpartition(".")[0]
    return scratch.parent / f"partial-{key}"
