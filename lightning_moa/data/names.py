"""Where each data set's class is. Light: no torch."""

from __future__ import annotations

from lightning_moa.answers import is_foreign
from lightning_moa.data.registry import DATASETS


def class_of(name: str) -> str:
    """'module:Class' of a data set by its short name, or of one's own as it is."""
    if is_foreign(name):
        return name
    entry = DATASETS[name]
    return f"{entry.module}:{entry.class_name}"
