"""Which hardware settings go together."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import asdict

import pytest

from lightning_moa.config.options import HardwareConfig
from lightning_moa.errors import UserError
from lightning_moa.strategies.choices import (
    OPTIMISERS,
    PRECISIONS,
    STRATEGIES,
    check_hardware,
    processes_of,
    strategy_of,
)


def hardware(**changes):
    return asdict(HardwareConfig()) | {"accelerator": "gpu"} | changes


@pytest.mark.parametrize(
    ("devices", "nodes", "chosen", "expected"),
    [
        (1, 1, None, "single"),
        (2, 1, None, "ddp"),
        (1, 3, None, "ddp"),
        (1, 1, "ddp", "ddp"),
        (4, 2, "deepspeed_3", "deepspeed_3"),
    ],
)
def test_an_empty_strategy_follows_the_devices(devices, nodes, chosen, expected):
    given = hardware(devices=devices, nodes=nodes, strategy=chosen)
    assert strategy_of(given) == expected
    assert processes_of(given) == devices * nodes


def test_the_defaults_go_together():
    assert check_hardware(asdict(HardwareConfig())) == []


@pytest.mark.parametrize("size", [{"devices": 2}, {"nodes": 2}])
def test_single_has_one_process(size):
    with pytest.raises(UserError, match=r"strategy=single: it has one process, not 2; allowed are ddp, "):
        check_hardware(hardware(strategy="single", **size))


@pytest.mark.parametrize("precision", ["int8", "nf4"])
@pytest.mark.parametrize("strategy", ["deepspeed_3", "deepspeed_3_offload"])
def test_quantised_weights_are_not_shared_out(strategy, precision):
    with pytest.raises(UserError, match=r"bitsandbytes issue 1451.*allowed are bf16 and fp32, or ddp"):
        check_hardware(hardware(strategy=strategy, precision=precision, devices=2))


def test_a_cpu_has_nothing_to_offload_from():
    with pytest.raises(UserError, match="nothing to offload from"):
        check_hardware(hardware(strategy="deepspeed_3_offload", accelerator="cpu", devices=2))


def test_8_bit_states_are_not_offloaded():
    with pytest.raises(UserError, match=r"adamw_8bit.*allowed is adamw"):
        check_hardware(hardware(strategy="deepspeed_3_offload", optimiser="adamw_8bit", devices=2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strategy": "deepspeed_2", "devices": 2}, ["saves almost nothing here"]),
        ({"strategy": "deepspeed_2"}, ["saves almost nothing here", "on one device shares nothing out"]),
        ({"strategy": "ddp"}, ["on one device shares nothing out"]),
        ({"strategy": "deepspeed_3"}, ["on one device shares nothing out"]),
        # The machine's own memory is there for one GPU too.
        ({"strategy": "deepspeed_3_offload"}, []),
        ({"strategy": "deepspeed_3", "devices": 2, "optimiser": "adamw_8bit"}, ["shared out already"]),
        ({"strategy": "ddp", "devices": 8, "optimiser": "adamw_8bit"}, []),
    ],
)
def test_says_what_is_pointless(changes, said):
    lines = check_hardware(hardware(**changes))
    assert len(lines) == len(said)
    assert all(words in line for words, line in zip(said, lines, strict=True))


def test_every_combination_is_refused_in_one_line_or_allowed():
    refused = 0
    for strategy, precision, optimiser, devices, accelerator in itertools.product(
        (None, *STRATEGIES), PRECISIONS, OPTIMISERS, (1, 2), ("cpu", "gpu")
    ):
        given = hardware(
            strategy=strategy,
            precision=precision,
            optimiser=optimiser,
            devices=devices,
            accelerator=accelerator,
        )
        try:
            lines = check_hardware(given)
        except UserError as error:
            refused += 1
            lines = [str(error)]
        assert all(line.startswith("hardware.") and "\n" not in line for line in lines)
    assert 0 < refused < len(STRATEGIES) * len(PRECISIONS) * len(OPTIMISERS) * 4


def test_needs_no_torch():
    modules = "lightning_moa.strategies.choices, lightning_moa.strategies.launching"
    script = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
