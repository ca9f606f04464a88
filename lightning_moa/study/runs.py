"""What a study's tasks do. Each takes (spec, inputs, out, progress) and leaves its result in the folder `out`.

spec: all that determines the result, JSON-able. inputs: role to the folder of a finished task.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from lightning_moa.data.encoding import Encoded
from lightning_moa.data.stepping import StepData
from lightning_moa.errors import UserError
from lightning_moa.policies import (
    AdapterPolicy,
    Policy,
    RewardedSoup,
    load_policy,
    response_logps,
    save_model,
)
from lightning_moa.processes import all_objects, full_size, gathered, own_share, rank, world_size
from lightning_moa.strategies.launching import is_main_process
from lightning_moa.study.building import (
    SCORED,
    VIEWS,
    Ingredients,
    build_method,
    build_policy,
    extra_inputs,
    head_watch,
    scored_rows,
)
from lightning_moa.study.execute import Progress
from lightning_moa.study.loading import device_of, load_base, load_data, make_base, moved
from lightning_moa.study.resuming import Resume
from lightning_moa.study.scoring import each_policy, goals_of, offline_rows, online_rows
from lightning_moa.study.tasks import DONE, GRADIENTS, partial_folder
from lightning_moa.study.training import (
    Snapshots,
    fit,
    number_of_steps,
    optimiser_factory,
    prepare,
    save_policy,
)

__all__ = [
    "align",
    "base",
    "evaluate",
    "exact",
    "offline_rows",
    "online_rows",
    "reference",
    "reward_model",
]

WHOLE_AS_SELDOM = 10
"""Times `hardware.checkpoint_every` updates lie between two checkpoints of all weights, with AdamW's states some 14
bytes each."""

Spec = dict[str, Any]
Inputs = dict[str, Path]


def base(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """The reference policy: a pretrained model as it is, or a small one built from scratch and fine-tuned."""
    from lightning_moa.methods.sft import SFT

    prepare(spec["hardware"])
    data = load_data(spec)
    policy, tokenizer = make_base(spec, data)
    if spec["model"]["path"] is None:
        settings = spec["sft"]
        steps = number_of_steps(settings, len(data.encoded(tokenizer, "train", "sequences")))
        rows, batches = _micro_batches(settings, steps)
        data.use(tokenizer, "sequences", batch_size=rows, steps=batches, seed=spec["seed"])
        module = SFT(policy, optimiser_factory(settings, steps))
        # A model that is built here is small, and the same one whatever precision the policies' base is loaded at.
        fit(
            module,
            data,
            {**spec["hardware"], "precision": "fp32"},
            out,
            batches=batches,
            progress=progress,
            grad_clip=settings["grad_clip"],
            accumulate=settings["accumulate"],
            resume=_resume(spec, out, settings, data, whole=True),
        )
        with gathered(policy.parameters()):
            if rank() == 0:
                if "ric" in spec:
                    _lengthen_unseen(policy.model, data.encoded(tokenizer, "train", "sequences"))
                save_model(policy.model, out / "model")
        tokenizer.save_pretrained(out / "model")
    (out / "base.json").write_text(json.dumps({"model": spec["model"]}))
    (out / "data.txt").write_text("\n".join(data.report.lines()) + "\n")
    return {
        "trained_parameters": sum(full_size(p) for p in policy.parameters())
        if spec["model"]["path"] is None
        else 0
    }


@torch.no_grad()
def _lengthen_unseen(model: torch.nn.Module, seen: Encoded) -> None:
    """Give tokens that no text had the mean length of those that were trained, so that they can be told apart.

    RiC's tokens are such ones. Their first values are noise far below the rest; directions stay as they are.
    """
    weight = model.get_input_embeddings().weight  # type: ignore[operator]
    known = torch.zeros(len(weight), dtype=torch.bool)
    for part in (seen.prompts, *seen.responses):
        known[torch.from_numpy(part.values).long()] = True
    lengths = weight.norm(dim=1, keepdim=True)
    weight[~known] *= lengths[known].mean() / lengths[~known].clamp(min=1e-12)


@torch.no_grad()
def reference(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> None:
    """Log-probs of both responses of every pair under the reference policy, once for all policies of a study."""
    prepare(spec["hardware"])
    policy, tokenizer = load_base(inputs["base"], spec["hardware"])
    data = load_data(spec)
    device = device_of(spec["hardware"])
    for split, start in (("train", 0.0), ("eval", 0.8)):
        table = np.full((len(data.table(split)), 2), np.nan)
        done = 0
        for loaded in own_share(data.batches(tokenizer, split, "pairs", max(1, spec["batch_size"] // 2))):
            batch = moved(loaded, device)
            logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)
            table[batch.index.cpu().numpy()] = logps.double().cpu().numpy().reshape(2, -1).T
            done += len(batch.index)
            progress(start + (0.8 - start * 0.75) * done * world_size() / len(table))
        for part in all_objects(table):
            table = np.where(np.isnan(table), part, table)
        np.save(out / f"{split}.npy", table, allow_pickle=False)


def reward_model(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """A Bradley-Terry reward model with one output per objective, started from the reference policy's body."""
    from transformers import AutoModelForSequenceClassification

    from lightning_moa.methods.reward_model import RewardModel
    from lightning_moa.rewards.trained import SIDECAR

    prepare(spec["hardware"])
    torch.manual_seed(spec["seed"])
    # All of its weights are trained, which quantised ones can't be; the policy itself takes no room on a GPU.
    policy, tokenizer = load_base(
        inputs["base"], {**spec["hardware"], "precision": "fp32", "accelerator": "cpu"}
    )
    data = load_data(spec)
    objectives = data.objectives
    config = copy.deepcopy(policy.model.config)
    config.num_labels, config.pad_token_id = len(objectives), tokenizer.pad_token_id
    network = AutoModelForSequenceClassification.from_config(config)
    network.base_model.load_state_dict(policy.model.base_model.state_dict())
    if spec["model"]["gradient_checkpointing"]:
        network.config.use_cache = False
        network.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    settings = spec["reward_model"]
    steps = number_of_steps(settings, len(data.encoded(tokenizer, "train", "pairs")))
    rows, batches = _micro_batches(settings, steps)
    data.use(tokenizer, "pairs", batch_size=rows, steps=batches, seed=spec["seed"])
    module = RewardModel(network, optimiser_factory(settings, steps), settings["regularisation"])
    fit(
        module,
        data,
        spec["hardware"],
        out,
        batches=batches,
        progress=progress,
        grad_clip=settings["grad_clip"],
        accumulate=settings["accumulate"],
        resume=_resume(spec, out, settings, data, whole=True),
    )
    with gathered(network.parameters()):
        if rank() == 0:
            network.save_pretrained(out / "model")
    (out / "model").mkdir(exist_ok=True)
    tokenizer.save_pretrained(out / "model")
    about = {
        "objectives": list(objectives),
        "template": spec["data"]["template"],
        "max_length": spec["data"]["max_length"],
    }
    (out / "model" / SIDECAR).write_text(json.dumps(about))
    return {"trained_parameters": sum(full_size(p) for p in network.parameters()), "steps": steps}


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
    size, batches = _micro_batches(settings, steps)
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
        resume=_resume(spec, out, settings, source, callbacks),
    )
    save_policy(policy, out / "policy", data.objectives)
    if is_main_process():
        for _, folder in _snapshots(kept):
            folder.rename(out / folder.name)
    if method.watch is not None:
        method.watch.write(out / GRADIENTS)
    return {
        "trained_parameters": sum(full_size(p) for p in policy.trainable_parameters()),
        "steps": steps + (_steps_of(inputs["start"]) if "start" in inputs else 0),
    }


def _taken_up(spec: Spec, inputs: Inputs, base_policy: Policy) -> AdapterPolicy:
    """The policy that an earlier round has left, to be trained on."""
    policy = load_policy(base_policy.model, inputs["start"] / "policy")
    if spec["model"]["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    return policy


def _steps_of(folder: Path) -> int:
    """Updates that a finished policy has had, earlier rounds' among them."""
    return int(json.loads((folder / DONE).read_text())["steps"])


def evaluate(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> None:
    """Accuracies and rewards of a method's policies on the grid of preferences, as CSVs without the study's names."""
    from lightning_moa.study.measuring import Measure

    prepare(spec["hardware"])
    measure = Measure(spec, inputs)
    trained = [path for role, path in sorted(inputs.items()) if role.startswith("policy")]
    steps = max(map(_steps_of, trained), default=0)
    grid = torch.tensor(spec["grid"], dtype=torch.float64)
    deployed_as = spec["deployed_as"]
    if deployed_as == "reference":
        measure.add("reference", measure.base, None, step=0)
    elif deployed_as == "steered":
        for step, folder in [*_snapshots(trained[0]), (steps, trained[0] / "policy")]:
            policy = load_policy(measure.base.model, folder)
            measure.add("steered", policy, grid, step=step)
            policy.unload()
    elif deployed_as == "soup":
        soup = RewardedSoup.from_folders(measure.base.model, [path / "policy" for path in trained])
        measure.add("soup", soup, grid, step=steps)
    elif deployed_as == "nearest":
        own = torch.tensor(spec["trained_at"], dtype=torch.float64)
        for i, (path, row) in enumerate(zip(trained, own, strict=True)):
            policy = load_policy(measure.base.model, path / "policy")
            measure.add(" ".join(f"{value:g}" for value in row.tolist()), policy, row[None], step=steps)
            policy.unload()
            progress((i + 1) / len(trained))
    elif deployed_as == "alone":
        for i, path in enumerate(trained):
            policy = load_policy(measure.base.model, path / "policy")
            measure.add("alone" if len(trained) == 1 else f"alone {i}", policy, None, step=steps)
            policy.unload()
    elif deployed_as == "heads":
        for path, at in zip(trained, spec["trained_at"], strict=True):
            heads = load_policy(measure.base.model, path / "policy")
            for name, head in each_policy(heads):
                asked = None if at is None else torch.tensor([at], dtype=torch.float64)
                shown = name if at is None else " ".join(f"{value:g}" for value in at)
                measure.add(shown, head, asked, step=steps)
            heads.unload()
    elif deployed_as == "in_prompt":
        heads = load_policy(measure.base.model, trained[0] / "policy")
        goals = goals_of(spec, measure.objectives, inputs["rows"])
        goals.check(measure.tokenizer)
        for row in torch.tensor(spec["asked"], dtype=torch.float64):
            name = " ".join(f"{value:.3g}" for value in row.tolist())
            measure.add(name, next(each_policy(heads))[1], row[None], step=steps, goals=goals)
        heads.unload()
    else:
        allowed = "reference, steered, soup, nearest, alone, heads, in_prompt"
        raise UserError(f"deployed_as={deployed_as}: allowed are {allowed}")
    measure.write(out)
    progress(1.0)


def _snapshots(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of the policies saved in the middle of a training, in order."""
    found = [(int(path.name.partition("-")[2]), path) for path in folder.glob("step-*")]
    return sorted(found)


def exact(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> None:
    """The best policies of the grid's preferences, and of a finer grid to draw a front through."""
    import pandas as pd

    from lightning_moa.pareto import preference_grid

    data = load_data(spec)
    m = len(data.objectives)
    finer = preference_grid(m, 0.02) if m == 2 else np.array(spec["grid"])
    for name, preferences in (("grid", np.array(spec["grid"])), ("front", finer)):
        front = data.exact_front(preferences, spec["beta"])
        if front is None:
            raise UserError(f"data={spec['data']['name']}: its best policies are not known")
        columns = {f"lambda_{objective}": preferences[:, i] for i, objective in enumerate(data.objectives)}
        columns |= {f"gold_{objective}": front.rewards[:, i] for i, objective in enumerate(data.objectives)}
        # The last kind of prompt is the one that the objectives are at odds on.
        kind, shares = list(front.modes.items())[-1]
        columns |= {f"{kind}_{mode}": shares[:, i] for i, mode in enumerate(front.mode_names)}
        frame = pd.DataFrame({**columns, "kl": front.kl, "value": front.values})
        frame.to_csv(out / f"{name}.csv", index=False, lineterminator="\n")


def _resume(
    spec: Spec,
    out: Path,
    settings: dict[str, Any],
    data: StepData,
    callbacks: Iterable[Callback] = (),
    *,
    whole: bool = False,
) -> Resume:
    """What lets a training be stopped. `whole`: all weights are trained, whose checkpoints are far larger."""
    kept = partial_folder(out)
    every = spec["hardware"]["checkpoint_every"] * (WHOLE_AS_SELDOM if whole else 1)
    return Resume(kept, kept.name, every, settings["accumulate"], data, out / "log", callbacks)


def _micro_batches(settings: dict[str, Any], steps: int) -> tuple[int, int]:
    """Size and number of the batches whose gradients make up `steps` updates."""
    return settings["batch_size"] // settings["accumulate"], steps * settings["accumulate"]
