from pathlib import Path

import pytest

from lightning_moa.figures.all_methods import METHODS, studies
from lightning_moa.figures.tuning import TunedConfig
from lightning_moa.study.study import Study


@pytest.fixture
def cross_config():
    """Of the table of all methods, at its smallest size."""
    folder = Path(__file__).resolve().parents[2] / "experiments" / "cross"
    study = Study(
        str(folder / "table_methods.py"), "world", METHODS, TunedConfig, parts=studies, any_methods=True
    )
    read, methods = study.read(["scale=smoke"])
    assert methods is METHODS
    return read
