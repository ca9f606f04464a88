"""Bytes by kind: quantised weights as transformers stores them, and what each strategy shares out."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from lightning_moa.forecast.memory import (
    BYTES_OF_8BIT_STATE,
    LIVE_PARAMETERS,
    PREFETCHED,
    REDUCE_BUCKET,
    Sizes,
    kv_cache_bytes,
    largest_batch,
    peak,
    resident,
    step_bytes,
    weight_bytes,
)
from lightning_moa.policies import SVDLoRA, build_model
from lightning_moa.strategies.choices import STRATEGIES
from lightning_moa.strategies.quantisation import quantization_config

G = 10**9


def hardware(strategy="single", devices=1, **more):
    start = {"accelerator": "gpu", "nodes": 1, "precision": "bf16", "optimiser": "adamw"}
    return start | {"strategy": strategy, "devices": devices} | more


def small(family="llama"):
    return build_model(family, vocab_size=96, hidden_size=64, layers=2, heads=4, intermediate_size=128)


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("precision", ["bf16", "int8", "nf4"])
def test_weights_are_those_that_transformers_stores(family, precision, tmp_path):
    small(family).save_pretrained(tmp_path)
    settings = quantization_config(precision)
    extra = {} if settings is None else {"quantization_config": settings}
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16, **extra)
    stored = sum(tensor.numel() * tensor.element_size() for tensor in loaded.parameters())
    if precision == "int8":
        stored += sum(4 * each.out_features for each in packed(loaded))
    if precision == "nf4":
        stored += sum(4 * each.weight.quant_state.absmax.numel() for each in packed(loaded))
    counted, numbers = weight_bytes(small(family).to(torch.bfloat16).requires_grad_(False), precision)
    assert counted == stored
    assert numbers == sum(each.numel() for each in small(family).parameters())


def packed(model):
    return [
        each
        for each in model.modules()
        if isinstance(each, torch.nn.Linear) and not each.weight.is_floating_point()
    ]


def test_what_is_trained_is_no_frozen_weight():
    base = small()
    size = sum(each.numel() for each in base.parameters())
    policy = SVDLoRA(base, k=2, m=2, seed=0)
    assert weight_bytes(policy, "fp32") == (4 * size, size)


SIZES = Sizes(frozen=14 * G, trained=25_000_000, frozen_width=2, frozen_numbers=7 * G, own=1000)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("devices", [1, 2, 8])
def test_shares(strategy, devices):
    if strategy == "single" and devices > 1:
        pytest.skip("it has one process")
    kinds, host = resident(SIZES, hardware(strategy, devices))
    own = 4 * 1000
    trained = 4 * SIZES.trained
    if not strategy.startswith("deepspeed"):
        assert kinds["weights"] == SIZES.frozen
        assert kinds["adapter"] == trained + own
        assert kinds["optimiser"] == 2 * (trained + own)
        assert kinds["gradients"] == trained * (2 if strategy == "ddp" else 1) + own
        assert host == 0
    elif strategy == "deepspeed_2":
        assert kinds["weights"] == SIZES.frozen
        assert kinds["optimiser"] == pytest.approx(3 * trained / devices + 2 * own)
        assert kinds["deepspeed"] == 2 * 4 * REDUCE_BUCKET
    elif strategy == "deepspeed_3":
        assert kinds["weights"] == pytest.approx(SIZES.frozen / devices)
        assert kinds["optimiser"] == pytest.approx(2 * trained / devices + 2 * own)
        assert kinds["deepspeed"] == 2 * (LIVE_PARAMETERS + PREFETCHED) + 4 * REDUCE_BUCKET
    else:
        assert kinds["weights"] == 0
        assert host > SIZES.frozen / devices


def test_partitioned_weights_fall_with_devices_and_a_small_model_is_gathered_whole():
    shares = [resident(SIZES, hardware("deepspeed_3", n))[0]["weights"] for n in (2, 4, 8)]
    assert shares == [7 * G, 3.5 * G, 1.75 * G]
    tiny = Sizes(frozen=200, trained=10, frozen_width=2, frozen_numbers=100)
    gathered = resident(tiny, hardware("deepspeed_3", 2, accelerator="cpu"))[0]["deepspeed"]
    assert gathered == 200 + 4 * 10


def test_8bit_states_are_a_quarter():
    kinds, _ = resident(SIZES, hardware(optimiser="adamw_8bit"))
    own = 2 * 4 * SIZES.own
    assert kinds["optimiser"] == SIZES.trained * BYTES_OF_8BIT_STATE + own
    assert kinds["optimiser"] < 0.26 * resident(SIZES, hardware())[0]["optimiser"]
    assert step_bytes(SIZES, hardware(optimiser="adamw_8bit")) == 0


def test_a_whole_model_in_bfloat16():
    whole = Sizes(frozen=0, trained=7 * G, width=2)
    assert resident(whole, hardware())[0]["optimiser"] == 4 * 7 * G  # torch's moments have the weights' type
    shared, _ = resident(whole, hardware("deepspeed_3", 8))
    assert shared["optimiser"] == 12 * 7 * G / 8
    assert shared["adapter"] == 2 * 7 * G / 8


def test_key_value_cache_of_the_published_models():
    from lightning_moa.forecast.architectures import published_config

    for name, kib in {
        "HuggingFaceH4/mistral-7b-sft-beta": 128,
        "PKU-Alignment/alpaca-7b-reproduced": 512,
    }.items():
        config = published_config(name)
        layers = config.num_hidden_layers
        assert kv_cache_bytes(config, 3, 5, 2) == 15 * kib * 1024 * (layers + 1) / layers


def test_peak_is_the_largest_phase_and_not_the_sum():
    phases = {"forward": {"weights": 5.0, "activations": 3.0}, "step": {"weights": 5.0, "optimiser": 2.0}}
    assert peak(phases) == ("forward", phases["forward"])


def test_largest_batch_of_straight_lines():
    def at(rows):
        return {"a": {"weights": 10.0, "activations": 2.0 * rows}, "b": {"weights": 30.0}}

    assert largest_batch(at(4), at(8), 4, 50.0) == 20
    assert largest_batch(at(4), at(8), 4, 29.0) == 0  # what does not grow does not fit
    assert largest_batch(at(4), at(8), 4, 11.0) == 0
    assert largest_batch({"a": {"w": 1.0}}, {"a": {"w": 1.0}}, 4, 2.0) == 4
