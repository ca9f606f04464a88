"""A study from its configuration to its rows: plan, run what is missing, collect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import DataConfig
from lightning_moa.errors import UserError, warn
from lightning_moa.methods.products import Product
from lightning_moa.policies.packaged import check_package, is_packaged
from lightning_moa.strategies.choices import check_hardware, check_installed, check_there, processes_of
from lightning_moa.strategies.launching import check_started, is_main_process, started_processes
from lightning_moa.study.collect import Collected, collect
from lightning_moa.study.execute import execute
from lightning_moa.study.planning import plan_study
from lightning_moa.study.provenance import measured_with
from lightning_moa.study.tasks import in_order
from lightning_moa.workers import leave_if_imported


def conduct(
    config: StudyConfig, methods: Mapping[str, Product], console: Console, prompts: DataConfig | None = None
) -> Collected:
    """Make sure that every run of the study is there, and read what they have left.

    Args:
        config: what to run; `runs_dir` and `workers` are set by `script`.
        methods: the study's own name of each method, and what it is made of.
        console: where progress and what became of the data's rows are shown.
        prompts: the data whose held-out prompts the policies are measured on; None: the study's own.

    Raises:
        UserError: settings that no run can be made of.
        RunsFailed: names the runs that failed; the others are kept.
    """
    leave_if_imported()
    hardware = asdict(config.hardware)
    # Planning loads torch, which what isn't there need not wait for.
    check_installed(hardware)
    plan = plan_study(config, methods, prompts)
    runs = Path(str(config.runs_dir))
    workers = config.workers or 1
    if is_main_process():
        for line in check_hardware(hardware):
            warn(line)
    whole = any(task.function.endswith(":reward_model") for task in in_order(plan.targets()))
    check_installed(hardware, whole=whole)
    check_there(hardware)
    if is_packaged(config.model.path):
        check_package(config.model.path)
    if processes_of(hardware) > 1:
        check_started(processes_of(hardware))
        # Each process of such a run goes through the same tasks, so all of them must see the same ones as done.
        if config.fresh:
            raise UserError(
                f"fresh=true with {processes_of(hardware)} processes: choose another runs_dir instead"
            )
        workers = 1
        if started_processes() > 1:
            from lightning_moa.strategies.trainer import join_started

            join_started(config.hardware.accelerator)
    execute(plan.targets(), runs, workers=workers, fresh=config.fresh, console=console)
    collected = collect(plan, runs)
    collected = replace(collected, measured_with=measured_with(config, prompts, plan, collected.responses))
    measured = collected.points["kl"].to_numpy(np.float64)
    for method, rows in collected.points[~np.isfinite(measured)].groupby("method", sort=False):
        seeds = ", ".join(map(str, sorted(rows["seed"].unique())))
        warn(
            f"{method}, seed {seeds}: its KL is no finite number, so that it has diverged at the end of its training; "
            "its rows are no results"
        )
    for line in collected.data_lines:
        console.print(f"{config.data.name}, {line}", highlight=False)
    return collected
