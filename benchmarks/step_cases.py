"""What `step_scaling` measures: a training at each value of an axis, and the operations that the plan counts for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_measure import LongestRows, leave_inputs, words
from lightning_moa.answers import use
from lightning_moa.config import parse
from lightning_moa.deployments import Alone, TrainedOn
from lightning_moa.forecast.rows import forecast
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.products import PANACEA_LS_DPO, PANACEA_PPO, Product, ham
from lightning_moa.methods.sections import answers_of
from lightning_moa.rewards.sources import GOLD, Source
from lightning_moa.runs.align import first_policy
from lightning_moa.runs.context import Answers, Context, build_method
from lightning_moa.runs.loading import make_base
from lightning_moa.runs.training import prepare
from lightning_moa.strategies.choices import processes_of
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.tasks import Task

AXES = ("width", "objectives", "heads", "processes")
NAME = "measured"
UPDATES = 9
"""Of a start of processes; the first does not count."""
BUILT = "from scratch"
DPO = "Panacea, DPO"
PROBES = ("last_layer", "all")
"""Whose gradients GAPO looks at, here of DPO's losses."""
RANKS = {"HaM, full heads": "null", "HaM, heads of rank 16": "16"}
"""Kind of heads -> heads.rank."""


@dataclass(frozen=True)
class Size:
    """Of what is measured; each axis changes one of these, or the number of processes."""

    widths: tuple[int, ...] = (64, 128, 256, 384, 576)
    objectives: tuple[int, ...] = (2, 4, 8, 10)
    heads: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    processes: tuple[int, ...] = (1, 2)
    width: int = 128
    layers: int = 4
    rows: int = 8
    """Of a batch: pairs, prompts or responses."""
    length: int = 64
    """Tokens of a row; a response has half of them."""
    vocabulary: int = 1024
    vocabulary_of_heads: int = 4096


@dataclass(frozen=True, eq=False)
class Case:
    """One value of an axis for one method."""

    axis: str
    value: int
    method: str
    product: Product
    words: tuple[str, ...] = ()
    """Settings besides those that all have."""
    model: str = BUILT
    m: int = 2


def cases_of(axis: str, size: Size, pretrained: tuple[str, Path] | None) -> list[Case]:
    """The cases of an axis; `pretrained` is the name and the folder of a model that the widths end with."""
    if axis == "width":
        products = {DPO: PANACEA_LS_DPO, "Panacea, PPO": PANACEA_PPO}
        found = [
            Case(axis, width, name, product, wide(width))
            for name, product in products.items()
            for width in size.widths
        ]
        if pretrained is not None:
            name, folder = pretrained
            width = json.loads((folder / "config.json").read_text())["hidden_size"]
            found.append(Case(axis, width, DPO, PANACEA_LS_DPO, (f"model.path={folder}",), model=name))
        return found
    if axis == "objectives":
        centre, gapo = TrainedOn.centre(), use("gapo", p=1.0)
        products = {DPO: PANACEA_LS_DPO} | {
            f"GAPO, DPO, {probe}": Product("gapo", "lora", "dpo", gapo, centre, Alone(), probe=probe)
            for probe in PROBES
        }
        return [
            Case(axis, m, name, product, m=m) for name, product in products.items() for m in size.objectives
        ]
    if axis == "heads":
        vocabulary = f"tokenizer.vocab_size={size.vocabulary_of_heads}"
        # With the paper's objective alone a step would leave out heads that others dominate.
        alive = ("heads.jitter=0.01", "heads.fronts=all")
        more = ("model.family=opt", vocabulary, "adapter.targets=all-linear", *alive)
        return [
            Case(axis, heads, name, ham(heads), (*more, f"heads.rank={rank}"))
            for name, rank in RANKS.items()
            for heads in size.heads
        ]
    # Wider, so that what processes tell one another is a small part of a step.
    settings = {
        count: (f"hardware.devices={count}", f"hardware.strategy={'single' if count == 1 else 'ddp'}")
        for count in size.processes
    }
    return [
        Case(axis, count, DPO, PANACEA_LS_DPO, (*wide(2 * size.width), *own))
        for count, own in settings.items()
    ]


def wide(width: int) -> tuple[str, ...]:
    return f"model.hidden_size={width}", f"model.intermediate_size={2 * width}"


def task_of(case: Case, size: Size, folder: Path) -> Task:
    """The training task that a study would have, but that a rule takes the place of reward models."""
    names, half = [f"o{i}" for i in range(case.m)], size.length // 2
    section = next(iter(answers_of(case.product)["objective"].sections))
    # Pairs that a plan can be made of; trained on are `LongestRows`.
    pair = {"response_0": "b", "response_1": "c", **dict.fromkeys(names, 1)}
    pairs = folder / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({"prompt": prompt, **pair}) + "\n" for prompt in "abcd"))
    given = [
        *("data=pairs", f"data.path={pairs}", *(f"data.labels.{name}={name}" for name in names)),
        *("data.template={prompt}", f"data.max_length={size.length}", f"data.max_response_length={half}"),
        *(
            f"data.response_room={half}",
            "evaluation.max_new_tokens=1",
            "hardware.accelerator=cpu",
            "seeds=[0]",
        ),
        *(f"model.layers={size.layers}", *wide(size.width), f"tokenizer.vocab_size={size.vocabulary}"),
        *(f"{section}.batch_size={size.rows}", f"{section}.accumulate=1", f"{section}.steps={UPDATES}"),
        *((f"ppo.max_new_tokens={half}", "ppo.max_kl=1e9") if section == "ppo" else ()),
    ]
    # Of a key that is given twice the later one holds.
    settings = dict(word.split("=", 1) for word in [*given, *case.words])
    schema = schema_of({NAME: case.product})
    config = parse(schema, [f"{key}={value}" for key, value in settings.items()], None)
    (task,) = plan_study(config, {NAME: case.product}).seeds[0].policies[NAME]
    return replace(task, spec={**task.spec, "rewards": {name: Source(GOLD).to_json() for name in names}})


def gflop(task: Task) -> float:
    """10^9 operations of an update on each process, by the plan."""
    found = forecast(task)
    return found.work.flops / found.steps / processes_of(task.spec["hardware"]) / 1e9


class Rows(LongestRows):
    """With a tokenizer for a model that is made here; its words are among the tokens of any other, too."""

    def world_tokenizer(self) -> Any:
        return words(self.vocabulary)


def assembled(task: Task, folder: Path) -> tuple[Alignment, Any]:
    """The method of a task, as a study's training builds it, and the rows that it is fed by."""
    spec, settings = dict(task.spec), task.spec["settings"]
    prepare(spec["hardware"])
    data = Rows(spec, settings["batch_size"], spec["tokenizer"]["vocab_size"])
    base, _ = make_base(spec, data)
    inputs, tokenizer = leave_inputs(spec, data, folder), data.world_tokenizer()
    run = Context(spec, inputs, Answers.of(spec), data, tokenizer, base, UPDATES)
    run = replace(run, policy=first_policy(run))
    objective = run.answers.objective
    batches = {"batch_size": settings["batch_size"], "steps": UPDATES, **objective.batch_inputs(run)}
    return build_method(run), objective.rows(run).use(tokenizer, objective.view, seed=0, **batches)  # type: ignore[attr-defined]
