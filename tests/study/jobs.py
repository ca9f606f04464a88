"""Small tasks for the tests of this room. Workers import this module: nothing here may be slow to load."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_moa.errors import Diverged, Stopped, UserError
from lightning_moa.signals import heeded
from lightning_moa.study.execute import execute
from lightning_moa.study.tasks import Task
from lightning_moa.task_files import partial_folder

Spec = dict[str, Any]
Inputs = dict[str, Path]


def add(spec: Spec, inputs: Inputs, out: Path, progress: Any) -> dict[str, Any]:
    """The spec's value and the inputs' values together; each call leaves a line in the spec's log."""
    progress(0.5)
    with Path(spec["log"]).open("a") as log:
        log.write(f"{spec['value']}\n")
    total = spec["value"] + sum(int((path / "value.txt").read_text()) for path in inputs.values())
    (out / "value.txt").write_text(str(total))
    return {"steps": 3}


def fail(spec: Spec, inputs: Inputs, out: Path, progress: Any) -> None:
    (out / "half.txt").write_text("half")
    raise ArithmeticError("no luck today\nnor tomorrow")


def leave(spec: Spec, inputs: Inputs, out: Path, progress: Any) -> None:
    raise SystemExit(spec["code"])


def diverge(spec: Spec, inputs: Inputs, out: Path, progress: Any) -> None:
    (out / "log.csv").write_text("0.1")
    raise Diverged("step 7: the KL is 300; try a smaller lr")


def stumble(spec: Spec, inputs: Inputs, out: Path, progress: Any) -> None:
    error = ZeroDivisionError("no weights")
    error.add_note("in step 2")
    raise error


def refuse(spec: Spec, inputs: Inputs, out: Path, progress: Any) -> None:
    """At once, or as soon as the spec's file is there."""
    while not Path(spec.get("after", "/")).exists():
        time.sleep(0.02)
    raise UserError("data.path=nowhere: no such file")


def die(spec: Spec, inputs: Inputs, out: Path, progress: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def linger(spec: Spec, inputs: Inputs, out: Path, progress: Any) -> None:
    """The first time it writes its process id into the spec's file and stays; after that it is quick."""
    (out / "value.txt").write_text("1")
    started = Path(spec["started"])
    if not started.exists():
        partial = started.with_suffix(".partial")
        partial.write_text(str(os.getpid()))
        partial.rename(started)
        time.sleep(60)


def train(spec: Spec, inputs: Inputs, out: Path, progress: Any) -> None:
    """A training that, once told to stop, needs the spec's seconds to leave a checkpoint."""
    came: list[int] = []
    with heeded(came.append):
        (Path(spec["folder"]) / f"at-work-{spec['number']}").write_text(str(os.getpid()))
        while not came:
            time.sleep(0.02)
        time.sleep(spec["seconds"])
        (partial_folder(out)).mkdir()
    raise Stopped(f"stopped after update {spec['number']} of 9; start it again to go on from there", came[0])


def job(function: str, needs: dict[str, Task] | None = None, name: str = "", **spec: Any) -> Task:
    """A task of this module whose key does not hang on the package's code."""
    return Task(name or function, f"tests.study.jobs:{function}", spec, needs or {}, package=False)


def run(targets: list[Task], runs: Path, workers: int = 1, fresh: bool = False) -> str:
    """Execute, and what was shown meanwhile."""
    shown = io.StringIO()
    execute(targets, runs, workers=workers, fresh=fresh, console=Console(file=shown, width=200))
    return shown.getvalue()
