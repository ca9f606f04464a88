"""One policy, trained by one method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lightning_moa.policies import AdapterPolicy, Policy, load_policy
from lightning_moa.processes import full_size
from lightning_moa.runs.building import (
    SCORED,
    VIEWS,
    Ingredients,
    build_method,
    build_policy,
    extra_inputs,
    head_watch,
    scored_rows,
)
from lightning_moa.runs.loading import load_base, load_data
from lightning_moa.runs.training import (
    Snapshots,
    fit,
    micro_batches,
    number_of_steps,
    prepare,
    resume_of,
    save_policy,
    snapshots_in,
    steps_of,
)
from lightning_moa.strategies.launching import is_main_process
from lightning_moa.study.execute import Progress
from lightning_moa.study.tasks import GRADIENTS, partial_folder

Spec = dict[str, Any]
Inputs = dict[str, Path]


def align(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """Train one policy by one method."""
    prepare(spec["hardware"])
    torch.manual_seed(spec["seed"])
    base_policy, tokenizer = load_base(inputs["base"], spec["hardware"])
    data = load_data(spec)
    settings, view, m = spec["settings"], VIEWS[spec["objective"]], len(data.objectives)
    policy = (
        build_policy(spec, base_policy, m) if "start" not in inputs else _taken_up(spec, inputs, base_policy)
    )
    rows = scored_rows(spec, inputs, data, tokenizer) if spec["objective"] in SCORED else None
    source = data if rows is None else rows
    steps = number_of_steps(settings, len(source.encoded(tokenizer, "train", view)))
    size, batches = micro_batches(settings, steps)
    made = Ingredients(spec, inputs, data, tokenizer, policy, steps)
    source.use(tokenizer, view, batch_size=size, steps=batches, seed=spec["seed"], **extra_inputs(made))
    # The last step's policy is saved as the result.
    taken = {max(1, round(share * steps)) for share in spec["snapshots"]} - {steps}
    kept = partial_folder(out)
    snapshots = Snapshots(
        policy, kept, data.objectives, {step * settings["accumulate"]: step for step in taken}
    )
    method = build_method(made)
    callbacks = head_watch(made, method, rows, out)
    fit(
        method,
        source,
        spec["hardware"],
        out,
        batches=batches,
        progress=progress,
        callbacks=[snapshots, *callbacks],
        resume=resume_of(spec, out, settings, source, callbacks),
    )
    save_policy(policy, out / "policy", data.objectives)
    if is_main_process():
        for _, folder in snapshots_in(kept):
            folder.rename(out / folder.name)
    if method.watch is not None:
        method.watch.write(out / GRADIENTS)
    return {
        "trained_parameters": sum(full_size(p) for p in policy.trainable_parameters()),
        "steps": steps + (steps_of(inputs["start"]) if "start" in inputs else 0),
    }


def _taken_up(spec: Spec, inputs: Inputs, base_policy: Policy) -> AdapterPolicy:
    """The policy that an earlier round has left, to be trained on."""
    policy = load_policy(base_policy.model, inputs["start"] / "policy")
    if spec["model"]["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    return policy
