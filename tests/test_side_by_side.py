"""Policies that are trained side by side have the gradients of their own updates; and the benchmark at its smallest."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import Tensor

from benchmarks import side_by_side
from benchmarks.side_by_side import Bench, stack_pairs
from lightning_moa.aggregation import Linear


@pytest.fixture(params=[16, 272], ids=["folded", "apart"])
def bench(request):
    return Bench(3, request.param, 1)


def gradients(policy):
    """Layer -> both factors' gradients."""
    layers = policy.batched if hasattr(policy, "batched") else policy.layers
    return {name: (layer.lora_A.grad, layer.lora_B.grad) for name, layer in layers.items()}


def assert_each_has_its_own(bench):
    together = gradients(bench.together)
    for i, policy in enumerate(bench.alone):
        for name, own in gradients(policy).items():
            for mine, theirs in zip(own, together[name], strict=True):
                assert mine.abs().max() > 0
                torch.testing.assert_close(theirs[i], mine, rtol=1e-4, atol=1e-6)


def test_dpo_side_by_side_is_each_policys_own(bench):
    for policy, pairs, preference in zip(bench.alone, bench.pairs, bench.preferences, strict=True):
        Linear()(bench.dpo.losses(policy, pairs, preference), preference).backward()
    bench.dpo_total(stack_pairs(bench.pairs)).backward()
    assert_each_has_its_own(bench)


def test_rloo_side_by_side_is_each_policys_own(bench):
    rollout = bench.rloo.rollout(bench.together, bench.repeated(), bench.preferences, 0)
    bench.rloo_total(bench.together, rollout, bench.preferences).backward()
    rows = len(rollout.input_ids) // len(bench.alone)
    assert rows == 64
    for i, policy in enumerate(bench.alone):
        mine = slice(i * rows, (i + 1) * rows)
        share = {name: value[mine] for name, value in vars(rollout).items() if isinstance(value, Tensor)}
        own = replace(rollout, **share)
        # What the rollout says of its log-probs and advantages is what the policy says by itself.
        again = bench.rloo.losses(policy, own, bench.preferences[i])
        again.sum().backward()
        ids, mask = own.input_ids, own.mask
        with torch.no_grad():
            logps = side_by_side.response_logps(
                policy,
                ids,
                own.attention_mask,
                torch.nn.functional.pad(mask, (ids.shape[1] - mask.shape[1], 0)),
            )
        torch.testing.assert_close(logps, own.logps.sum(1), rtol=1e-4, atol=1e-4)
    assert_each_has_its_own(bench)


def test_responses_are_each_policys_own(bench):
    """The first policy's noise is that of its rows alone."""
    alone = bench.rloo.rollout(bench.alone[0], bench.prompts, bench.preferences[0], 0)
    together = bench.rloo.rollout(bench.together, bench.repeated(), bench.preferences, 0)
    assert torch.equal(together.input_ids[:64], alone.input_ids)
    torch.testing.assert_close(together.advantages[:64], alone.advantages, rtol=1e-3, atol=1e-4)


def test_the_benchmark_at_its_smallest(tmp_path):
    frame = side_by_side.main([1, 2], [(16, 1)], trials=1, folder=tmp_path)
    assert frame["objective"].tolist() == ["rloo", "dpo"] * 2
    assert frame["times_faster"].tolist() == pytest.approx(
        (frame["alone_s"] / frame["side_by_side_s"]).tolist()
    )
    assert pd.read_csv(tmp_path / "side_by_side.csv")["policies"].tolist() == [1, 1, 2, 2]


def test_memory_of_one_base_and_of_several(tmp_path):
    frame = side_by_side.memory([1, 4], tmp_path).set_index("policies")
    assert frame.loc[1, "one_base_gib"] == frame.loc[1, "a_base_each_gib"]
    assert 12 < frame.loc[1, "base_gib"] < 14, "7B numbers of two bytes"
    more = frame.loc[4, "a_base_each_gib"] - frame.loc[4, "one_base_gib"]
    assert more == pytest.approx(3 * (frame.loc[1, "a_base_each_gib"] - frame.loc[1, "own_gib"]))
