"""Operations against counts of real products, and hours against hand arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lightning_moa.errors import UserError
from lightning_moa.forecast.flops import (
    GPUS,
    Gpu,
    Work,
    attention,
    decoding,
    forward,
    gpu_named,
    network_of,
    training,
)
from lightning_moa.policies import LoRA, Policy, build_model
from lightning_moa.policies.full import FullWeights

ROWS, TIME = 2, 32


def policy(family="llama", adapted=True):
    model = build_model(
        family, vocab_size=200, hidden_size=512, layers=3, heads=8, intermediate_size=1024, max_positions=64
    )
    return LoRA(model, 4, seed=0, targets="layers.") if adapted else Policy(model)


def counted(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def tokens():
    return torch.zeros(ROWS, TIME, dtype=torch.long), torch.ones(ROWS, TIME, dtype=torch.bool)


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_forward_is_what_torch_counts(family):
    network = policy(family)
    with torch.no_grad():
        measured = counted(lambda: network(*tokens()))
    # torch counts attention's whole square; half of it is masked.
    whole = forward(network_of(network.model), ROWS, TIME) + attention(network_of(network.model), ROWS, TIME)
    assert measured == pytest.approx(whole, rel=0.02)


def test_going_back_through_frozen_weights_costs_half_of_trained_ones():
    frozen, trained = policy(), policy(adapted=False)
    measured = {}
    for name, network in (("frozen", frozen), ("trained", trained)):
        measured[name] = counted(lambda network=network: network(*tokens()).sum().backward())
        estimate = training(network_of(network.model), ROWS, TIME, None, False)
        assert measured[name] == pytest.approx(estimate, rel=0.06)
    assert measured["frozen"] < 0.75 * measured["trained"]


def test_recomputing_adds_a_forward_pass_without_the_head():
    network = network_of(policy().model)
    extra = training(network, ROWS, TIME, None, True) - training(network, ROWS, TIME, None, False)
    assert extra == forward(network, ROWS, TIME, 0)


def test_embeddings_cost_nothing_and_a_tied_head_is_counted_once():
    network = network_of(policy(adapted=False).model)
    assert network.trained_head == 200 * 512
    assert network.trained == 3 * (4 * 512 * 512 + 3 * 512 * 1024)


def test_decoding_forms_each_token_once():
    network = network_of(policy().model)
    new = decoding(network, 1, 1, 16)
    assert new == pytest.approx(16 * forward(network, 1, 1), rel=0.05)


def test_hours():
    gpu = Gpu(100.0, 10.0, 1, "")
    assert Work(360_000.0).hours(gpu, 2, 0.5) == 1.0
    # What decoding reads takes longer than what it computes.
    assert Work(180_000.0, 36_000.0, 180_000.0).hours(gpu, 1, 1.0) == 1.0
    both = Work(360_000.0) + Work(180_000.0, 36_000.0, 180_000.0)
    assert both.times(2).hours(gpu, 1, 1.0) == 4.0


def test_gpus_have_their_published_peaks():
    assert GPUS["h100"].flops == 989e12
    assert GPUS["a800"].flops == GPUS["a100"].flops == 312e12
    with pytest.raises(UserError, match="gpu_type=b9: allowed are h100"):
        gpu_named("b9")


def test_full_fine_tuning_multiplies_by_each_matrix_once():
    plain = network_of(policy(adapted=False).model)
    full = network_of(FullWeights(policy(adapted=False).model).model)
    assert (full.trained, full.trained_head) == (plain.trained, plain.trained_head)
    assert (full.body, full.head) == (0, 0)
