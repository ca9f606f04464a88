"""One policy, trained by one method."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightning_moa.data.stepping import StepData
from lightning_moa.methods.base import Alignment
from lightning_moa.policies import Policy, load_policy
from lightning_moa.processes import full_size
from lightning_moa.runs.context import Answers, Context, build_method
from lightning_moa.runs.contracts import check_saving
from lightning_moa.runs.loading import load_base, load_data
from lightning_moa.runs.schedules import number_of_steps
from lightning_moa.runs.training import (
    Snapshots,
    fit,
    micro_batches,
    prepare,
    resume_of,
    save_policy,
    steps_of,
)
from lightning_moa.runs.watching import own_callbacks, own_loggers
from lightning_moa.strategies.launching import is_main_process
from lightning_moa.task_files import GRADIENTS, Progress, partial_folder, snapshots_in

Spec = dict[str, Any]
Inputs = dict[str, Path]


class Assembled(NamedTuple):
    """A training that can begin."""

    run: Context
    method: Alignment
    source: StepData
    batches: int
    """That its loader yields."""


def assembled(spec: Spec, inputs: Inputs) -> Assembled:
    """The method of a spec with its answers, and what it is fed by."""
    torch.manual_seed(spec["seed"])
    base_policy, tokenizer = load_base(inputs["base"], spec["hardware"])
    run = Context(spec, inputs, Answers.of(spec), load_data(spec), tokenizer, base_policy)
    run = replace(run, policy=first_policy(run))
    objective, settings = run.answers.objective, spec["settings"]
    source = objective.rows(run)
    steps = number_of_steps(settings, len(source.encoded(tokenizer, "train", objective.view)))
    run = replace(run, steps=steps)
    size, batches = micro_batches(settings, steps)
    source.use(
        tokenizer,
        objective.view,
        batch_size=size,
        steps=batches,
        seed=spec["seed"],
        **objective.batch_inputs(run),
    )
    return Assembled(run, build_method(run), source, batches)


def align(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """Train one policy by one method."""
    prepare(spec["hardware"])
    run, method, source, batches = assembled(spec, inputs)
    policy, steps, settings = run.policy, run.steps, spec["settings"]
    # The last step's policy is saved as the result.
    taken = {max(1, round(share * steps)) for share in spec["snapshots"]} - {steps}
    kept = partial_folder(out)
    snapshots = Snapshots(
        policy, kept, run.objectives, {step * settings["accumulate"]: step for step in taken}
    )
    callbacks = [*method.callbacks(run, source, out), *own_callbacks(run)]
    with own_loggers(run, out) as loggers:
        before = fit(
            method,
            source,
            spec["hardware"],
            out,
            batches=batches,
            progress=progress,
            callbacks=[snapshots, *callbacks],
            resume=resume_of(spec, out, settings, source, callbacks),
            loggers=loggers,
        )
    # A callback may have ended it before its plan's end.
    made = min(steps, method.batches_before(batches) // settings["accumulate"])
    save_policy(policy, out / "policy", run.objectives)
    if is_main_process():
        for _, folder in snapshots_in(kept):
            # They stay with the checkpoint until the run is in its place.
            shutil.copytree(folder, out / folder.name)
    if method.watch is not None:
        method.watch.write(out / GRADIENTS)
    return {
        "trained_parameters": sum(full_size(p) for p in policy.trainable_parameters()),
        "steps": made + (steps_of(inputs["start"]) if "start" in inputs else 0),
        "seconds_before": before,
    }


def first_policy(run: Context) -> Policy:
    """The policy that the training begins with: a new one, or what an earlier round has left."""
    kind = run.answers.policy
    if "start" in run.inputs:
        policy: Policy = load_policy(run.model, run.inputs["start"] / "policy", kind=kind)
    else:
        policy = check_saving(kind.build(run.about("policy")))
    if run.spec["model"]["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    return policy
