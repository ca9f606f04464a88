"""A small copy of a committed result, to be broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = ("claims.csv", "exact_front.csv", "metrics.csv", "points.csv", "run.yaml", "timings.csv", "costs.csv")
PICTURE = REPOSITORY / "results" / "panacea" / "figure3" / "tiny" / "figure3.png"


@pytest.fixture
def theirs(tmp_path) -> Path:
    """results/panacea/figure4/tiny of somebody else's, with a picture."""
    folder = tmp_path / "theirs" / "panacea" / "figure4" / "tiny"
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(REPOSITORY / "results" / "panacea" / "figure4" / "tiny" / name, folder / name)
    shutil.copyfile(PICTURE, folder / "figure4.png")
    return folder
