"""What is known of scored rows, in a file beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_moa.task_files import read_mapping

ABOUT = "about.json"
"""Beside the rows: the map to [0, 1], z, the rewards' range, and what was cut or left out."""


def read_about(folder: Path) -> dict[str, Any]:
    """What is known of the rows in a folder."""
    return read_mapping(folder / ABOUT)
