"""Dataclass fields that carry their own line of help and their allowed values."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import field, fields, is_dataclass
from typing import Any

from lightning_moa.answers import is_foreign
from lightning_moa.errors import UserError


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[Any] | None = None,
    open: bool = False,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    in_prompts: bool = False,
    whole: bool = False,
) -> Any:
    """A dataclass field with a default, a line of help (shown by `--help`) and, where given, what is allowed.

    `open`: beside the choices, one of the user's own is allowed, 'module:Class'.
    `in_prompts`: a text that stands in prompts; \\n and \\t in it on a command line are a newline and a tab.
    `whole`: a mapping that a command line gives at once, key={...}, takes the place of the file's; others are merged.
    Mutable defaults are copied for each instance; a class as a default is called for each instance.
    """
    limits = {"choices": choices, "at_least": at_least, "at_most": at_most, "above": above, "below": below}
    limits |= {"open": open or None, "in_prompts": in_prompts or None, "whole": whole or None}
    metadata = {"help": help, **{name: limit for name, limit in limits.items() if limit is not None}}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def check(config: Any, where: str = "") -> None:
    """Raise `UserError` for the first value in a tree of dataclasses that its field does not allow."""
    for item in fields(config):
        key, value = where + item.name, getattr(config, item.name)
        if is_dataclass(value):
            check(value, f"{key}.")
        elif isinstance(value, dict):
            for name, entry in value.items():
                if is_dataclass(entry):
                    check(entry, f"{key}.{name}.")
        elif value is not None:
            _check_value(key, value, dict(item.metadata))


def _check_value(key: str, value: Any, limits: dict[str, Any]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}={value}: must be a finite number")
    if "choices" in limits and value not in limits["choices"]:
        if not limits.get("open"):
            raise UserError(f"{key}={value}: allowed are {', '.join(map(str, limits['choices']))}")
        if not is_foreign(str(value)):
            shown = ", ".join(map(str, limits["choices"]))
            raise UserError(f"{key}={value}: allowed are {shown}, and one of your own as module:Class")
    for name, words, ok in (
        ("at_least", "at least", lambda limit: value >= limit),
        ("at_most", "at most", lambda limit: value <= limit),
        ("above", "above", lambda limit: value > limit),
        ("below", "below", lambda limit: value < limit),
    ):
        if name in limits and not ok(limits[name]):
            raise UserError(f"{key}={value}: must be {words} {limits[name]}")
