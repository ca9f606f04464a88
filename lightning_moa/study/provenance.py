"""What run.yaml says of a study besides its configuration: what sets its numbers apart from another's, and where its
trained policies lie. Light."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import DataConfig
from lightning_moa.policies.packaged import is_packaged
from lightning_moa.rewards.sources import GOLD
from lightning_moa.study.planning import REFERENCE, Plan
from lightning_moa.study.tasks import Task

DECODING = ("max_new_tokens", "temperature", "top_p", "sample_seed")


def measured_with(
    config: StudyConfig, prompts: DataConfig | None, plan: Plan, responses: pd.DataFrame
) -> dict[str, Any]:
    """What numbers hang on besides the methods, in plain values, none of them a path: equal ones are comparable.

    Args:
        config: the study's.
        prompts: the data whose held-out prompts are answered, where they are not the study's own.
        plan: its tasks.
        responses: sampled ones, with columns `method`, `seed`, `prompt_index` and `prompt`.

    Returns:
        `data` (its settings, and the hash of local files, `content`), `prompts` (those that were answered),
        `decoding`, `base`, and `rewards`, what scores each objective.
    """
    evaluation = next(iter(plan.seeds.values())).evaluations[REFERENCE]
    spec = evaluation.spec
    data = {key: value for key, value in asdict(config.data).items() if key != "path"}
    return {
        "data": {**data, "content": _short(spec["files"])},
        "prompts": _prompts(prompts or config.data, responses[responses["method"] == REFERENCE]),
        "decoding": {key: getattr(config.evaluation, key) for key in DECODING},
        "base": _base(evaluation.needs["base"].spec),
        "rewards": _rewards(spec, evaluation.needs),
    }


def policies_of(method: str, seed: int, evaluation: Task, trained: list[Task]) -> dict[str, Any]:
    """What run.yaml says of a method's trained policies: the runs that hold them, and the preference that each was
    trained for; None where one policy serves all."""
    spec = evaluation.spec
    names = spec["objectives"]
    return {
        "method": method,
        "seed": seed,
        "deployment": spec["deployment"]["class"].partition(":")[2],
        "measurement": evaluation.key,
        "trained": [
            {"run": task.key, "preference": None if at is None else dict(zip(names, at, strict=True))}
            for task, at in zip(trained, spec["trained_at"], strict=True)
        ],
    }


def place_of(runs: Path, folder: Path) -> str:
    """The runs' folder as run.yaml, which lies in `folder`, names it."""
    return Path(os.path.relpath(runs, folder)).as_posix()


def _prompts(data: DataConfig, responses: pd.DataFrame) -> dict[str, Any]:
    """How many were answered, and which: where each seed has some of its own, by seed."""
    found: dict[str, Any] = {"number": 0}
    for seed, rows in responses.groupby("seed", sort=True):
        texts = rows.drop_duplicates("prompt_index").sort_values("prompt_index")["prompt"].tolist()
        of_own = data.for_seed(int(str(seed))) != data
        content = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        found |= {"number": len(texts), f"content of seed {seed}" if of_own else "content": _short(content)}
    return found


def _base(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The reference policy: a pretrained one, or a small one and how it was fine-tuned."""
    local = bool(spec["model_files"]) and not is_packaged(spec["model"]["path"])
    model = {key: value for key, value in spec["model"].items() if key != "gradient_checkpointing"}
    found = {
        **model,
        "path": None if local else model["path"],
        "content": _short(spec["model_files"]),
        "precision": spec["hardware"]["precision"],
    }
    return (
        found if model["path"] is not None else {**found, "tokenizer": spec["tokenizer"], "sft": spec["sft"]}
    )


def _rewards(spec: Mapping[str, Any], needs: Mapping[str, Task]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for objective, source in spec["rewards"].items():
        local = source.get("path")
        kept = {
            key: value for key, value in source.items() if key != "path" and (key, value) != ("name", local)
        }
        found[objective] = kept | {"content": _short(spec["reward_files"].get(objective, ""))}
    for role, name in (("rewards", "trained"), ("judge", "judge")):
        if role in needs:
            spec_of = needs[role].spec
            half = {} if spec_of["half"] is None else {"half": spec_of["half"]}
            found[name] = {**spec_of["reward_model"], **half}
    return found or {"all": GOLD}


def _short(digest: str) -> str | None:
    """Of a hash, as much as tells contents apart."""
    return digest[:16] or None
