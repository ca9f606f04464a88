"""Precisions' names, AdamW in 8 bits, and what must not be imported or used."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_moa.errors import UserError
from lightning_moa.strategies.choices import PRECISIONS
from lightning_moa.strategies.quantisation import adamw, base_dtype, quantization_config

REPOSITORY = Path(__file__).resolve().parents[2]


def test_what_a_precision_means():
    assert {name: base_dtype(name) for name in PRECISIONS} == {
        "fp32": "float32",
        "bf16": "bfloat16",
        "int8": "bfloat16",
        "nf4": "bfloat16",
    }
    assert quantization_config("fp32") is quantization_config("bf16") is None
    assert quantization_config("int8").load_in_8bit
    four = quantization_config("nf4")
    assert (four.load_in_4bit, four.bnb_4bit_quant_type, four.bnb_4bit_compute_dtype) == (
        True,
        "nf4",
        torch.bfloat16,
    )


@pytest.mark.parametrize("call", [base_dtype, quantization_config])
def test_refuses_a_precision_that_is_none(call):
    with pytest.raises(UserError, match="precision=fp8: allowed are fp32, bf16, int8, nf4"):
        call("fp8")


class Regression:
    """64 linear functions of 128 inputs: a weight that is large enough for 8-bit states, and a bias that is not."""

    def __init__(self, kind: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(256, 128, generator=generator)
        self.targets = self.inputs @ torch.randn(128, 64, generator=generator)
        self.net = nn.Linear(128, 64)
        with torch.no_grad():
            self.net.weight.zero_()
            self.net.bias.zero_()
        self.optimiser = adamw(kind, self.net.parameters(), lr=0.03, betas=(0.9, 0.95), weight_decay=0.01)

    def train(self, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            self.optimiser.zero_grad()
            loss = (self.net(self.inputs) - self.targets).square().mean()
            loss.backward()
            self.optimiser.step()
            losses.append(loss.item())
        return losses


def test_adamw_in_8_bits_is_close_to_adamw():
    full, eight = Regression("adamw"), Regression("adamw_8bit")
    wanted, found = full.train(60), eight.train(60)
    assert wanted[-1] < 0.05 * wanted[0]
    assert found == pytest.approx(wanted, rel=0.05)
    assert found != wanted
    assert eight.net.weight.dtype == torch.float32


def test_only_large_tensors_have_states_in_8_bits():
    eight = Regression("adamw_8bit")
    eight.train(1)
    weight, bias = (eight.optimiser.state[each] for each in (eight.net.weight, eight.net.bias))
    assert weight["state1"].dtype == weight["state2"].dtype == torch.uint8
    assert bias["state1"].dtype == bias["state2"].dtype == torch.float32


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit"])
def test_states_go_to_disk_and_back(kind):
    first, second = Regression(kind), Regression(kind)
    first.train(10)
    file = io.BytesIO()
    torch.save({"optimiser": first.optimiser.state_dict(), "net": first.net.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second.net.load_state_dict(saved["net"])
    second.optimiser.load_state_dict(saved["optimiser"])
    assert second.train(10) == first.train(10)
    assert torch.equal(second.net.weight, first.net.weight)


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit"])
def test_adamws_settings_arrive(kind):
    parameter = nn.Parameter(torch.ones(3))
    optimiser = adamw(kind, [parameter], lr=0.1, betas=(0.8, 0.9), weight_decay=0.5)
    group = optimiser.param_groups[0]
    assert (group["lr"], tuple(group["betas"]), group["weight_decay"]) == (0.1, (0.8, 0.9), 0.5)
    parameter.grad = torch.tensor([2.0, -2.0, 0.5])
    optimiser.step()
    # The first step is lr times the gradient's sign, after the weight's own decay by lr * weight_decay.
    torch.testing.assert_close(parameter.detach(), torch.tensor([0.85, 1.05, 0.85]))


def test_refuses_an_optimiser_that_is_none():
    with pytest.raises(UserError, match="optimiser=sgd: allowed are adamw, adamw_8bit"):
        adamw("sgd", [nn.Parameter(torch.ones(1))], lr=0.1, betas=(0.9, 0.95), weight_decay=0.0)


def test_bitsandbytes_is_imported_only_where_it_is_asked_for():
    """Its import costs seconds; here a policy is trained, saved and loaded first."""
    script = """
import sys, tempfile
import lightning_moa.methods.base, lightning_moa.rewards, lightning_moa.runs.loading
from lightning_moa.strategies.quantisation import adamw, base_dtype, quantization_config
from tests.policies.models import shake, tiny, tokens
from lightning_moa.policies import SVDLoRA, load_model, load_policy, save_model
given = {"lr": 0.1, "betas": (0.9, 0.95), "weight_decay": 0.0}
with tempfile.TemporaryDirectory() as folder:
    save_model(tiny(), folder)
    for precision in ("fp32", "bf16"):
        config = quantization_config(precision)
        policy = shake(SVDLoRA(load_model(folder, dtype=base_dtype(precision), quantization_config=config), 2))
        optimiser = adamw("adamw", policy.trainable_parameters(), **given)
        policy(*tokens()).sum().backward()
        optimiser.step()
        policy.save(folder + "/policy")
        load_policy(policy.unload(), folder + "/policy")
print("bitsandbytes" in sys.modules)
adamw("adamw_8bit", policy.trainable_parameters(), **given)
print("bitsandbytes" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["False", "True"]


def test_lightnings_own_quantisation_is_not_used():
    """It refuses a CPU, wants float16, and keeps float16 weights where 8-bit ones are trained on."""
    sources = [
        path for room in ("lightning_moa", "experiments") for path in (REPOSITORY / room).rglob("*.py")
    ]
    assert len(sources) > 100
    users = [path for path in sources if "BitsandbytesPrecision" in path.read_text(encoding="utf-8")]
    assert users == []
