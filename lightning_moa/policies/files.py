"""Policies on disk.

A saved policy is a folder of two files: `policy.safetensors`, what is trained, and `policy.json`, all that is needed to
rebuild and to check it. They do not bear peft's names: stock peft would load such a folder, raise nothing, and silently
leave out what steers the policy. `AdapterPolicy.export` writes what peft can load, at one preference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lightning_moa.errors import UserError
from lightning_moa.policies.vocabulary import agreed
from lightning_moa.run_folders import abandoned, owner
from lightning_moa.task_files import SIDECAR

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TENSORS = "policy.safetensors"
FORMAT = 2
OURS = "lightning_moa.policies."
"""What a saved policy's kind begins with whose class is this package's."""


class PolicyRun(Protocol):
    """What a policy is built from."""

    @property
    def m(self) -> int:
        """Number of objectives."""
        ...

    @property
    def seed(self) -> int: ...

    @property
    def options(self) -> Mapping[str, Any]:
        """What the method says of the policy besides its settings."""
        ...

    @property
    def model(self) -> PreTrainedModel:
        """The base, frozen."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The base's; None in a forecast."""
        ...

    def section(self, name: str) -> Any:
        """The settings of one of the policy's sections, as its dataclass."""
        ...


def kind_of(policy: type) -> str:
    """What a saved policy's class is called: 'module:Class'."""
    return f"{policy.__module__}:{policy.__qualname__}"


def write_policy(
    folder: str | Path,
    kind: type,
    options: Mapping[str, Any],
    state: Mapping[str, torch.Tensor],
    model: PreTrainedModel,
    objectives: Sequence[str],
    base_id: str | None,
) -> None:
    """Write a policy's class, options and trained tensors, with what tells its base; see `Policy.save`."""
    tensors = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    sidecar = {
        "format": FORMAT,
        "kind": kind_of(kind),
        "options": dict(options),
        "objectives": list(objectives),
        "base": fingerprint(model) | {"id": base_id},
        "sha256": hashlib.sha256(tensors).hexdigest(),
    }
    if any(agreed(model).values()):
        # What it was trained with, and a model that is loaded as it was published is not.
        sidecar["agreed"] = agreed(model)
    replace_files(Path(folder), {TENSORS: tensors, SIDECAR: json.dumps(sidecar, indent=2).encode()})


def read_sidecar(folder: str | Path) -> dict[str, Any]:
    """A saved policy's description: kind, options, objectives, base.

    Raises:
        UserError: there is none, or it is not one of ours.
    """
    path = Path(folder) / SIDECAR
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{folder}: no saved policy there ({SIDECAR} cannot be read)") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    expected = {"kind": str, "options": dict, "objectives": list, "base": dict, "sha256": str}
    if not isinstance(sidecar, dict) or sidecar.get("format") != FORMAT:
        raise UserError(f"{path}: not a policy saved in format {FORMAT}")
    for key, kind in expected.items():
        if not isinstance(sidecar.get(key), kind):
            raise UserError(f"{path}: '{key}' is missing or not a {kind.__name__}")
    return sidecar


def read_tensors(folder: Path, sha256: str) -> dict[str, torch.Tensor]:
    """The tensors that a sidecar describes."""
    path = folder / TENSORS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{path}: not the file that {SIDECAR} describes (torn, changed, or of another policy)"
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file ({error})") from error


def fingerprint(model: PreTrainedModel) -> dict[str, Any]:
    """What tells one base architecture from another: its configuration's class, vocabulary, width and
    depth."""
    config = model.config
    return {
        "architecture": type(config).__name__,
        "vocab_size": getattr(config, "vocab_size", None),
        "hidden_size": getattr(config, "hidden_size", None),
        "layers": getattr(config, "num_hidden_layers", None),
    }


def check_base(folder: Path, saved: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise `UserError` where a policy was saved for another base."""
    for key, value in given.items():
        known = saved.get(key)
        if known != value and not (key == "id" and (known is None or value is None)):
            raise UserError(f"{folder}: saved for a base model with {key} {known}; this one has {value}")


def replace_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write each file under a temporary name, then rename them all, the last one last; what a process that was killed
    on the way has left is cleared."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {name: folder / f".{name}.{owner()}" for name in files}
    try:
        for name, content in files.items():
            temporary[name].write_bytes(content)
        for name, path in temporary.items():
            path.replace(folder / name)
            for left in abandoned(folder, f".{name}"):
                left.unlink(missing_ok=True)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
