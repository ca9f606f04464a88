"""The meter's count of bytes against tensors made by hand, and against what autograd really keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_moa.forecast import metering
from lightning_moa.forecast.architectures import meta_model
from lightning_moa.forecast.metering import Meter, blocks_of, count_fused_attention, marking
from lightning_moa.policies import SVDLoRA, build_model


def meta(*shape, **kind):
    return torch.empty(*shape, device="meta", **kind)


def test_bytes_alive_and_their_peak():
    given = meta(100)
    with Meter() as meter:
        view = given.view(10, 10).T
        assert meter.live == 0
        first = given + 1
        second = first * 2
        assert meter.live == 800
        del first
        assert meter.live == 400
        assert (meter.peak(), meter.peak()) == (800, 400)
        del second, view
        assert meter.live == 0


def test_what_was_worked_out_before_counts_the_same(monkeypatch):
    """Of operations that share storage with their input too, such as the view inside a product of three dimensions."""

    def run():
        weight = meta(8, 8, requires_grad=True)
        with Meter() as meter:
            hidden = meta(4, 3, 8)
            for _ in range(2):
                hidden = torch.nn.functional.gelu(hidden @ weight).softmax(-1)
            hidden.max(-1).values.sum().backward()
            return meter.peak(), meter.live, weight.grad.shape, weight.grad.stride()

    monkeypatch.setattr(metering, "shapes_alone", lambda function, args, kwargs: function(*args, **kwargs))
    expected = run()
    monkeypatch.undo()
    monkeypatch.setattr(metering, "_OUTPUTS", {})
    first = run()
    known = len(metering._OUTPUTS)
    assert [first, run()] == [expected, expected]
    assert len(metering._OUTPUTS) == known > 3


def test_arguments_are_told_apart_by_type_and_shape(monkeypatch):
    monkeypatch.setattr(metering, "_OUTPUTS", {})
    with Meter():
        number = meta(4, dtype=torch.int64)
        kinds = [(number * value).dtype for value in (1, 1.0, True, 1)]
        shapes = [
            tuple(meta(*shape).sum(-1, keepdim=keep).shape)
            for shape in ((2, 3), (3, 2))
            for keep in (False, True)
        ]
    assert kinds == [torch.int64, torch.float32, torch.int64, torch.int64]
    assert shapes == [(2,), (2, 1), (3,), (3, 1)]


def test_what_writes_into_its_input_is_that_input_and_is_tried_but_once(monkeypatch):
    monkeypatch.setattr(metering, "_OUTPUTS", {})
    with Meter() as meter:
        for _ in range(2):
            first, second = meta(4, 8), meta(4, 8)
            before = meter.live
            assert first.add_(second).exp_() is first
            assert meter.live == before
            with pytest.raises(RuntimeError):
                first.addmm_(meta(4, 3), meta(2, 8))
            # What changes its shape or its memory is not remembered.
            assert first.t_().shape == (8, 4)
            assert first.resize_(2, 2).shape == (2, 2)
            assert first.resize_(16, 2).untyped_storage().nbytes() == 4 * 32
    assert sorted(
        function._schema.name for function, *_ in metering._OUTPUTS if function._schema.is_mutable
    ) == [
        *("aten::add_", "aten::exp_"),
    ]


def test_data_may_meet_weights():
    mask = torch.tensor([True, False, True, True])
    with Meter() as meter:
        taken = meta(4, 8)[mask]
        assert taken.shape == (3, 8)
        assert meter.live == taken.numel() * 4
        assert bool((taken > 0).all())
        assert (torch.zeros(3, 1) + taken).is_meta


def test_autocast_is_off_for_meta_and_as_it_was_elsewhere():
    known = torch.is_autocast_enabled
    with Meter():
        assert not torch.is_autocast_enabled("meta")
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.is_autocast_enabled("cpu")
    assert torch.is_autocast_enabled is known


def test_what_is_kept_for_the_backward_pass_is_what_autograd_saves():
    layers = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 16))
    saved: dict[int, int] = {}

    def pack(tensor):
        if not isinstance(tensor, nn.Parameter):
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.randn(7, 32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = layers(x)
    weights = {each.untyped_storage().data_ptr() for each in layers.parameters()}
    kept = sum(size for key, size in saved.items() if key not in {*weights, x.untyped_storage().data_ptr()})
    given = meta(7, 32)
    layers.to("meta")
    with Meter() as meter:
        again = layers(given)
        assert meter.live == kept + out.numel() * 4
        del again
        assert meter.live == 0


@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_layers_add_up_in_a_straight_line(family, checkpointed):
    """So that a few layers stand for many."""

    def figures(layers):
        with torch.device("meta"):
            model = build_model(family, vocab_size=50, hidden_size=32, layers=layers, max_positions=64)
        count_fused_attention(model)
        policy = SVDLoRA(model, 4, 2, seed=0)
        if checkpointed:
            policy.enable_gradient_checkpointing()
        peaks = []
        ids = torch.zeros(3, 20, dtype=torch.long)
        with Meter() as meter, marking(blocks_of(model)[0], lambda: peaks.append(meter.peak())):
            loss = policy(ids, torch.ones_like(ids, dtype=torch.bool), torch.tensor([0.5, 0.5])).sum()
            torch.autograd.backward(loss)
        own = sum(4 * each.numel() for each in policy.trainable_parameters())
        if not checkpointed:
            # The gradients and the loss are left; a gate's two gradients are views of one tensor.
            assert own + 4 <= meter.live <= 1.01 * own
        return peaks[0], meter.peak() - own

    two, three, six = figures(2), figures(3), figures(6)
    for i in (0, 1):
        assert six[i] == two[i] + 4 * (three[i] - two[i])


def test_attention_is_linear_in_the_tokens():
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=10, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
    )
    model = meta_model(config)
    count_fused_attention(model)

    def kept(time):
        ids = torch.zeros(1, time, dtype=torch.long)
        with Meter() as meter:
            out = model(input_ids=ids, use_cache=False)
            assert out.logits.shape == (1, time, 10)
            return meter.live

    assert kept(2048) - kept(1024) == 2 * (kept(1024) - kept(512))
