"""Forecasts of the runs that train: policies, reward models, and a base model from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from lightning_moa.forecast import flops, memory
from lightning_moa.forecast import passes as meta_passes
from lightning_moa.forecast.flops import Network, Work
from lightning_moa.forecast.memory import Bytes, Sizes
from lightning_moa.forecast.networks import Scorer, classifier_of, network_of, policy_of, scorers_of
from lightning_moa.forecast.parts import (
    Forecast,
    Spec,
    bytes_of,
    decoding,
    micro_batch,
    scoring_work,
    sizes_of,
    unpacked,
    updates,
)
from lightning_moa.policies import AdapterPolicy
from lightning_moa.policies.critic import Critic
from lightning_moa.runs.building import VIEWS
from lightning_moa.strategies.choices import processes_of, trained_whole
from lightning_moa.study.tasks import Task


def align(task: Task, factor: int, rows: int | None) -> Forecast:
    spec = dict(task.spec)
    settings = spec["settings"]
    micro = micro_batch(settings, spec, factor)
    policy = policy_of(spec)
    ppo = spec["objective"] == "ppo"
    scorers = scorers_of(spec, "rewards" in task.needs) if ppo else []
    sizes, trained = sizes_of(policy, spec, _critic(spec, policy) if ppo else 0)
    held, host = memory.resident(sizes, spec["hardware"])
    held |= {"reward_models": bytes_of(scorers)}
    figures = meta_passes.update(spec, micro)
    loose = unpacked(policy, spec)
    rollouts = figures["held"] * settings["accumulate"]
    early = held if settings["accumulate"] > 1 else held | {"gradients": 0.0}
    phases = {
        "forward": early | {"activations": figures["forward"] + loose, "rollout": rollouts},
        "backward": held | {"activations": figures["backward"] + loose, "rollout": rollouts},
        "step": held | {"optimiser": held["optimiser"] + memory.step_bytes(sizes, spec["hardware"])},
    }
    # The base is whole on each device until DeepSpeed shares it out.
    phases["loading"] = held | {"weights": sizes.frozen, "gradients": 0.0, "optimiser": 0.0, "deepspeed": 0.0}
    if ppo:
        phases |= _sampled(spec, policy, micro, scorers, figures, early)
    steps = updates(settings, spec["data"], VIEWS[spec["objective"]], rows)
    work, tokens = _align_work(spec, policy, scorers, factor, _numbers_bytes(sizes))
    return Forecast(
        phases, micro, trained, sizes.frozen_numbers, steps, tokens * steps, work.times(steps), host
    )


def _numbers_bytes(sizes: Sizes) -> float:
    """Bytes that a token's pass reads of the weights."""
    return sizes.frozen + sizes.trained * sizes.width


def _critic(spec: Spec, policy: AdapterPolicy) -> int:
    k = 1 if spec["settings"]["weigh"].endswith("_reward") else len(spec["objectives"])

    with torch.device("meta"):
        critic = Critic(policy.model.config.hidden_size, k, policy.m)
    return sum(each.numel() for each in critic.parameters())


def _sampled(
    spec: Spec,
    policy: AdapterPolicy,
    rows: int,
    scorers: list[Scorer],
    figures: Mapping[str, float],
    held: Bytes,
) -> dict[str, Bytes]:
    """PPO's phases before its update: earlier micro-batches' rollouts are there already."""
    settings = spec["settings"]
    prompt, new = meta_passes.prompt_length(spec), settings["max_new_tokens"]
    before = figures["held"] * (settings["accumulate"] - 1)
    loose = unpacked(policy, spec)
    choosing = meta_passes.sampling(spec, spec, rows, prompt, settings["top_p"])
    cache = memory.kv_cache_bytes(policy.model.config, rows, prompt + new, policy.model.dtype.itemsize)
    read = max((meta_passes.scoring(each, rows) for each in scorers), default=0.0)
    return {
        "sampling": held | {"activations": choosing + loose, "kv_cache": cache, "rollout": before},
        "rollout": held | {"activations": figures["rollout"] + loose, "rollout": before},
        "scoring": held | {"activations": read, "rollout": before + figures["held"]},
    }


def _align_work(
    spec: Spec, policy: AdapterPolicy, scorers: list[Scorer], factor: int, read: float
) -> tuple[Work, float]:
    """Of one update: operations, and tokens trained on."""
    settings, data = spec["settings"], spec["data"]
    network = flops.network_of(policy.model)
    batch, longest = factor * settings["batch_size"], data["max_length"]
    again = spec["model"]["gradient_checkpointing"]
    if spec["objective"] == "dpo":
        return Work(flops.training(network, 2 * batch, longest, None, again)), 2.0 * batch * longest
    if spec["objective"] != "ppo":
        return Work(flops.training(network, batch, longest, None, again)), float(batch * longest)
    prompt, new = meta_passes.prompt_length(spec), settings["max_new_tokens"]
    time = prompt + new
    sampled = decoding(
        network, batch, prompt, new, read, settings["accumulate"] * processes_of(spec["hardware"])
    )
    passes = 2 * flops.forward(network, batch, time, new + 1)
    update = flops.training(network, batch, time, new + 1, again)
    if spec["probe"] is not None:
        update += len(spec["objectives"]) * _probing(spec, network, batch, time, new + 1)
    if settings["ptx"]:
        update += flops.training(network, batch, longest, None, again)
    work = sampled + Work(passes + settings["update_iters"] * update + scoring_work(scorers, batch))
    return work, float(batch * (time + (longest if settings["ptx"] else 0)))


def _probing(spec: Spec, network: Network, rows: float, time: int, logits: int) -> float:
    """Of one objective's gradient: back through one layer, or all; and a forward pass of its own where it has one."""
    forward = flops.forward(network, rows, time, logits)
    share = 1.0 if spec["probe"] == "all" else 1.0 / network.layers
    return forward * share + (forward if spec["fresh_passes"] else 0.0)


def reward_model(task: Task, factor: int, rows: int | None) -> Forecast:
    spec = dict(task.spec)
    settings = spec["reward_model"]
    micro = micro_batch(settings, spec, factor)
    network = classifier_of(spec)
    figures = meta_passes.reward_training(spec, micro)
    # Two responses a pair; the head's few logits count for nothing.
    body = network_of(spec)
    counted = replace(flops.network_of(body), head=0, trained_head=0)
    batch, longest = 2 * factor * settings["batch_size"], spec["data"]["max_length"]
    work = Work(flops.training(counted, batch, longest, None, spec["model"]["gradient_checkpointing"]))
    steps = updates(settings, spec["data"], "pairs", rows)
    made = _whole(spec, network, figures, micro, steps, batch * longest, work)
    # The base that it starts from stays beside it, in float32 in the machine's own memory.
    beside = float(memory.FLOAT32 * sum(each.numel() for each in body.parameters()))
    if spec["hardware"]["accelerator"] == "gpu":
        return replace(made, host=made.host + beside)
    return replace(made, phases={name: phase | {"weights": beside} for name, phase in made.phases.items()})


def base(task: Task, factor: int, rows: int | None) -> Forecast:
    spec = dict(task.spec)
    network = network_of(spec)
    if spec["model"]["path"] is not None:
        frozen, numbers = memory.weight_bytes(network.requires_grad_(False), spec["hardware"]["precision"])
        return Forecast({"loading": {"weights": frozen}}, 0, 0, numbers)
    settings = spec["sft"]
    micro = micro_batch(settings, spec, factor)
    figures = meta_passes.fine_tuning(spec, micro)
    batch, longest = factor * settings["batch_size"], spec["data"]["max_length"]
    work = Work(flops.training(flops.network_of(network), batch, longest, None, False))
    steps = updates(settings, spec["data"], "sequences", rows)
    return _whole(spec, network, figures, micro, steps, batch * longest, work)


def _whole(
    spec: Spec,
    network: nn.Module,
    figures: Mapping[str, float],
    rows: int,
    steps: int,
    tokens: float,
    work: Work,
) -> Forecast:
    """A run that trains all weights."""
    hardware = trained_whole(spec["hardware"])
    sizes, trained = sizes_of(network, {**spec, "hardware": hardware}, whole=True)
    held, host = memory.resident(sizes, hardware)
    phases = {
        # Lightning's own loop clears the last update's gradients after the forward pass.
        "forward": held | {"activations": figures["forward"]},
        "backward": held | {"activations": figures["backward"]},
        "step": held | {"optimiser": held["optimiser"] + memory.step_bytes(sizes, hardware)},
    }
    return Forecast(phases, rows, trained, 0, steps, tokens * steps, work.times(steps), host)
