"""Runs a study's tasks in this process, one after the other, and prints each one's estimated and measured peak memory.

    python measured_runs.py FOLDER OBJECTIVE      (a script of its own, so that the process is fresh)

Measured: the growth of the resident memory over what it was before the task, libraries loaded. The rows are as long as
the settings allow, as an estimate takes them to be; the model is far larger than what else a process allocates.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lightning_moa.config import StudyConfig, parse
from lightning_moa.methods.products import PANACEA_LS_DPO, PANACEA_PPO, ham
from lightning_moa.peak_memory import peak_memory_mib, reset_peak_memory
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.tasks import Task, in_order

SMALL = ("model.hidden_size=32", "model.layers=2", "model.heads=2", "model.intermediate_size=64")
LARGE = ("model.hidden_size=512", "model.layers=3", "model.heads=8", "model.intermediate_size=1408")
PRODUCTS = {"dpo": PANACEA_LS_DPO, "ppo": PANACEA_PPO, "likelihood": ham(3)}


def rows(folder: Path) -> Path:
    """Pairs of random words: long responses, long prompts and a few of a single word."""
    draw = random.Random(0)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]
    words += [first + second for first, second in zip(words, reversed(words), strict=True)]

    def text(count: int) -> str:
        return " ".join(draw.choice(words) for _ in range(count))

    lines = []
    for number in range(80):
        prompt = text(1 if number % 2 else 200)
        row = {"prompt": f"{prompt}", "response_0": text(200), "response_1": text(200)}
        lines.append(json.dumps(row | {"a": number % 2, "b": number % 3 % 2}))
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def config_of(objective: str, path: Path, sizes: Sequence[str], more: Sequence[str]) -> StudyConfig:
    schema = schema_of({"method": PRODUCTS[objective]})
    settings = [
        "data=pairs",
        f"data.path={path}",
        "data.labels.helpful=a",
        "data.labels.harmless=b",
        "data.max_length=160",
        "data.max_response_length=128",
        "data.long_responses=cut",
        "tokenizer.vocab_size=2000",
        "seeds=[0]",
        "adapter.targets=layers.",
        *("sft.steps=2", "sft.batch_size=4", "reward_model.steps=2", "reward_model.batch_size=2"),
        *(
            "evaluation.grid_step=0.5",
            "evaluation.prompts=2",
            "evaluation.pairs=2",
            "evaluation.batch_size=6",
        ),
        "evaluation.max_new_tokens=4",
    ]
    own = {
        "dpo": ["dpo.steps=2", "dpo.batch_size=4", "dpo.accumulate=1"],
        "ppo": ["ppo.steps=1", "ppo.batch_size=8", "ppo.accumulate=1", "ppo.max_new_tokens=64"],
        "likelihood": [
            *("likelihood.steps=2", "likelihood.batch_size=8", "likelihood.accumulate=1"),
            *("likelihood.rows=64", "heads.watch=0", "heads.number=3", "heads.warm_up=0"),
        ],
    }
    folder = path.parent / "config"
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text("{}")
    return parse(schema, [*settings, *own[objective], *sizes, *more], folder)


def tasks_of(objective: str, config: StudyConfig) -> list[Task]:
    return in_order(plan_study(config, {"method": PRODUCTS[objective]}).targets())


def run(tasks: Sequence[Task], folder: Path) -> dict[str, float]:
    """Do each task; its name to the bytes that the process grew by at most."""
    import importlib

    grown = {}
    for task in tasks:
        out = folder / task.key
        out.mkdir(parents=True, exist_ok=True)
        module, _, name = task.function.partition(":")
        inputs = {role: folder / need.key for role, need in task.needs.items()}
        reset_peak_memory()
        before = peak_memory_mib()
        measured = getattr(importlib.import_module(module), name)(task.spec, inputs, out, lambda share: None)
        grown[task.name] = (peak_memory_mib() - before) * 2**20
        (out / "task.json").write_text(json.dumps(measured or {}))
    return grown


def main(folder: Path, objective: str, more: Sequence[str]) -> None:
    path = rows(folder)
    run(tasks_of(objective, config_of(objective, path, SMALL, more)), Path(tempfile.mkdtemp(dir=folder)))
    tasks = tasks_of(objective, config_of(objective, path, LARGE, more))
    grown = run(tasks, Path(tempfile.mkdtemp(dir=folder)))

    # Only now: what the estimate itself loads and makes is no part of the runs.
    from lightning_moa.forecast.memory import peak, total
    from lightning_moa.forecast.rows import forecast, kind_of

    for task in tasks:
        name, phase = peak(forecast(task).phases)
        estimated = total(phase) - phase["process"]
        print(
            json.dumps(
                {"run": kind_of(task), "phase": name, "estimated": estimated, "measured": grown[task.name]}
            )
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
