"""Studies of which some trainings may go nowhere: a learning rate that is tried, and is too large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.methods.products import Product
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.execute import RunsFailed, why_diverged
from lightning_moa.study.planning import plan_study
from lightning_moa.study.tasks import in_order

Config = TypeVar("Config", bound=StudyConfig)


def conduct_what_converges(
    config: StudyConfig, methods: Mapping[str, Product], console: Console
) -> tuple[Collected | None, dict[str, str]]:
    """Conduct a study without the methods of which a training diverges. One that has diverged in an earlier start is
    not trained once more, unless the study is to be `fresh`.

    Returns:
        What the others have left, None where there are none; and each method that was left out, with what the training
        that diverged has said.

    Raises:
        UserError: settings that no run can be made of.
        RunsFailed: runs failed for another reason.
    """
    lost = {} if config.fresh else _diverged(config, methods)
    while left := {name: product for name, product in methods.items() if name not in lost}:
        try:
            return conduct(_of(config, left), left, console), lost
        except RunsFailed:
            found = _diverged(_of(config, left), left)
            if not found:
                raise
            lost |= found
            config = replace(config, fresh=False)
    return None, lost


def _of(config: Config, methods: Mapping[str, Product]) -> Config:
    return replace(config, methods={name: each for name, each in config.methods.items() if name in methods})


def _diverged(config: StudyConfig, methods: Mapping[str, Product]) -> dict[str, str]:
    """Method -> what the first of its trainings that has diverged has said."""
    runs = Path(str(config.runs_dir))
    if not any(runs.glob("failed-*")):
        return {}
    plan = plan_study(config, methods)
    found: dict[str, str] = {}
    for seed in plan.seeds.values():
        for name in methods:
            for task in in_order([seed.evaluations[name]]):
                why = why_diverged(runs, task.key)
                if why is not None:
                    found.setdefault(name, f"{task.name}: {why}")
    return found
