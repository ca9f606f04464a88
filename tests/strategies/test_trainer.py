"""Hardware settings as Lightning's Trainer gets them, and what a strategy does to the types of weights."""

from __future__ import annotations

import os
import time
from dataclasses import asdict

import pytest
import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.plugins.precision import DeepSpeedPrecision
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy

from lightning_moa.config.options import HardwareConfig
from lightning_moa.errors import UserError
from lightning_moa.strategies.choices import PRECISIONS
from lightning_moa.strategies.trainer import (
    AsTheyAre,
    CPUDeepSpeed,
    deepspeed_config,
    refuse_dead_build,
    trainer_options,
)


def hardware(**changes):
    return asdict(HardwareConfig()) | changes


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_NAME", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_one_process_is_left_to_lightning(accelerator, precision):
    """Lightning's precisions convert or autocast whole modules: none is used, whatever the base's."""
    found = trainer_options(hardware(accelerator=accelerator, precision=precision))
    assert found == {
        "accelerator": accelerator,
        "devices": 1,
        "num_nodes": 1,
        "strategy": "auto",
        "precision": "32-true",
    }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("accelerator", "backend"), [("cpu", "gloo"), ("gpu", "nccl")])
def test_ddp(accelerator, backend, precision):
    found = trainer_options(hardware(accelerator=accelerator, precision=precision, devices=2, nodes=3))
    assert type(found["strategy"]) is DDPStrategy
    assert found["strategy"]._process_group_backend == backend
    assert (found["devices"], found["num_nodes"], found["precision"]) == (2, 3, "32-true")


@pytest.mark.parametrize(
    ("strategy", "stage", "offloaded"),
    [("deepspeed_2", 2, False), ("deepspeed_3", 3, False), ("deepspeed_3_offload", 3, True)],
)
@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_deepspeed(accelerator, strategy, stage, offloaded):
    given = hardware(accelerator=accelerator, devices=2, strategy=strategy)
    found = trainer_options(given, grad_clip=0.3)
    made = found["strategy"]
    assert "precision" not in found, "a plugin has it"
    assert isinstance(made, DeepSpeedStrategy)
    assert isinstance(made, CPUDeepSpeed) is (accelerator == "cpu")
    assert isinstance(made.precision_plugin, AsTheyAre)
    assert made.precision_plugin.precision == "32-true"
    config, zero = made.config, made.config["zero_optimization"]
    assert zero["stage"] == stage
    assert zero["overlap_comm"] is (accelerator == "gpu")
    offload = {"device": "cpu", "pin_memory": True} if offloaded else None
    assert zero.get("offload_optimizer") == zero.get("offload_param") == offload
    # DeepSpeed steps by itself, and clips where it is told to.
    assert config["gradient_clipping"] == 0.3
    assert config["managed_gradient_accumulation"] is False
    # torch's own AdamW, and no compiler.
    assert config["zero_allow_untested_optimizer"] is True
    assert config["zero_force_ds_cpu_optimizer"] is False
    assert "bf16" not in config
    assert "fp16" not in config


def test_small_weights_are_shared_out_too_where_runs_are_tried_out():
    assert (
        deepspeed_config("deepspeed_3", 0.0, cpu=True)["zero_optimization"][
            "stage3_param_persistence_threshold"
        ]
        == 0
    )
    assert (
        "stage3_param_persistence_threshold"
        not in deepspeed_config("deepspeed_3", 0.0, cpu=False)["zero_optimization"]
    )


@pytest.mark.parametrize("precision", [each for each in PRECISIONS if each != "fp32"])
@pytest.mark.parametrize(
    ("devices", "strategy", "offloaded"),
    [
        (1, None, True),
        (2, None, False),
        (2, "ddp", False),
        (2, "deepspeed_2", False),
        (2, "deepspeed_3", False),
        (1, "deepspeed_3_offload", True),
    ],
)
def test_whole_weights_in_fewer_bits_have_a_master_copy(devices, strategy, offloaded, precision):
    """AdamW's steps are lost in bfloat16: on a GPU, DeepSpeed keeps what is stepped in float32."""
    given = hardware(accelerator="gpu", precision=precision, devices=devices, strategy=strategy)
    made = trainer_options(given, whole=True)["strategy"]
    assert isinstance(made, DeepSpeedStrategy)
    assert type(made.precision_plugin) is DeepSpeedPrecision
    assert made.precision_plugin.precision == "bf16-true"
    zero = made.config["zero_optimization"]
    assert zero["stage"] == (2 if strategy == "deepspeed_2" else 3)
    assert ("offload_optimizer" in zero) is offloaded


@pytest.mark.parametrize(
    ("accelerator", "precision"), [*(("cpu", each) for each in PRECISIONS), ("gpu", "fp32")]
)
def test_whole_weights_are_in_float32_on_a_cpu_and_where_it_is_asked_for(accelerator, precision):
    one = trainer_options(hardware(accelerator=accelerator, precision=precision), whole=True)
    assert (one["strategy"], one["precision"]) == ("auto", "32-true")
    shared = hardware(accelerator=accelerator, precision=precision, devices=2, strategy="deepspeed_3")
    assert isinstance(trainer_options(shared, whole=True)["strategy"].precision_plugin, AsTheyAre)


def test_slurms_signals_are_not_lightnings(monkeypatch):
    """Its handlers write a pickle of the whole model and queue the job again by themselves."""
    assert "plugins" not in trainer_options(hardware())
    for name, value in {
        "SLURM_PROCID": "0",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_JOB_NAME": "moa",
    }.items():
        monkeypatch.setenv(name, value)
    (plugin,) = trainer_options(hardware(devices=2))["plugins"]
    assert isinstance(plugin, SLURMEnvironment)
    assert plugin.auto_requeue is False


def test_weights_and_inputs_stay_in_their_types():
    module = torch.nn.Sequential(
        torch.nn.Linear(2, 2, dtype=torch.bfloat16), torch.nn.Linear(2, 2, dtype=torch.float32)
    )
    plugin = AsTheyAre("32-true")
    assert plugin.convert_module(module) is module
    assert [each.weight.dtype for each in module] == [torch.bfloat16, torch.float32]
    values = {"ids": torch.ones(2, dtype=torch.int64), "x": torch.ones(2, dtype=torch.bfloat16)}
    assert plugin.convert_input(values) is values
    with plugin.forward_context(), plugin.module_init_context():
        assert torch.ones(2).dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("root", ["named", "torch's own"])
def test_a_lock_that_a_killed_build_left_is_named_and_one_at_work_is_waited_for(tmp_path, monkeypatch, root):
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    if root == "named":
        monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    else:
        monkeypatch.setattr("torch.utils.cpp_extension.get_default_build_root", lambda: str(tmp_path))
    refuse_dead_build()
    lock = tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    refuse_dead_build()
    os.utime(lock, (time.time() - 700,) * 2)
    with pytest.raises(UserError, match=f"^{lock}: "):
        refuse_dead_build()
