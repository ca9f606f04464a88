"""Speed and memory of models of 7 billion parameters on one GPU, against what `moa plan` says of them.

    python -m benchmarks.gpu_7b [--methods gapo ham] [--precisions bf16 int8] [--strategies single deepspeed_3]
    python -m benchmarks.gpu_7b --size tiny      (narrow models on the CPU, in seconds: does it all run?)

LLaMA-7B, Mistral-7B and OPT-6.7B are built from their published configurations with random weights: nothing is
downloaded. Rows and lengths are the papers'. Rewards are a rule, so that no reward model is in the memory or the time;
the plan that stands beside is one without them, too. Each case has a process of its own. results/benchmarks/gpu_7b.csv
is written after each, and what it has of this device is not measured again. A case that fails is a row with its error.

A GPU machine needs torch, transformers, lightning and what these bring along; where it has no network, wheels of the
rest are carried there: omegaconf, moocore, scipy, pandas, pyarrow, psutil, rich, PyYAML; bitsandbytes for int8 and nf4;
deepspeed for its strategies. datasets and peft, which studies need, are not looked for. A model takes 14 GB of disk,
is written there once, and is removed when nothing is left to be measured on it, unless `--weights` names the folder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_cases import METHODS, MODELS, SIZES, Case, cases_of, planned
from benchmarks.measuring import RESULTS, commit
from lightning_moa.errors import UserError
from lightning_moa.forecast.flops import GPUS
from lightning_moa.reporting.files import write_atomically
from lightning_moa.strategies.choices import PRECISIONS, STRATEGIES

REPOSITORY = Path(__file__).resolve().parents[1]
WITHOUT = "a rule, no reward model in memory"
ENDED = "not done in time"
SHORTEST = 60.0
"""Seconds: with less than that left no case is begun."""
COLUMNS = (
    *("size", "method", "model", "precision", "strategy", "rows", "device", "device_gib", "rewards"),
    *("trained", "load_s", "steps", "step_s", "step_min_s", "step_max_s", "sampled_tokens"),
    *("tokens_per_step", "tokens_per_s", "tflop_per_step", "flops_utilisation"),
    *("full_speed_s", "plan_utilisation", "weights_gib", "plan_weights_gib"),
    *("peak_gib", "plan_gib", "plan_phase", "times_plan", "reserved_gib", "outside_gib", "error"),
    *("cpu", "cores", "threads", "python", "torch", "transformers", "lightning", "deepspeed", "bitsandbytes"),
    "commit",
)
SHOWN = (
    *("method", "model", "precision", "strategy", "rows", "steps", "step_s", "tokens_per_s"),
    *("flops_utilisation", "plan_utilisation", "peak_gib", "plan_gib", "times_plan", "error"),
)


class Bench:
    """The results so far, and what is there to add to them.

    Args:
        accelerator: cpu or gpu.
        path: of the CSV.
        weights: where models are written; kept there unless `temporary`.
        seconds: that a case may take before it is ended.
    """

    def __init__(
        self, accelerator: str, path: Path, weights: Path, seconds: float, *, temporary: bool
    ) -> None:
        self.accelerator = accelerator
        self.path = path
        self.weights = weights
        self.seconds = seconds
        self.temporary = temporary
        self.machine = self._machine() | {"commit": commit()}
        self.gpu = named(self.machine["device"]) if accelerator == "gpu" else None
        self.rows: list[dict[str, Any]] = []
        if self.path.is_file():
            self.rows = pd.read_csv(self.path).to_dict("records")  # type: ignore[assignment]

    def _machine(self) -> dict[str, Any]:
        if self.accelerator == "gpu":
            found = self._child({"what": "machine"}, self.seconds)
            if "error" in found:
                raise UserError(f"--accelerator gpu: {found['error']}")
            return found
        from benchmarks.gpu_measure import machine

        return machine(self.accelerator)

    def known(self, case: Case) -> bool:
        """Whether there is a row of this case on this device."""
        return any(self._same(row, case) for row in self.rows)

    def _same(self, row: dict[str, Any], case: Case) -> bool:
        wanted = case.identity | {"device": self.machine["device"]}
        return all(row[name] == value for name, value in wanted.items())

    def measure(self, case: Case, limit: float) -> dict[str, Any] | None:
        """A row, which is in the CSV then; None where the time that was left, less than a case may take, ran out."""
        row = case.identity | {"rewards": WITHOUT if METHODS[case.method].section == "ppo" else ""}
        until = time.monotonic() + limit
        found = self._model(case, limit)
        if "error" not in found:
            rest = max(1.0, until - time.monotonic())
            found = self._child({"what": "case", "case": asdict(case)}, rest, case)
        if found.get("error") == ENDED:
            if limit < self.seconds:
                return None
            found["error"] = f"not done in {limit:g} s"
        self._add(case, self.machine | row | found)
        return self.rows[-1]

    def _add(self, case: Case, row: dict[str, Any]) -> None:
        step = row.get("step_s", math.nan)
        if "step_s" in row:
            row["tokens_per_s"] = row["tokens_per_step"] / step
            row["plan_utilisation"] = row["full_speed_s"] / step
            row["times_plan"] = row["peak_gib"] / row["plan_gib"]
            if self.gpu is not None:
                row["flops_utilisation"] = row["tflop_per_step"] * 1e12 / step / GPUS[self.gpu].flops
        self.rows = [other for other in self.rows if not self._same(other, case)]
        self.rows.append({name: row.get(name) for name in COLUMNS})
        frame = pd.DataFrame(self.rows, columns=list(COLUMNS)).astype({"trained": "Int64", "steps": "Int64"})
        write_atomically(self.path, frame.to_csv(index=False, lineterminator="\n"))

    def _model(self, case: Case, limit: float) -> dict[str, Any]:
        """Write the case's model where it isn't there yet; what went wrong."""
        folder = self.folder(case)
        if (folder / "config.json").is_file():
            return {}
        folder.mkdir(parents=True, exist_ok=True)
        if self.accelerator == "gpu":
            order = {"what": "weights", "model": case.model, "size": case.size, "folder": str(folder)}
            return self._child(order, limit)
        from benchmarks.gpu_measure import make_weights

        make_weights(case.model, case.size, self.accelerator, folder)
        return {}

    def folder(self, case: Case) -> Path:
        """Of the case's model."""
        return self.weights / f"{case.model}-{case.size}"

    def done_with(self, case: Case, left: Sequence[Case]) -> None:
        """Remove the case's model where none of those that are left needs it."""
        if self.temporary and all(self.folder(other) != self.folder(case) for other in left):
            shutil.rmtree(self.folder(case), ignore_errors=True)

    def _child(self, order: dict[str, Any], limit: float, case: Case | None = None) -> dict[str, Any]:
        """What a fresh process finds; meanwhile this one, which never touches the GPU, works out the plan."""
        with TemporaryDirectory() as name:
            given, result, log = (Path(name) / each for each in ("order.json", "result.json", "log.txt"))
            order = {"accelerator": self.accelerator} | order
            if case is not None:
                order["folder"] = str(self.folder(case))
            given.write_text(json.dumps(order))
            command = [sys.executable, "-m", "benchmarks.gpu_measure", str(given), str(result)]
            with log.open("w") as stream:
                process = subprocess.Popen(
                    command, stdout=stream, stderr=subprocess.STDOUT, cwd=REPOSITORY, start_new_session=True
                )
                try:
                    until = time.monotonic() + limit
                    foretold = {} if case is None else planned(case, self.folder(case), self.gpu)
                    process.wait(max(0.0, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    return foretold | {"error": ENDED}
                finally:
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
                        process.wait()
            lines = log.read_text(errors="replace").splitlines()
            if process.returncode:
                print(*lines[-15:], sep="\n", file=sys.stderr)
            if not result.is_file():
                said = lines[-1] if lines else "nothing said"
                return foretold | {"error": f"ended with code {process.returncode}: {said}"}
            return foretold | json.loads(result.read_text())


def named(device: str) -> str | None:
    """A device's name among the GPUs that `moa plan` knows; None where it is none of them."""
    return next((name for name in GPUS if name in device.lower()), None)


def main(
    cases: Sequence[Case],
    accelerator: str,
    path: Path,
    *,
    weights: Path | None = None,
    seconds: float = 300.0,
    budget: float = math.inf,
    fresh: bool = False,
) -> pd.DataFrame:
    """Measure the cases in turn; returns all rows of the CSV.

    Args:
        cases: of `cases_of`.
        accelerator: cpu or gpu.
        path: of the CSV.
        weights: where models are written and stay; None: a folder that is removed.
        seconds: that a case may take, loading included, before it is ended.
        budget: seconds for all of them.
        fresh: measure again what the CSV has.
    """
    began = time.monotonic()
    console = Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=200, soft_wrap=True)
    with TemporaryDirectory() as scratch:
        bench = Bench(accelerator, path, weights or Path(scratch), seconds, temporary=weights is None)
        todo = [case for case in cases if fresh or not bench.known(case)]
        console.print(
            f"{bench.machine['device']}: {len(todo)} of {len(cases)} cases to measure, in this order:"
        )
        for number, case in enumerate(todo, 1):
            console.print(f"  {number}. {shown(case)}")
        for number, case in enumerate(todo):
            rest = budget - (time.monotonic() - began)
            if rest < SHORTEST:
                console.print(f"{rest:.0f} s left: {len(todo) - number} cases stay unmeasured")
                break
            started = time.monotonic()
            row = bench.measure(case, min(seconds, rest))
            bench.done_with(case, todo[number + 1 :])
            said = "no time left for it" if row is None else row["error"] or f"{row['step_s']:.3g} s a step"
            took, left = time.monotonic() - started, budget - (time.monotonic() - began)
            of_all = "" if math.isinf(budget) else f"; {left:.0f} s left"
            console.print(f"{number + 1}/{len(todo)} {shown(case)}: {said} ({took:.0f} s{of_all})")
        console.print(table_of(bench.rows, path.name, bench.machine["device"]))
        return pd.DataFrame(bench.rows, columns=list(COLUMNS))


def shown(case: Case) -> str:
    """A case in a line."""
    return f"{case.method} on {case.model}-{case.size}, {case.precision}, {case.strategy}, {case.rows} rows"


def table_of(rows: Sequence[dict[str, Any]], name: str, device: str) -> Table:
    """What the CSV has for a device."""
    table = Table(*SHOWN, title=f"{name}: {device}")
    for row in rows:
        if row["device"] == device:
            table.add_row(*(_cell(row[name]) for name in SHOWN))
    return table


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def started(words: Sequence[str]) -> pd.DataFrame:
    """What the words of a command line ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="7b", help="of the models")
    parser.add_argument(
        "--accelerator", choices=("cpu", "gpu"), help="by default the GPU for 7b, else the CPU"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="in this order")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[], help="by default each paper's own")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["bf16", "int8", "nf4"])
    strategies = [name for name in STRATEGIES if name != "ddp"]
    parser.add_argument(
        "--strategies", nargs="+", choices=strategies, default=["single", "deepspeed_3", "deepspeed_2"]
    )
    parser.add_argument("--rows", type=int, help="of an update; by default what the paper has on each device")
    parser.add_argument("--steps", type=int, default=4, help="updates whose median is taken")
    # In the second one ZeRO-3 follows what it has traced in the first, and gives that up where responses are sampled.
    parser.add_argument("--warm-up", type=int, default=2, help="updates before them")
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="a case may take; no update begins after half"
    )
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds for all of them")
    parser.add_argument("--fresh", action="store_true", help="measure again what the CSV has")
    parser.add_argument("--weights", type=Path, help="folder where models stay; by default they are removed")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the CSV goes")
    given = parser.parse_args(words)
    accelerator = given.accelerator or ("gpu" if given.size == "7b" else "cpu")
    cases = cases_of(
        size=given.size,
        accelerator=accelerator,
        methods=given.methods,
        models=given.models,
        precisions=given.precisions,
        strategies=given.strategies,
        rows=given.rows,
        steps=given.steps,
        warm_up=given.warm_up,
        seconds=given.seconds / 2,
    )
    return main(
        cases,
        accelerator,
        given.folder / f"gpu_{given.size}.csv",
        weights=given.weights,
        seconds=given.seconds,
        budget=given.budget,
        fresh=given.fresh,
    )


if __name__ == "__main__":
    try:
        started(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
