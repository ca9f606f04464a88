"""What the scripts declare, each executed once in a process, and each configuration read once."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from lightning_moa.study import artefacts
from lightning_moa.study.study import Methods

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
SCRIPTS = [path for path in sorted(EXPERIMENTS.glob("*/*.py")) if "__main__" in path.read_text()]

study_of = cache(artefacts.study_of)


def read(path: Path | str, words: list[str]) -> tuple[Any, Methods]:
    """What `Study.read` says; whoever asks may change it."""
    config, methods = _read(Path(path), tuple(words))
    return deepcopy(config), methods


@cache
def _read(path: Path, words: tuple[str, ...]) -> tuple[Any, Methods]:
    return study_of(path).read(words)
