"""Whether what lies in a folder of results was made by the same configuration. Light: no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from lightning_moa.config import StudyConfig
from lightning_moa.digests import digest
from lightning_moa.errors import UserError, warn
from lightning_moa.policies.packaged import content_of, is_packaged
from lightning_moa.reporting.run_record import FORMAT, plain, read_run_record

OWN_TO_THE_MACHINE = ("results_dir", "runs_dir", "workers", "fresh", "replace")
"""Keys that a record doesn't hold."""
HOW = {
    *(*OWN_TO_THE_MACHINE, "code_in_key", "evaluation.batch_size", "model.gradient_checkpointing"),
    *(
        f"hardware.{key}"
        for key in ("accelerator", "devices", "nodes", "strategy", "tf32", "checkpoint_every")
    ),
}
"""Keys that say how a machine comes to a result, which is another only in its rounding."""
AUTO = "auto"
_SHOWN = 3


def recorded(config: StudyConfig) -> dict[str, Any]:
    """What run.yaml keeps of a configuration."""
    return {key: value for key, value in asdict(config).items() if key not in OWN_TO_THE_MACHINE}


def refuse_to_replace(folder: Path, config: StudyConfig) -> None:
    """Let results of the same configuration be made again, and those of another be kept, unless `replace` is set.

    Keys that only one of the two knows, since the code was changed in between, tell nothing. The content of local files
    counts as what names them does.

    Raises:
        UserError: names the folder, the first keys that differ, and what to do.
    """
    record = None if config.replace else read_run_record(folder / "run.yaml")
    if record is None or not isinstance(record.get("config"), Mapping):
        return
    found = [*differing(config, record["config"]), *_other_content(config, record)]
    if found:
        if record.get("format") != FORMAT:
            warn(f"{folder}: older results, of settings that were said otherwise, are written over")
            return
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UserError(
            f"{folder}: holds results of another configuration ({', '.join(found[:_SHOWN])}{more}); replace=true "
            "writes over them, another results_dir keeps them"
        )


def other_parts(folder: Path, parts: Iterable[str]) -> list[Path]:
    """Folders of results below this one that are none of its parts, and hold none: an earlier start has left them."""
    mine = [folder / part for part in parts]
    found: dict[Path, None] = {}
    for file in sorted(folder.rglob("run.yaml")):
        place = file.parent
        if place == folder or place in mine:
            continue
        while place.parent != folder and not any(part.is_relative_to(place.parent) for part in mine):
            place = place.parent
        found[place] = None
    return list(found)


def _other_content(config: StudyConfig, record: Mapping[str, Any]) -> Iterator[str]:
    """Of a local file of data and of a local model: under the same path may lie something else meanwhile."""
    for part, section, path in (("data", "data", config.data.path), ("base", "model", config.model.path)):
        told, named = record.get(part), record["config"].get(section)
        before = told.get("content") if isinstance(told, Mapping) else None
        if before is None or path is None or not isinstance(named, Mapping) or named.get("path") != path:
            continue
        packaged = section == "model" and is_packaged(path)
        now = (content_of(path) if packaged else digest(path, f"{section}.path"))[: len(before)]
        if now != before:
            yield f"the content of {section}.path was {before}, now {now}"


def differing(now: Any, before: Any, where: str = "") -> Iterator[str]:
    """The keys by which a configuration, or what is below `where` of it, differs from a recorded one, in words."""
    if where in HOW:
        return
    if is_dataclass(now) and isinstance(before, Mapping):
        for each in fields(now):
            if each.name in before:
                yield from differing(getattr(now, each.name), before[each.name], _below(where, each.name))
    elif isinstance(now, Mapping) and isinstance(before, Mapping):
        for key in [*now, *(key for key in before if key not in now)]:
            yield from differing(now.get(key), before.get(key), _below(where, str(key)))
    elif now == AUTO and where.endswith(".reward"):
        # What is recorded says what it stood for, which hangs on the data.
        return
    elif _in_order(plain(now), where) != _in_order(before, where):
        yield f"{where} was {_short(before)}, now {_short(plain(now))}"


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _in_order(value: Any, where: str) -> Any:
    return sorted(value) if where == "seeds" and isinstance(value, list) else value


def _short(value: Any) -> str:
    text = "empty" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
