"""A run's hardware settings as Lightning's Trainer wants them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.plugins.precision import DeepSpeedPrecision
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy

from lightning_moa.errors import UserError
from lightning_moa.strategies.choices import require, strategy_of, trained_whole
from lightning_moa.strategies.launching import local_rank, under_srun

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments import ClusterEnvironment
    from lightning.pytorch.strategies import Strategy
    from torch import Tensor, nn

BUILT = "deepspeed_shm_comm"
"""What DeepSpeed compiles for processes of a machine without a GPU."""
LONGEST_BUILD = 600.0
"""Seconds; it takes one minute or so."""


def trainer_options(
    hardware: Mapping[str, Any], *, grad_clip: float = 0.0, whole: bool = False
) -> dict[str, Any]:
    """Keyword arguments for `lightning.Trainer`.

    Args:
        hardware: a study's hardware settings, checked by `choices.check_hardware`.
        grad_clip: largest norm of an update's gradient, 0 for none. DeepSpeed must know it, since it steps by itself.
        whole: all weights are trained, and not an adapter on a frozen base (see `choices.trained_whole`).
    """
    if whole:
        hardware = trained_whole(hardware)
    strategy = strategy_of(hardware)
    narrow = whole and hardware["precision"] != "fp32"
    options: dict[str, Any] = {
        "accelerator": hardware["accelerator"],
        "devices": hardware["devices"],
        "num_nodes": hardware["nodes"],
    }
    if under_srun():
        # Checkpoints and requeueing are this package's; Lightning's would pickle the whole model.
        options["plugins"] = [SLURMEnvironment(auto_requeue=False)]
    if strategy.startswith("deepspeed"):
        return options | {"strategy": _deepspeed(hardware, strategy, grad_clip, narrow)}
    # A frozen base in bfloat16 or 8 bits under an adapter in float32 is no case for Lightning's precisions, which
    # convert modules or wrap them in autocast: the layers themselves know their types.
    return options | {"strategy": _plain(hardware, strategy), "precision": "32-true"}


def _plain(hardware: Mapping[str, Any], strategy: str) -> Strategy | str:
    if strategy == "single":
        return "auto"
    backend = "gloo" if hardware["accelerator"] == "cpu" else "nccl"
    return DDPStrategy(process_group_backend=backend)


def _deepspeed(hardware: Mapping[str, Any], strategy: str, grad_clip: float, narrow: bool) -> Strategy:
    require("deepspeed", f"strategy={strategy}")
    cpu = hardware["accelerator"] == "cpu"
    kind = CPUDeepSpeed if cpu else DeepSpeedStrategy
    made: Strategy = kind(
        config=deepspeed_config(strategy, grad_clip, cpu),
        precision_plugin=DeepSpeedPrecision("bf16-true") if narrow else AsTheyAre("32-true"),
        process_group_backend="gloo" if cpu else "nccl",
    )
    return made


def join_started(accelerator: str) -> None:
    """Let the processes that torchrun or srun has started find each other, before the first of them trains: what is
    done between trainings is shared out too."""
    if torch.distributed.is_initialized():
        return
    environment: ClusterEnvironment = SLURMEnvironment() if under_srun() else TorchElasticEnvironment()
    # Lightning sets these for its own processes; it and DeepSpeed take over a group that is there.
    os.environ.setdefault("MASTER_ADDR", environment.main_address)
    os.environ.setdefault("MASTER_PORT", str(environment.main_port))
    if accelerator == "gpu":
        torch.cuda.set_device(local_rank())
    torch.distributed.init_process_group(
        "gloo" if accelerator == "cpu" else "nccl",
        rank=environment.global_rank(),
        world_size=environment.world_size(),
    )


def deepspeed_config(strategy: str, grad_clip: float, cpu: bool) -> dict[str, Any]:
    """DeepSpeed's own configuration of a named strategy."""
    zero: dict[str, Any] = {
        "stage": 2 if strategy == "deepspeed_2" else 3,
        "contiguous_gradients": True,
        "overlap_comm": not cpu,
    }
    if cpu:
        # By default small weights stay whole, which in a trial run would be all of them.
        zero["stage3_param_persistence_threshold"] = 0
    if strategy == "deepspeed_3_offload":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "gradient_clipping": grad_clip,
        # An update may be made of several backward passes; it is due when the optimiser is stepped.
        "managed_gradient_accumulation": False,
        # Only for DeepSpeed's own report of throughput.
        "train_micro_batch_size_per_gpu": 1,
        "zero_allow_untested_optimizer": True,
        # DeepSpeed's own Adam for offloaded states is compiled on the user's machine; torch's needs no compiler.
        "zero_force_ds_cpu_optimizer": False,
    }


class AsTheyAre(DeepSpeedPrecision):
    """Leaves each weight and each input in the type that it has: a base in bfloat16, what is trained in float32."""

    def convert_module(self, module: nn.Module) -> nn.Module:
        import deepspeed

        for each in module.modules():
            if getattr(each, "gathered_whole", False):
                for parameter in each.parameters():
                    deepspeed.zero.register_external_parameter(each, parameter)
        return module

    def convert_input(self, data: Any) -> Any:
        return data

    def backward(self, tensor: Tensor, model: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        # DeepSpeed counts backward passes by the forward passes of the whole module, of which a training step, with
        # all its updates, is but one: without this, ZeRO-3 keeps the last gradient of an update instead of their sum.
        model.trainer.model.optimizer.clear_backward_seen_flag()
        super().backward(tensor, model, optimizer, *args, **kwargs)


class CPUDeepSpeed(DeepSpeedStrategy):
    """ZeRO on the processes of a machine without a GPU, over gloo: to try a run out before renting one."""

    def setup_environment(self) -> None:
        assert self.accelerator is not None
        self.accelerator.setup_device(self.root_device)
        self.setup_distributed()

    def setup_distributed(self) -> None:
        refuse_dead_build()
        self.set_world_ranks()
        self._init_deepspeed_distributed()

    @property
    def root_device(self) -> torch.device:
        # With an index, which DeepSpeed asks for.
        return torch.device("cpu", 0)


def refuse_dead_build() -> None:
    """Name what would be waited for without end: DeepSpeed compiles its exchange between processes on first use, and a
    start that is killed meanwhile leaves a lock behind.

    Raises:
        UserError: a lock that is older than any such build takes.
    """
    # Here, since it loads setuptools.
    from torch.utils.cpp_extension import get_default_build_root

    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    for lock in root.rglob(f"{BUILT}/lock"):
        if time.time() - lock.stat().st_mtime > LONGEST_BUILD:
            raise UserError(
                f"{lock}: another start is compiling DeepSpeed's operations, or was killed while it did; where none is "
                "at it, remove that file"
            )
