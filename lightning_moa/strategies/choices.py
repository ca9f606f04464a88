"""The named strategies and precisions, and which of them go together. Light: nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from lightning_moa.errors import UserError

STRATEGIES = ("single", "ddp", "deepspeed_2", "deepspeed_3", "deepspeed_3_offload")
"""One process; replicas that average gradients; ZeRO-2 (optimiser states and gradients are shared out); ZeRO-3 (weights
too); ZeRO-3 with weights and optimiser states in the machine's own memory."""
PRECISIONS = ("fp32", "bf16", "int8", "nf4")
"""Of the base model's weights. What is trained stays in float32 (under DeepSpeed with bf16: its master copy does)."""
OPTIMISERS = ("adamw", "adamw_8bit")

QUANTISED = ("int8", "nf4")
PARTITIONED = ("deepspeed_3", "deepspeed_3_offload")
"""Strategies under which a process holds but its share of every weight."""


def strategy_of(hardware: Mapping[str, Any]) -> str:
    """The strategy's name, where the settings leave it empty too."""
    chosen = hardware["strategy"]
    if chosen is not None:
        return str(chosen)
    return "single" if processes_of(hardware) == 1 else "ddp"


def processes_of(hardware: Mapping[str, Any]) -> int:
    """Processes that train one policy: one for each device."""
    return int(hardware["devices"]) * int(hardware["nodes"])


def trained_whole(hardware: Mapping[str, Any]) -> dict[str, Any]:
    """The settings under which all weights of a model are trained, and not an adapter on a frozen base.

    Quantised weights can't be trained, and AdamW's small steps are lost on weights in bfloat16, which need a master
    copy in float32: on a GPU, unless the precision is fp32, DeepSpeed keeps it, by ZeRO-3 where another strategy was
    chosen (offloaded, on a single GPU). On a CPU they are in float32.
    """
    if hardware["accelerator"] == "cpu":
        return {**hardware, "precision": "fp32"}
    if hardware["precision"] == "fp32":
        return dict(hardware)
    strategy = strategy_of(hardware)
    if not strategy.startswith("deepspeed"):
        strategy = "deepspeed_3_offload" if processes_of(hardware) == 1 else "deepspeed_3"
    return {**hardware, "precision": "bf16", "strategy": strategy}


def check_hardware(hardware: Mapping[str, Any]) -> list[str]:
    """Refuse settings that are known to go wrong; return a line for each that is known to be pointless.

    Args:
        hardware: accelerator, devices, nodes, strategy, precision, optimiser, as in a study's configuration.

    Raises:
        UserError: says what does not go together, and why.
    """
    strategy, processes = strategy_of(hardware), processes_of(hardware)
    precision, accelerator = hardware["precision"], hardware["accelerator"]
    if strategy == "single" and processes > 1:
        raise UserError(
            f"hardware.strategy=single: it has one process, not {processes}; allowed are {', '.join(STRATEGIES[1:])}"
        )
    if strategy in PARTITIONED and precision in QUANTISED:
        raise UserError(
            f"hardware.strategy={strategy} with hardware.precision={precision}: bitsandbytes' weights come out wrong "
            "where ZeRO-3 shares them out (bitsandbytes issue 1451); allowed are bf16 and fp32, or ddp, since a "
            "quantised base fits on each GPU"
        )
    if strategy == "deepspeed_3_offload" and accelerator == "cpu":
        raise UserError(
            "hardware.strategy=deepspeed_3_offload with hardware.accelerator=cpu: there is nothing to offload from; "
            "deepspeed_3 is the same there"
        )
    if strategy == "deepspeed_3_offload" and hardware["optimiser"] == "adamw_8bit":
        raise UserError(
            "hardware.strategy=deepspeed_3_offload with hardware.optimiser=adamw_8bit: its 8-bit states live on the "
            "GPU, which is what offloading takes them off; allowed is adamw"
        )
    return _pointless(strategy, processes, hardware)


def check_installed(hardware: Mapping[str, Any], *, whole: bool = False) -> None:
    """Refuse settings that need a package of the extra `gpu` where it isn't installed. To plan a run needs none.

    Args:
        hardware: as of `check_hardware`.
        whole: all weights of a model are trained at these settings, too (see `trained_whole`).

    Raises:
        UserError: says which setting needs which package, and how it is installed.
    """
    for package, setting in packages_of(hardware, whole=whole):
        require(package, setting)


def packages_of(hardware: Mapping[str, Any], *, whole: bool) -> list[tuple[str, str]]:
    """Packages of the extra `gpu` that compute at settings as `check_installed`'s, each with the setting that asks for
    it."""
    strategy, precision = strategy_of(hardware), hardware["precision"]
    found = []
    if strategy.startswith("deepspeed"):
        found.append(("deepspeed", f"hardware.strategy={strategy}"))
    elif whole and strategy_of(trained_whole(hardware)).startswith("deepspeed"):
        setting = f"hardware.precision={precision} with a reward model that is trained on a GPU"
        found.append(("deepspeed", setting))
    if precision in QUANTISED:
        found.append(("bitsandbytes", f"hardware.precision={precision}"))
    if hardware["optimiser"] == "adamw_8bit":
        found.append(("bitsandbytes", "hardware.optimiser=adamw_8bit"))
    return found


def check_there(hardware: Mapping[str, Any]) -> None:
    """Refuse a GPU, or more of them, where this machine shows none, or fewer. To plan a run needs none.

    Loads torch only where GPUs are asked for.

    Raises:
        UserError: says how many there are.
    """
    if hardware["accelerator"] != "gpu":
        return
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not there:
        raise UserError(
            "hardware.accelerator=gpu: torch finds no GPU here; cpu computes without one, and `moa plan` says what a "
            "GPU would take"
        )
    if there < int(hardware["devices"]):
        raise UserError(f"hardware.devices={hardware['devices']}: torch finds {there} GPU(s) on this machine")


def require(package: str, asked_by: str) -> None:
    """Raise `UserError` where a package of the extra `gpu` isn't installed."""
    if find_spec(package) is None:
        raise UserError(
            f"{asked_by}: needs {package}, which is not installed; pip install lightning_moa[gpu] brings it"
        )


def _pointless(strategy: str, processes: int, hardware: Mapping[str, Any]) -> list[str]:
    found = []
    if strategy == "deepspeed_2":
        found.append(
            "hardware.strategy=deepspeed_2 saves almost nothing here: the frozen base stays whole on each device, and "
            "an adapter's optimiser states are small; ddp is simpler, deepspeed_3 shares out the base"
        )
    if strategy != "single" and strategy != "deepspeed_3_offload" and processes == 1:
        found.append(f"hardware.strategy={strategy} on one device shares nothing out; single does the same")
    if strategy.startswith("deepspeed") and hardware["optimiser"] == "adamw_8bit":
        found.append(
            f"hardware.optimiser=adamw_8bit with hardware.strategy={strategy}: the states are shared out already"
        )
    return found
