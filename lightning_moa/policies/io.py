"""Policies on disk.

A saved policy is a folder of two files: `policy.safetensors`, the adapter's tensors, and `policy.json`, all
that is needed to rebuild and to check it. They do not bear peft's names: stock peft would load such a folder,
raise nothing, and silently leave out what steers the policy. `export_policy` writes what peft can load, at
one preference.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lightning_moa.errors import UserError
from lightning_moa.policies.adapter import AdapterPolicy
from lightning_moa.policies.heads import Heads
from lightning_moa.policies.lora import LoRA
from lightning_moa.policies.soup import RewardedSoup
from lightning_moa.policies.svd_lora import SVDLoRA

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TENSORS = "policy.safetensors"
SIDECAR = "policy.json"
FORMAT = 1


def save_policy(
    policy: AdapterPolicy, folder: str | Path, *, objectives: Sequence[str] = (), base_id: str | None = None
) -> None:
    """Write a policy's adapter, not its base.

    Args:
        policy: LoRA, Heads, SVDLoRA or RewardedSoup.
        folder: made if missing; a policy that it holds already is replaced.
        objectives: the preference's names, in order; one for each of the policy's m values, or none. A policy
            with m = 0 may name whatever it was trained on.
        base_id: the caller's name for the base weights, compared on loading where both are given.
    """
    if objectives and policy.m and len(objectives) != policy.m:
        raise UserError(
            f"objectives={list(objectives)}: this policy is steered by {policy.m} values; name each"
        )
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.adapter_state().items()}
    tensors = save(state)
    sidecar = {
        "format": FORMAT,
        "kind": type(policy).__name__,
        "options": policy.options(),
        "targets": policy.targets,
        "objectives": list(objectives),
        "base": fingerprint(policy.model) | {"id": base_id},
        "sha256": hashlib.sha256(tensors).hexdigest(),
    }
    _replace(Path(folder), {TENSORS: tensors, SIDECAR: json.dumps(sidecar, indent=2).encode()})


def load_policy(model: PreTrainedModel, folder: str | Path, *, base_id: str | None = None) -> AdapterPolicy:
    """Rebuild a saved policy on its base model, which is changed in place.

    Raises:
        UserError: no policy there, a file that is torn, changed or of another kind, another base architecture
            or `base_id`, or tensors that do not fit what the sidecar describes. The model is left as it was.
    """
    folder = Path(folder)
    sidecar = read_sidecar(folder)
    _check_base(folder, sidecar["base"], fingerprint(model) | {"id": base_id})
    state = _read_tensors(folder, sidecar["sha256"])
    try:
        policy = _BUILDERS[sidecar["kind"]](model, sidecar["targets"], sidecar["options"])
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{folder / SIDECAR}: options do not describe a {sidecar['kind']}: {error}"
        ) from error
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
    try:
        policy.load_adapter_state(state)
    except UserError as error:
        policy.unload()
        raise UserError(f"{folder}: {error}") from error
    return policy


def read_sidecar(folder: str | Path) -> dict[str, Any]:
    """A saved policy's description: kind, options, targets, objectives, base.

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
    expected = {
        "kind": str,
        "options": dict,
        "targets": list,
        "objectives": list,
        "base": dict,
        "sha256": str,
    }
    if not isinstance(sidecar, dict) or sidecar.get("format") != FORMAT:
        raise UserError(f"{path}: not a policy saved in format {FORMAT}")
    for key, kind in expected.items():
        if not isinstance(sidecar.get(key), kind):
            raise UserError(f"{path}: '{key}' is missing or not a {kind.__name__}")
    if sidecar["kind"] not in _BUILDERS:
        raise UserError(f"{path}: kind {sidecar['kind']}: allowed are {', '.join(sorted(_BUILDERS))}")
    return sidecar


def export_policy(policy: AdapterPolicy, preference: torch.Tensor | None, folder: str | Path) -> None:
    """Write the policy at one preference, (m,), as a vanilla LoRA that stock `peft.PeftModel.from_pretrained`
    loads.

    The gate is folded into A, so B A is the policy's exact update.

    Raises:
        UserError: as for `AdapterPolicy.fixed`.
    """
    from peft import LoraConfig

    tensors = {}
    with torch.no_grad(), policy.fixed(preference):
        for name, layer in policy.layers.items():
            gate = layer.gate(policy.steering.preference)
            prefix = f"base_model.model.{name}"
            tensors[f"{prefix}.lora_A.weight"] = (gate[:, None] * layer.lora_A).cpu().contiguous()
            tensors[f"{prefix}.lora_B.weight"] = layer.lora_B.detach().cpu().contiguous()
    rank = len(next(iter(policy.layers.values())).lora_A)
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=policy.targets, task_type="CAUSAL_LM", inference_mode=True
    ).to_dict()
    config["target_modules"] = policy.targets
    files = {
        "adapter_model.safetensors": save(tensors, metadata={"format": "pt"}),
        "adapter_config.json": json.dumps(config, indent=2, default=str).encode(),
    }
    _replace(Path(folder), files)


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


def _check_base(folder: Path, saved: dict[str, Any], given: dict[str, Any]) -> None:
    for key, value in given.items():
        known = saved.get(key)
        if known != value and not (key == "id" and (known is None or value is None)):
            raise UserError(f"{folder}: saved for a base model with {key} {known}; this one has {value}")


def _read_tensors(folder: Path, sha256: str) -> dict[str, torch.Tensor]:
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


def _replace(folder: Path, files: dict[str, bytes]) -> None:
    """Write each file under a temporary name, then rename them all, the last one last."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {name: folder / f".{name}.{os.getpid()}.tmp" for name in files}
    try:
        for name, content in files.items():
            temporary[name].write_bytes(content)
        for name, path in temporary.items():
            path.replace(folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def _build_soup(model: PreTrainedModel, targets: list[str], options: dict[str, Any]) -> AdapterPolicy:
    linears = dict(model.named_modules())
    missing = [name for name in targets if not isinstance(linears.get(name), torch.nn.Linear)]
    if missing:
        raise UserError(f"targets: {missing[0]} is no linear layer of {type(model).__name__}")

    def blank(rank: int, linear: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(rank, linear.in_features), torch.zeros(linear.out_features, rank)  # type: ignore[call-overload]

    return RewardedSoup(
        model, [{name: blank(rank, linears[name]) for name in targets} for rank in options["ranks"]]
    )


_BUILDERS: dict[str, Callable[[PreTrainedModel, list[str], dict[str, Any]], AdapterPolicy]] = {
    "Heads": lambda model, targets, options: Heads(model, targets=targets, **options),
    "LoRA": lambda model, targets, options: LoRA(model, targets=targets, **options),
    "SVDLoRA": lambda model, targets, options: SVDLoRA(model, targets=targets, **options),
    "RewardedSoup": _build_soup,
}
