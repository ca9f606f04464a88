"""The reward model that is trained on a study's pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from lightning_moa.errors import UserError
from lightning_moa.methods.reward_model import RewardModel
from lightning_moa.policies import save_model
from lightning_moa.policies.model import load_config, torch_dtype
from lightning_moa.processes import full_size, gathered, rank
from lightning_moa.rewards.trained import SIDECAR
from lightning_moa.runs.loading import base_model, base_tokenizer, load_base, load_data
from lightning_moa.runs.training import (
    fit,
    micro_batches,
    number_of_steps,
    optimiser_factory,
    prepare,
    resume_of,
)
from lightning_moa.strategies.choices import trained_whole
from lightning_moa.strategies.quantisation import base_dtype
from lightning_moa.task_files import Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


def classifier(folder: Path, hardware: dict[str, Any], outputs: int) -> tuple[Any, PreTrainedTokenizerFast]:
    """A classifier on the body of the model that a `base` task left, and its tokenizer.

    All of its weights are to be trained, so they are in the type that they are trained in (`trained_whole`), which a
    quantised one can't be, and in the machine's own memory: Lightning moves them. Each process holds them once.
    """
    precision = trained_whole(hardware)["precision"]
    path, revision, _ = base_model(folder)
    tokenizer, config = base_tokenizer(folder), load_config(path, revision=revision)
    config.num_labels, config.pad_token_id = outputs, tokenizer.pad_token_id
    network = AutoModelForSequenceClassification.from_config(config, dtype=torch_dtype(base_dtype(precision)))
    body = network.base_model_prefix
    # The body that it came with goes before the trained one is read.
    setattr(network, body, None)
    policy, _ = load_base(folder, {**hardware, "precision": precision, "accelerator": "cpu"})
    setattr(network, body, policy.model.base_model)
    network.base_model.config = config
    return network.requires_grad_(True), tokenizer


def standard(scores: np.ndarray | None, objectives: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each objective's scores, (m,) each: what an output is multiplied by, and moved by,
    to be a score. 0 and 1 where there are none.

    Raises:
        UserError: an objective has one score throughout, so nothing can be learnt of it.
    """
    m = len(objectives)
    if scores is None:
        return np.zeros(m), np.ones(m)
    scale = scores.std(axis=0)
    for name, value, first in zip(objectives, scale, scores[0], strict=True):
        if not value > 0:
            raise UserError(
                f"objective {name!r}: all training rows have the score {first:g}, so it ranks nothing"
            )
    return scores.mean(axis=0), scale


def reward_model(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """A reward model with one output per objective, started from the reference policy's body: Bradley-Terry on pairs,
    or fitted to the scores of single responses."""
    prepare(spec["hardware"])
    torch.manual_seed(spec["seed"])
    data = load_data(spec)
    objectives = data.objectives
    network, tokenizer = classifier(inputs["base"], spec["hardware"], len(objectives))
    if spec["model"]["gradient_checkpointing"]:
        network.config.use_cache = False
        network.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    settings, view = spec["reward_model"], spec["learns"]
    steps = number_of_steps(settings, len(data.encoded(tokenizer, "train", view)))
    rows, batches = micro_batches(settings, steps)
    scores = data.sequence_rewards("train") if view == "sequences" else None
    shift, scale = standard(scores, objectives)
    standardised = None if scores is None else (scores - shift) / scale
    data.use(tokenizer, view, batch_size=rows, steps=batches, seed=spec["seed"], rewards=standardised)
    module = RewardModel(
        network,
        optimiser_factory(settings, steps),
        settings["regularisation"],
        objectives=data.objectives,
        view=view,
    )
    fit(
        module,
        data,
        spec["hardware"],
        out,
        batches=batches,
        progress=progress,
        grad_clip=settings["grad_clip"],
        accumulate=settings["accumulate"],
        resume=resume_of(spec, out, settings, data, whole=True),
    )
    with gathered(network.parameters()):
        if rank() == 0:
            save_model(network, out / "model")
    (out / "model").mkdir(exist_ok=True)
    tokenizer.save_pretrained(out / "model")
    about = {
        "objectives": list(objectives),
        "template": spec["data"]["template"],
        "max_length": spec["data"]["max_length"],
        "shift": shift.tolist(),
        "scale": scale.tolist(),
    }
    (out / "model" / SIDECAR).write_text(json.dumps(about))
    return {"trained_parameters": sum(full_size(p) for p in network.parameters()), "steps": steps}
