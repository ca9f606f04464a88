"""The reward model that is trained on a study's pairs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from lightning_moa.methods.reward_model import RewardModel
from lightning_moa.policies import save_model
from lightning_moa.processes import full_size, gathered, rank
from lightning_moa.rewards.trained import SIDECAR
from lightning_moa.runs.loading import load_base, load_data
from lightning_moa.runs.training import (
    fit,
    micro_batches,
    number_of_steps,
    optimiser_factory,
    prepare,
    resume_of,
)
from lightning_moa.task_files import Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


def reward_model(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """A Bradley-Terry reward model with one output per objective, started from the reference policy's body."""
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
    rows, batches = micro_batches(settings, steps)
    data.use(tokenizer, "pairs", batch_size=rows, steps=batches, seed=spec["seed"])
    module = RewardModel(
        network,
        optimiser_factory(settings, steps),
        settings["regularisation"],
        objectives=data.objectives,
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
    }
    (out / "model" / SIDECAR).write_text(json.dumps(about))
    return {"trained_parameters": sum(full_size(p) for p in network.parameters()), "steps": steps}
