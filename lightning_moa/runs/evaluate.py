"""A method's trained policies, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lightning_moa.errors import UserError
from lightning_moa.policies import RewardedSoup, load_policy
from lightning_moa.runs.measuring import Measure
from lightning_moa.runs.rows import each_policy, goals_of
from lightning_moa.runs.training import prepare, snapshots_in, steps_of
from lightning_moa.study.execute import Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


def evaluate(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> None:
    """Accuracies and rewards of a method's policies on the grid of preferences, as CSVs without the study's names."""
    prepare(spec["hardware"])
    measure = Measure(spec, inputs)
    trained = [path for role, path in sorted(inputs.items()) if role.startswith("policy")]
    steps = max(map(steps_of, trained), default=0)
    grid = torch.tensor(spec["grid"], dtype=torch.float64)
    deployed_as = spec["deployed_as"]
    if deployed_as == "reference":
        measure.add("reference", measure.base, None, step=0)
    elif deployed_as == "steered":
        for step, folder in [*snapshots_in(trained[0]), (steps, trained[0] / "policy")]:
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
