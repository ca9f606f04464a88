"""The reference policy of a study: a pretrained model as it is, or a small one built from scratch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lightning_moa.data.encoding import Encoded
from lightning_moa.methods.sft import SFT
from lightning_moa.policies import save_model
from lightning_moa.processes import full_size, gathered, rank
from lightning_moa.runs.loading import load_data, make_base
from lightning_moa.runs.schedules import number_of_steps, optimiser_factory
from lightning_moa.runs.training import fit, micro_batches, prepare, resume_of
from lightning_moa.task_files import Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


def base(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """The reference policy: a pretrained model as it is, or a small one built from scratch and fine-tuned."""
    prepare(spec["hardware"])
    data, packaged = load_data(spec), inputs.get("packaged")
    policy, tokenizer = make_base(spec, data, None if packaged is None else packaged / "model")
    trained, before = 0, 0.0
    if spec["model"]["path"] is None:
        settings = spec["sft"]
        steps = number_of_steps(settings, len(data.encoded(tokenizer, "train", "sequences")))
        rows, batches = micro_batches(settings, steps)
        data.use(tokenizer, "sequences", batch_size=rows, steps=batches, seed=spec["seed"])
        module = SFT(policy, optimiser_factory(settings, steps))
        # A model that is built here is small, and the same one whatever precision the policies' base is loaded at.
        before = fit(
            module,
            data,
            {**spec["hardware"], "precision": "fp32"},
            out,
            batches=batches,
            progress=progress,
            grad_clip=settings["grad_clip"],
            accumulate=settings["accumulate"],
            resume=resume_of(spec, out, settings, data, whole=True),
        )
        with gathered(policy.parameters()):
            if rank() == 0:
                if spec["tokens"]:
                    _lengthen_unseen(policy.model, data.encoded(tokenizer, "train", "sequences"))
                save_model(policy.model, out / "model")
        tokenizer.save_pretrained(out / "model")
        trained = sum(full_size(p) for p in policy.parameters())
    # Where a packaged model was unpacked is a run beside this one.
    about = {"model": spec["model"], "packaged": None if packaged is None else packaged.name}
    (out / "base.json").write_text(json.dumps(about))
    # What is asked in evaluation, and how much of it is cut, is part of what the data are.
    data.encoded(tokenizer, "eval", "prompts")
    (out / "data.txt").write_text("\n".join(data.report.lines()) + "\n")
    return {"trained_parameters": trained, "seconds_before": before}


@torch.no_grad()
def _lengthen_unseen(model: torch.nn.Module, seen: Encoded) -> None:
    """Give tokens that no text had the mean length of those that were trained, so that they can be told apart.

    RiC's tokens are such ones. Their first values are noise far below the rest; directions stay as they are.
    """
    weight = model.get_input_embeddings().weight  # type: ignore[operator]
    known = torch.zeros(len(weight), dtype=torch.bool)
    for part in (seen.prompts, *seen.responses):
        known[torch.tensor(part.values).long()] = True
    lengths = weight.norm(dim=1, keepdim=True)
    weight[~known] *= lengths[known].mean() / lengths[~known].clamp(min=1e-12)
