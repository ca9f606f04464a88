"""Forecasts of the runs that train: policies, reward models, and a base model from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from lightning_moa.forecast import flops, memory, passes
from lightning_moa.forecast.flops import Network, Work
from lightning_moa.forecast.memory import Sizes
from lightning_moa.forecast.meta_run import MetaRun
from lightning_moa.forecast.networks import Scorer, network_of, policy_of, scorers_of, trainee_of
from lightning_moa.forecast.parts import (
    Forecast,
    Spec,
    bytes_of,
    decoding,
    micro_batch,
    scoring_work,
    sizes_of,
    training_rows,
    unpacked,
    updates,
)
from lightning_moa.policies import Policy
from lightning_moa.strategies.choices import processes_of, trained_whole
from lightning_moa.study.tasks import Task


def align(task: Task, factor: int, rows: int | None) -> Forecast:
    spec = dict(task.spec)
    settings = spec["settings"]
    micro = micro_batch(settings, spec, factor)
    policy = policy_of(spec)
    run = MetaRun.of(spec, policy).about("objective")
    objective = run.answers.objective
    scorers = scorers_of(spec) if objective.scores else []
    figures = passes.update(spec, micro)
    sizes, trained = sizes_of(policy, spec, int(figures["own"]))
    held, host = memory.resident(sizes, spec["hardware"])
    held |= {"reward_models": bytes_of(scorers)}
    loose = unpacked(policy, spec)
    kept = figures["kept"] * settings["accumulate"]
    early = held if settings["accumulate"] > 1 else held | {"gradients": 0.0}
    phases = {
        "forward": early | {"activations": figures["forward"] + loose, "rollout": kept},
        "backward": held | {"activations": figures["backward"] + loose, "rollout": kept},
        "step": held | {"optimiser": held["optimiser"] + memory.step_bytes(sizes, spec["hardware"])},
    }
    # The base is whole on each device until DeepSpeed shares it out.
    phases["loading"] = held | {"weights": sizes.frozen, "gradients": 0.0, "optimiser": 0.0, "deepspeed": 0.0}
    own = objective.phases(run, _MemoryOfRun(spec, policy, micro, scorers, figures, loose))
    phases |= {name: early | kinds for name, kinds in own.items()}
    steps = updates(settings, spec, training_rows(spec, objective.view, rows))
    operations = _OperationsOfRun(
        spec, flops.network_of(policy.model), scorers, factor * settings["batch_size"], _numbers_bytes(sizes)
    )
    work, tokens = objective.work(run, operations)
    return Forecast(
        phases, micro, trained, sizes.frozen_numbers, steps, tokens * steps, work.times(steps), host
    )


def _numbers_bytes(sizes: Sizes) -> float:
    """Bytes that a token's pass reads of the weights."""
    return sizes.frozen + sizes.trained * sizes.width


@dataclass(frozen=True)
class _MemoryOfRun:
    """What an objective works out its own phases with (`objectives.costs.Memory`)."""

    spec: Spec
    policy: Policy
    rows: int
    scorers: list[Scorer]
    figures: Mapping[str, float]
    loose: float
    """Bytes of the largest quantised matrix, unpacked."""

    @property
    def made(self) -> float:
        return self.figures["made"] + self.loose

    @property
    def kept(self) -> float:
        return self.figures["kept"]

    def sampling(self, prompt: int, top_p: float) -> float:
        return passes.sampling(self.spec, self.spec, self.rows, prompt, top_p) + self.loose

    def cache(self, tokens: int) -> float:
        model = self.policy.model
        return memory.kv_cache_bytes(model.config, self.rows, tokens, model.dtype.itemsize)

    def scoring(self) -> float:
        return max((passes.scoring(each, self.rows) for each in self.scorers), default=0.0)


@dataclass(frozen=True)
class _OperationsOfRun:
    """What an objective works out an update's operations with (`objectives.costs.Operations`)."""

    spec: Spec
    network: Network
    scorers: list[Scorer]
    rows: int
    read: float
    """Bytes that a token's pass reads of the weights."""

    def forward(self, rows: float, time: int, logits: int | None = None) -> Work:
        return Work(flops.forward(self.network, rows, time, logits))

    def training(self, rows: float, time: int, logits: int | None = None) -> Work:
        again = self.spec["model"]["gradient_checkpointing"]
        return Work(flops.training(self.network, rows, time, logits, again))

    def update(self, rows: float, time: int, logits: int | None = None) -> Work:
        once = self.training(rows, time, logits)
        if self.spec["probe"] is None:
            return once
        return once + self._probing(rows, time, logits).times(len(self.spec["objectives"]))

    def decoding(self, rows: float, prompt: int, new: int) -> Work:
        batches = self.spec["settings"]["accumulate"] * processes_of(self.spec["hardware"])
        return decoding(self.network, rows, prompt, new, self.read, batches)

    def scoring(self, rows: float) -> Work:
        return Work(scoring_work(self.scorers, rows))

    def _probing(self, rows: float, time: int, logits: int | None) -> Work:
        """Of one objective's gradient: back through one layer, or all; and a forward pass of its own where it has
        one."""
        forward = flops.forward(self.network, rows, time, logits)
        share = 1.0 if self.spec["probe"] == "all" else 1.0 / self.network.layers
        return Work(forward * share + (forward if self.spec["fresh_passes"] else 0.0))


def reward_model(task: Task, factor: int, rows: int | None) -> Forecast:
    spec = dict(task.spec)
    settings = spec["reward_model"]
    micro = micro_batch(settings, spec, factor)
    network = trainee_of(spec)
    figures = passes.reward_training(spec, micro)
    # Two responses a pair; the head's few logits count for nothing.
    responses = 2 if spec["learns"] == "pairs" else 1
    counted = replace(flops.network_of(network), head=0, trained_head=0)
    batch, longest = responses * factor * settings["batch_size"], spec["data"]["max_length"]
    work = Work(flops.training(counted, batch, longest, None, spec["model"]["gradient_checkpointing"]))
    there = training_rows(spec, spec["learns"], rows)
    if spec["half"] is not None and there is not None:
        # The other half of the prompts is the judge's.
        there = max(1, there // 2)
    steps = updates(settings, spec, there)
    made = _in_its_own_loop(spec, network, figures, micro, steps, batch * longest, work)
    if spec["hardware"]["accelerator"] == "cpu":
        return made
    # Each process reads it whole into the machine's own memory, before the strategy shares it out.
    width = 4 if trained_whole(spec["hardware"])["precision"] == "fp32" else 2
    numbers = sum(each.numel() for each in network_of(spec).parameters())
    return replace(made, host=max(made.host, float(width * numbers)))


def base(task: Task, factor: int, rows: int | None) -> Forecast:
    spec = dict(task.spec)
    network = network_of(spec)
    if spec["model"]["path"] is not None:
        frozen, numbers = memory.weight_bytes(network.requires_grad_(False), spec["hardware"]["precision"])
        return Forecast({"loading": {"weights": frozen}}, 0, 0, numbers)
    settings = spec["sft"]
    micro = micro_batch(settings, spec, factor)
    figures = passes.fine_tuning(spec, micro)
    batch, longest = factor * settings["batch_size"], spec["data"]["max_length"]
    work = Work(flops.training(flops.network_of(network), batch, longest, None, False))
    steps = updates(settings, spec, training_rows(spec, "sequences", rows))
    return _in_its_own_loop(spec, network, figures, micro, steps, batch * longest, work)


def _in_its_own_loop(
    spec: Spec,
    network: nn.Module,
    figures: Mapping[str, float],
    rows: int,
    steps: int,
    tokens: float,
    work: Work,
) -> Forecast:
    """A run of Lightning's own loop: all weights are trained, or what of them has a gradient, in float32."""
    hardware = trained_whole(spec["hardware"])
    whole = all(each.requires_grad for each in network.parameters())
    sizes, trained = sizes_of(network, {**spec, "hardware": hardware}, whole=whole)
    held, host = memory.resident(sizes, hardware)
    phases = {
        # It clears the last update's gradients after the forward pass.
        "forward": held | {"activations": figures["forward"]},
        "backward": held | {"activations": figures["backward"]},
        "step": held | {"optimiser": held["optimiser"] + memory.step_bytes(sizes, hardware)},
    }
    return Forecast(
        phases, rows, trained, sizes.frozen_numbers, steps, tokens * steps, work.times(steps), host
    )
