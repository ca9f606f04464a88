"""run.yaml: what a result was made with, so that it can be made again or told apart from another."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightning_moa.errors import UserError
from lightning_moa.reporting.files import read_text, write_atomically

PACKAGES = (
    *("lightning_moa", "torch", "lightning", "transformers", "peft", "tokenizers", "datasets", "safetensors"),
    *("deepspeed", "bitsandbytes", "numpy", "pandas", "scipy", "moocore", "matplotlib"),
)
FORMAT = 3
"""Of `config`. Records without a format are older: their keys may have been spelled or filled in otherwise. Those of
format 2 are read as of this one: their `constant` schedules had a warm-up."""
MEASURED_WITH = ("data", "prompts", "decoding", "base", "rewards")
"""What numbers hang on besides their methods."""
CODE = ("lightning_moa", "experiments", "pyproject.toml")
"""What must be committed for a commit to tell how a result was made; results themselves don't count."""
BEGINNING, END = "---\n", "\n...\n"
"""The first and the last line of a record, YAML's own marks of a document."""
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Makes plain values alone; where PyYAML has been built with libyaml, it is ten times as fast."""


def write_run_record(
    path: str | Path,
    config: Mapping[str, Any],
    *,
    measured_with: Mapping[str, Any],
    started: datetime,
    duration: float,
    runs: str | None = None,
    policies: Sequence[Mapping[str, Any]] = (),
    evaluated: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Write run.yaml, whole or not at all.

    Args:
        path: the file, beside points.csv.
        config: the resolved config.
        measured_with: keys of `MEASURED_WITH`, what the points hang on besides their methods: runs are comparable
            where all are equal; and `exact_beta`, the weight of the KL that regrets are under, where they are known.
        started: when the run began, with a time zone.
        duration: seconds it took.
        runs: the folder of the runs, relative to the file's.
        policies: for each method and seed its trained policies, by the names of their runs.
        evaluated: prompts and pairs that were measured on, by the part of the data set that they are of.

    Raises:
        UserError: the file can't be written.
    """
    record = {
        "format": FORMAT,
        **measured_with,
        "evaluated": evaluated or {},
        "started": started.isoformat(timespec="seconds"),
        "duration_seconds": round(duration, 3),
        "commit": git_commit(),
        "hardware": hardware(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "runs": runs,
        "policies": list(policies),
        "config": config,
    }
    text = yaml.safe_dump(
        plain(record), sort_keys=False, allow_unicode=True, width=110, explicit_start=True, explicit_end=True
    )
    write_atomically(path, text)


def read_run_record(path: str | Path) -> dict[str, Any] | None:
    """The record, or None where there is no file; UserError if it isn't a YAML mapping, or was torn off.

    What is left of a torn record may be YAML, too: one that begins as a document ends as one, or has lost its end.
    Older records have neither mark.
    """
    if not Path(path).exists():
        return None
    text = read_text(path)
    if text.startswith(BEGINNING) and not text.endswith(END):
        raise UserError(f"{path}: its end is missing, the last line of a whole record is {END.strip()!r}")
    try:
        record = yaml.load(text, Loader=LOADER)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML, {' '.join(str(error).split())}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}: {type(record).__name__}, allowed is a mapping")
    if record.get("format") == 2:
        record |= {"format": FORMAT, "config": _with_warm_up(record.get("config"))}
    return record


def _with_warm_up(config: Any) -> Any:
    """A configuration of format 2 in today's words."""
    if not isinstance(config, Mapping):
        return config
    return {
        key: "constant_with_warmup"
        if value == "constant" and str(key).endswith("schedule")
        else _with_warm_up(value)
        for key, value in config.items()
    }


def package_versions() -> dict[str, str]:
    """Version of each installed package that can change a result; nothing is imported."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def git_commit() -> dict[str, Any]:
    """`id` of the commit that this code was checked out from, None outside git, and if code was `dirty`."""
    root = Path(__file__).resolve().parents[2]
    top = _git(root, "rev-parse", "--show-toplevel")
    # A package installed inside somebody else's repository must not claim that repository's commit.
    if top is None or Path(top).resolve() != root:
        return {"id": None, "dirty": None}
    status = _git(root, "status", "--porcelain", "--", *CODE)
    return {"id": _git(root, "rev-parse", "HEAD"), "dirty": bool(status)}


def hardware() -> dict[str, Any]:
    """Processor, its cores, memory in GiB, and the GPUs if torch is in use already."""
    import psutil

    record = {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    torch = sys.modules.get("torch")
    gpus = range(torch.cuda.device_count()) if torch is not None and torch.cuda.is_available() else ()
    return record | {"gpus": [torch.cuda.get_device_name(i) for i in gpus] if torch is not None else []}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        # No git, no repository, or one that git refuses to read: then there is no commit to name.
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def plain(value: Any) -> Any:
    """`value` in the types that YAML knows: dataclasses, paths, tuples and numpy's numbers are converted."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value
