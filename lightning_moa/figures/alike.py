"""Methods of a figure that are trained alike, but for what the configuration says of one alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from lightning_moa.config import MethodConfig, StudyConfig


def alike(config: StudyConfig, first: str, others: Collection[str]) -> StudyConfig:
    """The same study, in which the others have all that is said of the first method and not of them."""
    said = config.methods.get(first, MethodConfig())
    filled = {name: filled_with(config.methods.get(name, MethodConfig()), said) for name in others}
    return replace(config, methods={**config.methods, **filled})


def filled_with(own: MethodConfig, other: MethodConfig) -> MethodConfig:
    """What one method has of its own, key by key of each section too, and else what the other has."""
    sections = dict.fromkeys([*other.settings, *own.settings])
    return MethodConfig(
        steps=own.steps or other.steps,
        lr=own.lr or other.lr,
        settings={
            name: _joined(other.settings.get(name, {}), own.settings.get(name, {})) for name in sections
        },
        snapshots=own.snapshots or other.snapshots,
        watch=own.watch or other.watch,
    )


def _joined(other: Any, own: Any) -> Any:
    # What is no section is refused later, by its name.
    return {**other, **own} if isinstance(other, Mapping) and isinstance(own, Mapping) else own
