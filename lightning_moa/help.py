"""What every script's `--help` prints: each key, its meaning and its default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from lightning_moa.answers import is_foreign
from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import CONFIGS
from lightning_moa.data.registry import data_entry


def describe(schema: type[StudyConfig], words: Sequence[str] = ()) -> str:
    """Every key with its default and its line of help, for `--help`.

    Args:
        schema: the study's dataclass.
        words: of the command line; `data=module:Class` among them adds that data set's own keys.

    Raises:
        UserError: `data=module:Class` that names no data set.
    """
    lines = [f"{key:<38} {help}  [{default}]" for key, default, help in _leaves(schema)]
    foreign = [
        name for key, _, name in (word.partition("=") for word in words) if key == "data" and is_foreign(name)
    ]
    for name, config in {
        **dict(sorted(CONFIGS.items())),
        **{name: data_entry(name).config for name in foreign},
    }.items():
        lines.append(f"\nwith data={name}:")
        lines += [
            f"{key:<38} {help}  [{default}]"
            for key, default, help in _leaves(config, "data.")
            if key != "data.name"
        ]
    if not foreign:
        lines.append(
            "\nwith data=module:Class: the keys of that class's Config; give data=module:Class beside --help"
        )
    return "\n".join(lines)


def _leaves(schema: type, prefix: str = "") -> list[tuple[str, Any, str]]:
    out: list[tuple[str, Any, str]] = []
    for item in fields(schema):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if is_dataclass(default) and prefix + item.name != "data":
            out += _leaves(type(default), f"{prefix}{item.name}.")
        else:
            shown = "" if default is None or is_dataclass(default) else str(default).replace("\n", "\\n")
            out.append((prefix + item.name, shown, item.metadata.get("help", "")))
    return out
