"""Forecasts of the runs that sample, score or look up, and train nothing."""

from __future__ import annotations

from lightning_moa.answers import load
from lightning_moa.deployments.base import Load
from lightning_moa.forecast import flops, memory, passes
from lightning_moa.forecast.flops import Work
from lightning_moa.forecast.memory import Bytes
from lightning_moa.forecast.networks import network_of, policy_of, scorers_of
from lightning_moa.forecast.parts import (
    Forecast,
    Spec,
    bytes_of,
    decoding,
    scoring_work,
    training_rows,
    unpacked,
)
from lightning_moa.policies import Policy
from lightning_moa.study.tasks import Task


def reference(task: Task, factor: int, rows: int | None) -> Forecast:
    spec = dict(task.spec)
    network = network_of(spec).requires_grad_(False)
    frozen, numbers = memory.weight_bytes(network, spec["hardware"]["precision"])
    pairs, longest = factor * max(1, spec["batch_size"] // 2), spec["data"]["max_length"]
    passed = passes.no_gradient(spec, {}, 2 * pairs, longest, longest - 1) + unpacked(network, spec)
    count = training_rows(spec, "pairs", rows) or 0
    work = Work(flops.forward(flops.network_of(network), 2 * count, longest))
    return Forecast({"pass": {"weights": frozen, "activations": passed}}, pairs, 0, numbers, work=work)


def offline_rows(task: Task, factor: int, rows: int | None) -> Forecast:
    spec = dict(task.spec)
    network = network_of(spec).requires_grad_(False)
    scorers = scorers_of(spec)
    frozen, numbers = memory.weight_bytes(network, spec["hardware"]["precision"])
    batch, longest, count = factor * spec["batch_size"], spec["data"]["max_length"], spec["settings"]["rows"]
    passed = passes.no_gradient(spec, {}, batch, longest, longest - 1) + unpacked(network, spec)
    read = max((passes.scoring(each, batch) for each in scorers), default=0.0)
    # What scored the rows is gone when the reference policy is loaded.
    phases: dict[str, Bytes] = {
        "scoring": {"reward_models": bytes_of(scorers), "activations": read},
        "pass": {"weights": frozen, "activations": passed},
    }
    work = Work(flops.forward(flops.network_of(network), count, longest) + scoring_work(scorers, count))
    return Forecast(phases, batch, 0, numbers, work=work)


def _sampling_task(
    task: Task, batch: int, rows: float, new: int, top_p: float, policies: int, pairs: tuple[int, float]
) -> Forecast:
    """A run that samples, of the policies that it needs or the reference's, and scores.

    batch: rows of one batch. rows: sampled in all. policies: adapters that it holds at a time. pairs: rows of one batch
    and in all, for accuracies.
    """
    spec = dict(task.spec)
    needed = [need.spec for role, need in sorted(task.needs.items()) if role.startswith("policy")]
    chosen: Spec = dict(needed[0]) if needed else {}
    policy = policy_of(chosen) if chosen else Policy(network_of(spec).requires_grad_(False))
    scorers = scorers_of(spec)
    frozen, numbers = memory.weight_bytes(policy, spec["hardware"]["precision"])
    adapter = sum(each.numel() * each.element_size() for each in policy.parameters() if each.requires_grad)
    held = {"weights": frozen, "adapter": float(adapter * policies), "reward_models": bytes_of(scorers)}
    prompt = passes.prompt_length(spec)
    loose = unpacked(policy, spec)
    passed = passes.no_gradient(spec, chosen, batch, prompt + new, new) + loose
    read = max((passes.scoring(each, batch) for each in scorers), default=0.0)
    cache = memory.kv_cache_bytes(policy.model.config, batch, prompt + new, policy.model.dtype.itemsize)
    choosing = passes.sampling(spec, chosen, batch, prompt, top_p) + loose
    phases: dict[str, Bytes] = {
        "sampling": held | {"activations": choosing, "kv_cache": cache},
        "pass": held | {"activations": passed},
        "scoring": held | {"activations": read},
    }
    network, longest = flops.network_of(policy.model), spec["data"]["max_length"]
    if pairs[0]:
        accuracy = passes.no_gradient(spec, chosen, pairs[0], longest, longest - 1)
        phases["accuracy"] = held | {"activations": accuracy + loose}
    work = decoding(network, rows, prompt, new, frozen + adapter, -(-int(rows) // batch))
    work += Work(2 * flops.forward(network, rows, prompt + new, new + 1) + scoring_work(scorers, rows))
    work += Work(flops.forward(network, pairs[1], longest))
    return Forecast(phases, batch, 0, numbers, work=work)


def evaluate(task: Task, factor: int, rows: int | None) -> Forecast:
    settings = task.spec["evaluation"]
    measured, on_pairs = _deployed(task)
    batch = measured.grid * min(
        max(1, factor * settings["batch_size"] // measured.grid), factor * settings["prompts"]
    )
    pairs = (0, 0.0)
    if "reference" in task.needs and on_pairs:
        at_once = 2 * measured.grid
        both = at_once * min(max(1, factor * settings["batch_size"] // at_once), factor * settings["pairs"])
        pairs = (both, 2.0 * measured.passes * settings["pairs"])
    return _sampling_task(
        task,
        batch,
        float(measured.passes * settings["prompts"] * settings["responses"]),
        settings["max_new_tokens"],
        settings["top_p"],
        measured.held,
        pairs,
    )


def _deployed(task: Task) -> tuple[Load, bool]:
    """What measuring a method's policies takes, and whether accuracies on pairs are asked of them; of the reference
    policy one pass, and none."""
    given = task.spec["deployment"]
    if given is None:
        return Load(), False
    deployment = load(given["class"], "deployment")(**given["options"])
    needed = [need.spec for role, need in task.needs.items() if role.startswith("policy")]
    members = len(policy_of(needed[0]).members())
    return deployment.load(len(task.spec["grid"]), len(needed), members), deployment.on_pairs


def online_rows(task: Task, factor: int, rows: int | None) -> Forecast:
    online, spec = task.spec["online"], task.spec
    batch = factor * spec["batch_size"]
    return _sampling_task(
        task, batch, float(online["generated"]), spec["max_new_tokens"], online["top_p"], 1, (0, 0.0)
    )
