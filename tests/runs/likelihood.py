"""Small studies of HaM, SCA and RiC for the tests of this room."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from lightning_moa.config import parse
from lightning_moa.figures.panels import PanelsConfig
from lightning_moa.methods.products import Product, ham, ric, sca, sca_heads
from lightning_moa.methods.sections import all_sections
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.collect import Collected, collect
from lightning_moa.study.execute import execute
from lightning_moa.study.planning import Plan, plan_study
from lightning_moa.study.tasks import Task
from tests.conftest import REPOSITORY

CONFIG = REPOSITORY / "experiments" / "ham" / "config" / "assistant"
PREFERENCES = ((0.0, 1.0), (0.3, 0.7), (1.0, 0.0))
METHODS = {
    "ham": ham(3),
    "sca": sca(PREFERENCES),
    "sca_heads": sca_heads(PREFERENCES),
    "ric": ric(PREFERENCES),
}
SMALL = (
    "data.pairs=40",
    "data.eval_pairs=24",
    "data.sft_rows=300",
    "sft.steps=10",
    "likelihood.rows=60",
    "likelihood.steps=3",
    "online.generated=31",
    "online.kept=6",
    "evaluation.prompts=12",
)


def settings(*words: str, methods: Mapping[str, Product] = METHODS, small: bool = True) -> PanelsConfig:
    """The smoke study, smaller still, with a script's words."""
    given = ["scale=smoke", "code_in_key=false", *(SMALL if small else ()), *words]
    return parse(schema_of(methods, PanelsConfig), given, CONFIG, methods, all_sections())


def planned(*words: str, methods: Mapping[str, Product] = METHODS) -> Plan:
    return plan_study(settings(*words, methods=methods), methods)


def conduct(
    config: PanelsConfig, runs: Path, methods: Mapping[str, Product] = METHODS
) -> tuple[Plan, Collected]:
    """Run what is missing under `runs`, in this process."""
    plan = plan_study(config, methods)
    done(plan.targets(), runs)
    return plan, collect(plan, runs)


def done(targets: list[Task], runs: Path) -> None:
    execute(targets, runs, workers=1, fresh=False, console=Console(file=io.StringIO(), width=200))


def inputs_of(task: Task, runs: Path) -> dict[str, Path]:
    """What a task's function is called with, its needs being there."""
    done(list(task.needs.values()), runs)
    return {role: runs / need.key for role, need in task.needs.items()}


def offline_task(plan: Plan, seed: int = 0) -> Task:
    """The offline rows of a seed."""
    return next(iter(plan.seeds[seed].evaluations.values())).needs["rows"]


def rounds_of(task: Task) -> list[Task]:
    """A policy's trainings, the first one first."""
    stages = [task]
    while "start" in stages[0].needs:
        stages.insert(0, stages[0].needs["start"])
    return stages


def changed(task: Task, **spec: object) -> Task:
    """The task with other parts of its spec."""
    return replace(task, spec={**task.spec, **spec})
