"""Checkpoints of a policy in training: what is trained and where the training stands, never the frozen base.

A checkpoint is a folder `update-<number>` with one pair of files for each process (`<rank>.safetensors`, `<rank>.json`)
and a manifest that names the run, the number of processes and the files' SHA-256. It is written under another name and
renamed when all of it is there, and the one before is kept, so that a torn one costs some updates and not the run. No
pickle is written or read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lightning_moa.errors import UserError
from lightning_moa.processes import all_objects, from_first, rank, wait_for_all, world_size
from lightning_moa.run_folders import clear_dead, owner

MANIFEST = "manifest.json"
FORMAT = 1
KEPT = 2
"""The newest, and the one before it."""

_NAME = re.compile(r"update-(\d+)")
_TENSOR = "tensor"


def write_checkpoint(folder: Path, run: str, update: int, state: Any) -> Path:
    """Write what this process has of a checkpoint; all processes must call it together.

    Args:
        folder: of the run's checkpoints, the same for all processes.
        run: the run's name, which a reader compares.
        update: number of updates that were made.
        state: nested dicts and lists of tensors, numbers, texts and None.

    Returns:
        The checkpoint's folder.
    """
    # Another start may be at the same training.
    scratch = folder / f".update-{update}.{from_first(owner())}"
    if rank() == 0:
        clear_dead(folder)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    wait_for_all()
    tensors: dict[str, Tensor] = {}
    values = json.dumps(_flat(state, "", tensors)).encode()
    files = {f"{rank()}.safetensors": save(tensors), f"{rank()}.json": values}
    for name, content in files.items():
        _write(scratch / name, content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    everyones = {name: digest for part in all_objects(sums) for name, digest in part.items()}
    final = folder / f"update-{update}"
    if rank() == 0:
        manifest = {
            "format": FORMAT,
            "run": run,
            "update": update,
            "processes": world_size(),
            "sha256": everyones,
        }
        _write(scratch / MANIFEST, json.dumps(manifest, indent=1).encode())
        shutil.rmtree(final, ignore_errors=True)
        try:
            scratch.rename(final)
        except OSError:
            if not final.is_dir():
                raise
            shutil.rmtree(scratch)
        # Those of later updates were refused, or are another start's: they must not push out what was just written.
        for old in [path for path in _found(folder) if _update(path) <= update][KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
    wait_for_all()
    return final


def read_checkpoint(folder: Path, run: str, refused: Callable[[str], None]) -> tuple[int, Any] | None:
    """The newest checkpoint that is whole and of this run: its number of updates, and this process's state.

    Args:
        folder, run: as for `write_checkpoint`.
        refused: told, in a line, of each that is torn or of another run; the one before it is tried then.

    Returns:
        None where there is none. All processes read the same one.
    """
    chosen = None
    if rank() == 0:
        for path in _found(folder):
            try:
                check_checkpoint(path, run, world_size())
            except UserError as error:
                refused(str(error))
                continue
            chosen = path.name
            break
    chosen = from_first(chosen)
    if chosen is None:
        return None
    path = folder / chosen
    tensors = load((path / f"{rank()}.safetensors").read_bytes())
    values = json.loads((path / f"{rank()}.json").read_text())
    return _update(path), _nested(values, tensors)


def check_checkpoint(path: Path, run: str, processes: int) -> None:
    """Raise `UserError`, which names the checkpoint, where it is not whole, or not of this run and its processes."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"checkpoint {path}: torn ({MANIFEST} cannot be read)") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"checkpoint {path}: not of format {FORMAT}")
    if manifest.get("run") != run:
        raise UserError(f"checkpoint {path}: of another run ({manifest.get('run')}); this one is {run}")
    if manifest.get("processes") != processes:
        raise UserError(
            f"checkpoint {path}: of {manifest.get('processes')} processes, and this run has {processes}"
        )
    sums = manifest.get("sha256")
    wanted = {f"{each}.{kind}" for each in range(processes) for kind in ("safetensors", "json")}
    if not isinstance(sums, dict) or set(sums) != wanted:
        raise UserError(f"checkpoint {path}: torn (its manifest does not name the files of all processes)")
    for name, digest in sums.items():
        try:
            content = (path / name).read_bytes()
        except OSError as error:
            raise UserError(f"checkpoint {path}: torn ({name} cannot be read)") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise UserError(f"checkpoint {path}: torn ({name} is not what was written)")
        if name.endswith(".safetensors"):
            try:
                load(content)
            except SafetensorError as error:
                raise UserError(f"checkpoint {path}: {name} is not a safetensors file ({error})") from error


def _found(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    paths = [path for path in folder.glob("update-*") if _NAME.fullmatch(path.name)]
    return sorted(paths, key=_update, reverse=True)


def _update(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        # The rename must not reach the disk before the content.
        os.fsync(stream.fileno())


def check_kept(state: Any, whose: str) -> None:
    """Raise a `UserError` where a checkpoint could not hold a state, before there is anything to lose."""
    try:
        _flat(state, "", {})
    except TypeError as error:
        raise UserError(
            f"{whose}.state_dict(){error}; allowed are tensors, numbers, texts, and lists and dictionaries of them"
        ) from error


def _flat(state: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """The state as JSON holds it: dicts as their keys and values, each tensor as its name in `tensors`."""
    if isinstance(state, Tensor):
        # Numbered, for keys may hold a slash: ("a/b", "c") and ("a", "b/c") are two places.
        name = f"{len(tensors)}{where}"
        tensors[name] = state.detach().cpu().clone().contiguous()
        return {_TENSOR: name}
    if isinstance(state, dict):
        for key in state:
            if not (key is None or isinstance(key, (bool, int, float, str))):
                raise TypeError(
                    f"{where}: a key that is a {type(key).__name__} cannot be kept in a checkpoint"
                )
        # Keys may be numbers, which JSON would turn into texts.
        return {"keys": list(state), "values": [_flat(v, f"{where}/{k}", tensors) for k, v in state.items()]}
    if isinstance(state, (list, tuple)):
        return [_flat(value, f"{where}/{i}", tensors) for i, value in enumerate(state)]
    if state is None or isinstance(state, (bool, int, float, str)):
        return state
    raise TypeError(f"{where}: a {type(state).__name__} cannot be kept in a checkpoint")


def _nested(state: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(state, dict) and _TENSOR in state:
        return tensors[state[_TENSOR]]
    if isinstance(state, dict):
        return dict(zip(state["keys"], (_nested(v, tensors) for v in state["values"]), strict=True))
    if isinstance(state, list):
        return [_nested(value, tensors) for value in state]
    return state
