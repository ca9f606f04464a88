"""How the time of a training step grows with the model's width, with objectives, heads and processes.

    python -m benchmarks.step_scaling [--axes width objectives heads processes] [--trials 5] [--model smollm2|none]

A step is the method's own training step, its optimiser's among it, on rows as long as the settings allow. Beside the
ratio to an axis's first value stands the ratio of the operations that `moa plan` counts for the very same training.
Seconds are of one core's work, so that what else runs on the machine counts little. Slopes are of log seconds, and of
log operations, over the log of the axis's value, by least squares over its last three. Prints a table and writes
results/benchmarks/step_scaling.csv, in which the rows of axes that are not asked for stay.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from lightning.pytorch.callbacks import Callback

from benchmarks.measuring import RESULTS, medians, report, training_step, weights_of
from benchmarks.step_cases import AXES, BUILT, UPDATES, Case, Size, assembled, cases_of, gflop, task_of
from lightning_moa.runs.training import fit

LAST = 3
"""Values of an axis that slopes are taken over."""


def in_turn(cases: list[Case], size: Size, trials: int) -> list[tuple[float, float]]:
    """Seconds of a core for a step of each case, in turns in this process; none of the wall's."""
    ways = {}
    for case in cases:
        with tempfile.TemporaryDirectory() as name:
            method, rows = assembled(task_of(case, size, Path(name)), Path(name))
            ways[case] = training_step(method, next(iter(rows.train_dataloader())))
    return [(seconds, math.nan) for seconds in medians(ways, trials, time.process_time).values()]


class Clock(Callback):
    """A core's seconds and the wall's at the end of each update."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append((time.process_time(), time.perf_counter()))


def one_process(rank: int, case: Case, size: Size, port: int, folder: Path) -> None:
    """A process of a start; it leaves the median of its updates."""
    if case.value > 1:
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": case.value, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in own.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "none"}
    out, clock = folder / str(rank), Clock()
    out.mkdir()
    task = task_of(case, size, out)
    method, rows = assembled(task, out)
    watched: dict[str, Any] = {"progress": lambda share: None, "callbacks": [clock]}
    fit(method, rows, task.spec["hardware"], out / "run", batches=UPDATES, **watched)
    (out / "medians.json").write_text(json.dumps(np.median(np.diff(clock.ends, axis=0), axis=0).tolist()))


def by_starts(cases: list[Case], size: Size, trials: int) -> list[tuple[float, float]]:
    """Seconds of one process's core, and of the wall, for an update: medians of starts that take turns."""
    found: list[list[Any]] = [[] for _ in cases]
    # Each is forked from a process that has loaded the libraries and done nothing else.
    multiprocessing.get_context("forkserver").set_forkserver_preload(["benchmarks.step_cases"])
    for _ in range(trials):
        for case, measured in zip(cases, found, strict=True):
            with tempfile.TemporaryDirectory() as name:
                given = (case, size, find_free_network_port(), Path(name))
                torch.multiprocessing.start_processes(
                    one_process, given, nprocs=case.value, start_method="forkserver"
                )
                measured.append(json.loads((Path(name) / "0" / "medians.json").read_text()))
    return [tuple(np.median(measured, axis=0).tolist()) for measured in found]


def compared(series: pd.DataFrame) -> pd.DataFrame:
    """A method's rows with ratios to the first, and slopes, in which a model that is not made here has no part."""
    built = series[series["model"] == BUILT].tail(LAST)
    added = {}
    for column, ratio, slope in (("seconds", "ratio", "slope"), ("gflop", "foretold", "foretold_slope")):
        added[ratio] = series[column] / series[column].iloc[0]
        added[slope] = np.polyfit(np.log(built["value"]), np.log(built[column]), 1)[0]
    return series.assign(**{name: added[name] for name in ("ratio", "foretold", "slope", "foretold_slope")})


def measure(axis: str, size: Size, trials: int, pretrained: tuple[str, Path] | None) -> list[dict[str, Any]]:
    """The rows of an axis."""
    cases, rows = cases_of(axis, size, pretrained), []
    timed = (by_starts if axis == "processes" else in_turn)(cases, size, trials)
    for case, (core, wall) in zip(cases, timed, strict=True):
        with tempfile.TemporaryDirectory() as name:
            counted = gflop(task_of(case, size, Path(name)))
        identity = {name: getattr(case, name) for name in ("axis", "method", "model", "value")}
        rows.append({**identity, "seconds": core, "wall_seconds": wall, "gflop": counted, "trials": trials})
    groups = pd.DataFrame(rows).groupby("method", sort=False)
    return [row for _, series in groups for row in compared(series).to_dict("records")]


def main(axes: Iterable[str], trials: int, folder: Path, model: str | None, size: Size) -> pd.DataFrame:
    """A row for each axis, method and value."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*self.log.*")
    rows: list[dict[str, Any]] = []
    with weights_of(model) if model else nullcontext() as weights:
        pretrained = None if model is None or weights is None else (model, weights)
        for axis in axes:
            rows += measure(axis, size, trials, pretrained)
    return report("step_scaling", rows, folder, part="axis")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="+", choices=AXES, default=AXES, help="which are measured")
    parser.add_argument("--trials", type=int, default=5, help="whose median is taken")
    parser.add_argument("--model", default="smollm2", help="the widest; a folder, or none")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the CSV goes")
    given = parser.parse_args()
    main(given.axes, given.trials, given.folder, None if given.model == "none" else given.model, Size())
