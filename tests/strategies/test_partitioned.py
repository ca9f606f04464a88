"""Policies whose weights are shared out between two processes: ZeRO-3's own traps, each sprung on purpose."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_moa.objectives import rollout
from lightning_moa.objectives.rollout import Sampling, sample_responses
from lightning_moa.policies import Heads, LoRA, SVDLoRA
from lightning_moa.processes import full_size, gathered, is_partitioned
from tests.forked import of_two
from tests.objectives.rollouts import prompts
from tests.policies.models import tiny
from tests.study.starts import free_port

TIMEOUT = 120
KINDS: dict[str, Any] = {
    "lora": lambda base: LoRA(base, 2, seed=0),
    "svd_lora": lambda base: SVDLoRA(base, 2, 2, seed=0),
    "heads": lambda base: Heads(base, heads=2, rank=2, head_rank=2, seed=0),
}


def trained(policy: Any) -> dict[str, torch.Tensor]:
    """Copies of the weights that are trained."""
    return {name: p.detach().clone() for name, p in policy.named_parameters() if p.requires_grad}


def built(kind: str) -> dict[str, Any]:
    """A policy that is built where weights are shared out as soon as a module has them."""
    import deepspeed

    base = tiny()
    with deepspeed.zero.Init(
        config_dict_or_path={"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}}
    ):
        policy = KINDS[kind](base)
    here = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    found: dict[str, Any] = {
        "partitioned": is_partitioned(policy),
        "held": sum(parameter.numel() for parameter in here),
        "sizes": [full_size(parameter) for parameter in here],
    }
    with gathered(policy.parameters()):
        found["whole"] = trained(policy)
    # What process 0 writes is everyone's; what is read outside is nobody's.
    with torch.no_grad(), gathered(here, write=True):
        if torch.distributed.get_rank() == 0:
            for parameter in here:
                parameter.fill_(2.0)
    with gathered(here):
        found["written"] = all(bool((parameter == 2.0).all()) for parameter in here)
    return found


def work(rank: int, port: int, folder: str) -> None:
    """In one of two processes."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with open(Path(folder) / f"shown.{rank}", "w") as shown, contextlib.redirect_stdout(shown):
        import deepspeed

        deepspeed.init_distributed(dist_backend="gloo")
        torch.save({kind: built(kind) for kind in KINDS}, Path(folder) / f"{rank}.pt")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What each of two processes finds."""
    return of_two(work, free_port(), tmp_path_factory.mktemp("pair"), TIMEOUT)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_policy_built_in_parts_starts_as_a_whole_one(kind, pair):
    """peft's zeroes of lora_B are lost there: values must be set before a module takes them as parameters."""
    expected = trained(KINDS[kind](tiny()))
    for found in (each[kind] for each in pair):
        assert found["partitioned"]
        assert found["held"] < sum(found["sizes"]) == sum(map(torch.numel, expected.values()))
        assert list(found["whole"]) == list(expected)
        for name, value in expected.items():
            assert torch.equal(found["whole"][name], value), name
        zeroes = [name for name, value in expected.items() if not value.any()]
        assert zeroes
        assert found["written"]


@pytest.mark.parametrize("shared_out", [False, True])
def test_sampling_waits_for_others_where_weights_are_shared_out(shared_out, monkeypatch):
    policy, asked = LoRA(tiny(), 2, seed=0), []
    if shared_out:
        policy.trainable_parameters()[0].ds_id = 0
    monkeypatch.setattr(rollout, "generate", lambda *given, **options: asked.append(options["synced_gpus"]))
    sample_responses(policy, prompts(), None, Sampling(4), 0)
    assert asked == [shared_out]
