"""Values as a page words them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_moa.reporting.verdicts import Estimate


def short(value: float) -> str:
    """Four digits that count; `-` where it is unknown."""
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"


def interval(found: Estimate | None) -> str:
    """Such as `2.77 [1.56, 3.97]`; without an interval where there is one seed."""
    if found is None:
        return "-"
    ends = f" [{short(found.ci_low)}, {short(found.ci_high)}]" if found.seeds > 1 else ""
    return short(found.value) + ends


def is_number(cell: Any) -> bool:
    """Whether a cell is a number, with an interval or another number behind it: then it is set to the right."""
    text = str(cell).split(" [")[0].split(" to ")[0]
    try:
        float(text)
    except ValueError:
        return False
    return True


def file_size(file: Path) -> str:
    size = file.stat().st_size
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{math.ceil(size / 1024)} KiB"


def facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a reader wants to know first of a run.yaml; what it does not say is left out."""
    commit, hardware = _mapping(record.get("commit")), _mapping(record.get("hardware"))
    known = {
        "Started": record.get("started"),
        "Took": _duration(record.get("duration_seconds")),
        "Commit": _commit(commit),
        "Machine": ", ".join(_machine(hardware)) or None,
        "GPUs": ", ".join(map(str, _list(hardware.get("gpus")))) or ("none" if hardware else None),
        "Python": record.get("python"),
        "PyTorch": _mapping(record.get("packages")).get("torch"),
        "Trained policies": len(_list(record.get("policies")))
        and sum(len(_list(_mapping(each).get("trained"))) for each in _list(record.get("policies"))),
    }
    return [(name, str(value)) for name, value in known.items() if value not in (None, "", 0)]


def _commit(commit: Mapping[str, Any]) -> str | None:
    if not commit:
        return None
    return f"{commit.get('id') or 'none'}{', with changes' if commit.get('dirty') else ''}"


def _machine(hardware: Mapping[str, Any]) -> list[str]:
    words = {"cpu": "{}", "cores": "{} cores", "memory_gib": "{} GiB of memory"}
    return [word.format(hardware[key]) for key, word in words.items() if hardware.get(key) is not None]


def _duration(seconds: Any) -> str | None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not math.isfinite(seconds):
        return None
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
