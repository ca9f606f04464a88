"""Runs tasks side by side in worker processes, with one progress display."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from lightning_moa import run_folders
from lightning_moa.errors import Diverged, Stopped, UserError
from lightning_moa.folders import check_writable
from lightning_moa.peak_memory import peak_memory_mib, reset_peak_memory
from lightning_moa.reporting.progress import Display
from lightning_moa.reporting.under_way import RunProgress, recorded
from lightning_moa.signals import heeded, name_of
from lightning_moa.strategies.launching import is_main_process, started_processes
from lightning_moa.study import tasks as store
from lightning_moa.study.tasks import Task
from lightning_moa.task_files import AGAIN, DONE, partial_folder_of
from lightning_moa.workers import Slot, leave_if_imported, report, slots

STOPS_WITHIN = 120.0
"""Seconds that workers have to leave checkpoints in when a study is stopped; SLURM gives notice of three minutes."""

DIVERGED = "diverged.txt"
"""In the folder of a failed training, where that it diverged is why it failed: what it said."""


class RunsFailed(RuntimeError):
    """Some runs failed; the others have finished and are kept."""


def execute(
    targets: list[Task], runs: Path, *, workers: int, fresh: bool, console: Console
) -> dict[str, Path]:
    """Make sure that every target's result is there.

    Args:
        targets: the tasks wanted; what they need is found from them.
        runs: the folder of all results.
        workers: processes that work side by side, each on one core; 1 works in this process.
        fresh: work again on what is already there.
        console: where progress is shown.

    Returns:
        Key of each task to the folder of its result.

    Raises:
        RunsFailed: names each failed task and where its traceback lies. All that could be done was done.
        UserError: a finished run is not as its task left it; or a task has found bad input. Trainings beside it were
            told to stop, and have left checkpoints.
        Stopped: a signal has stopped the study; a line for each task that was under way. A training has left a
            checkpoint, unless it took longer than `STOPS_WITHIN`.
    """
    leave_if_imported()
    if workers < 1:
        raise UserError(f"workers={workers}: allowed are whole numbers of at least 1")
    ordered = store.in_order(targets)
    _make_folder(runs)
    run_folders.clear_dead(runs)
    todo = [task for task in ordered if fresh or not run_folders.is_done(runs, task.key)]
    for key in {task.key for task in ordered} - {task.key for task in todo}:
        # What is reused must be whole, before anything is made of it.
        run_folders.record(runs, key)
    for task in todo:
        if (runs / task.key).exists() and not run_folders.is_done(runs, task.key):
            raise UserError(f"{runs / task.key}: not as a task leaves it, {DONE} is missing; {AGAIN}")
    if todo:
        check_writable(runs)
        cached = len(ordered) - len(todo)
        console.print(f"{len(todo)} runs to do, {cached} already there ({runs})", highlight=False)
        with recorded(runs, ordered, todo, workers) if is_main_process() else nullcontext():
            _make(todo, runs, workers, fresh, console)
    else:
        console.print(f"finished before: all {len(ordered)} runs are there ({runs})", highlight=False)
    return {task.key: runs / task.key for task in ordered}


def _make(todo: list[Task], runs: Path, workers: int, fresh: bool, console: Console) -> None:
    try:
        with Display(todo, workers, console) as display:
            failed = _Scheduler(todo, runs, display, fresh).run(min(workers, len(todo)))
    finally:
        # Workers of a start that was killed just before this one may have been alive when it began.
        run_folders.clear_dead(runs)
    if failed:
        raise RunsFailed("; ".join(failed))


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: the folder cannot be made ({error.strerror})") from error


@dataclass
class _Scheduler:
    """Hands out tasks whose needs are there; a failed task takes only those that need it with it.

    When a signal comes, or a task finds bad input, nothing new is begun, and what is under way is told to stop: a
    training finishes its update and leaves a checkpoint.
    """

    todo: list[Task]
    runs: Path
    display: Display
    fresh: bool
    running: dict[Future[None], tuple[Task, Slot]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    """A line for each task that has ended because it was told to."""
    signum: int = 0
    """The signal that stops the study."""
    deadline: float | None = None
    refused: UserError | None = None

    def run(self, workers: int) -> list[str]:
        pending = {task.key: task for task in self.todo}
        free = slots(workers, self.display.advance)
        try:
            with heeded(self._told if workers > 1 else _stopped_between_runs):
                while self._under_way(pending, free):
                    done, _ = wait(self.running, return_when=FIRST_COMPLETED, timeout=0.2)
                    self.display.refresh()
                    for future in done:
                        task, slot = self.running.pop(future)
                        self._finish(future, task, slot)
                        free.append(slot)
        finally:
            for slot in [*free, *(slot for _, slot in self.running.values())]:
                slot.close()
        self._raise_if_stopped()
        for task in pending.values():
            self.failed[task.key] = f"{task.name}: not started, for it needs a run that failed"
        return list(self.failed.values())

    def _under_way(self, pending: dict[str, Task], free: list[Slot]) -> bool:
        """Begin what can be begun; whether there is anything to wait for."""
        if self.signum:
            return bool(self.running) and self._in_time()
        for task in self._ready(pending)[: len(free)]:
            slot = free.pop()
            del pending[task.key]
            self.display.start(task.key, goes_on=partial_folder_of(self.runs, task.key).is_dir())
            order = _Order.of(task, self.runs, self.fresh)
            self.running[slot.submit(perform, order)] = (task, slot)
        return bool(self.running)

    def _ready(self, pending: dict[str, Task]) -> list[Task]:
        unfinished = {*pending, *(task.key for task, _ in self.running.values()), *self.failed}
        ready = [
            task for task in pending.values() if not any(n.key in unfinished for n in task.needs.values())
        ]
        # The dearest first, so that no long one is left to run alone at the end.
        return sorted(ready, key=lambda task: -task.cost)

    def _finish(self, future: Future[None], task: Task, slot: Slot) -> None:
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            error = slot.why_broken()
        if error is None:
            self.display.finish(task.key)
        elif isinstance(error, Stopped):
            self.stopped.append(f"{task.name}: {error}")
            self.signum = self.signum or error.signum
            self.display.drop(task.key)
        elif isinstance(error, UserError):
            self.refused = self.refused or error
            self.signum = self.signum or signal.SIGTERM
            self.display.drop(task.key)
        else:
            self.failed[task.key] = f"{task.name}: {error}"
            self.display.fail(task.key)

    def _told(self, signum: int) -> None:
        self.signum = signum

    def _in_time(self) -> bool:
        """Whether those at work, who have been told to stop, may still take their time."""
        if self.deadline is None:
            self.deadline = time.monotonic() + STOPS_WITHIN
            why = "bad input" if self.refused else name_of(self.signum)
            self.display.note(f"{why}: waiting at most {STOPS_WITHIN:g} s for the trainings' checkpoints")
            for _, slot in self.running.values():
                slot.send(self.signum)
        if time.monotonic() < self.deadline:
            return True
        for task, _ in self.running.values():
            self.stopped.append(f"{task.name}: ended, for it left no checkpoint within {STOPS_WITHIN:g} s")
        return False

    def _raise_if_stopped(self) -> None:
        lines = [*self.stopped, *self.failed.values()]
        if self.refused is not None:
            for line in lines:
                self.display.note(line)
            raise self.refused
        if self.signum:
            if not lines:
                _stopped_between_runs(self.signum)
            raise Stopped("\n".join(lines), self.signum)


def _stopped_between_runs(signum: int) -> NoReturn:
    raise Stopped(f"stopped by {name_of(signum)} between two runs; start it again to go on", signum)


def _ended(signum: int) -> NoReturn:
    raise Stopped(
        f"ended by {name_of(signum)}; started again it goes on from its last checkpoint, or begins anew",
        signum,
    )


@dataclass(frozen=True)
class _Order:
    """What a worker is told."""

    name: str
    key: str
    function: str
    spec: dict[str, Any]
    inputs: dict[str, Path]
    runs: Path
    fresh: bool = False
    """Whether what is there already is made again."""

    @staticmethod
    def of(task: Task, runs: Path, fresh: bool = False) -> _Order:
        inputs = {role: runs / need.key for role, need in task.needs.items()}
        return _Order(task.name, task.key, task.function, dict(task.spec), inputs, runs, fresh)


def perform(order: _Order) -> None:
    """Do one task and publish its folder, unless another start has done so since this one began. A failure's traceback
    is kept beside the results."""
    module, _, name = order.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    there_before = run_folders.is_done(order.runs, order.key)
    # Where several processes train together, one that leaves alone would be waited for.
    if there_before and not order.fresh and started_processes() == 1 and "LOCAL_RANK" not in os.environ:
        run_folders.record(order.runs, order.key)
        return
    folder = run_folders.scratch_folder(order.runs, order.key)
    shown = RunProgress(folder, order.name)

    def progress(share: float) -> None:
        shown.advance(share)
        report(order.key, share)

    started = time.monotonic()
    reset_peak_memory()
    try:
        with heeded(_ended):
            measured = function(order.spec, order.inputs, folder, progress) or {}
    except (UserError, Stopped):
        # A stopped training's checkpoint lies elsewhere.
        shutil.rmtree(folder)
        raise
    # A run that ends its process by itself has not succeeded.
    except (Exception, SystemExit) as error:
        if run_folders.is_done(order.runs, order.key) and not there_before:
            # Another start has finished it meanwhile, and has cleared the checkpoints away.
            shutil.rmtree(folder, ignore_errors=True)
            return
        # What the run had saved by then (its last good policy, its log) is kept with the traceback.
        (folder / "error.txt").write_text(
            f"{order.name}\n{json.dumps(order.spec, indent=1)}\n\n{traceback.format_exc()}"
        )
        if isinstance(error, Diverged):
            (folder / DIVERGED).write_text(str(error))
        try:
            run_folders.publish(order.runs, f"failed-{order.key}", folder, replace=True)
        except OSError:
            # Another process of this run has left its own in the same moment.
            shutil.rmtree(folder, ignore_errors=True)
        where = order.runs / f"failed-{order.key}" / "error.txt"
        raise RuntimeError(f"{_said(error)} (traceback in {where})") from None
    shown.close()
    shutil.rmtree(order.runs / f"failed-{order.key}", ignore_errors=True)
    if is_main_process():
        seconds = time.monotonic() - started + measured.pop("seconds_before", 0.0)
        _write_record(folder, order, seconds, measured)
        run_folders.publish(order.runs, order.key, folder, replace=order.fresh and there_before)
    else:
        shutil.rmtree(folder)
    _wait_for_all()


def why_diverged(runs: Path, key: str) -> str | None:
    """What the training under this key said when it diverged; None where it has not."""
    file = runs / f"failed-{key}" / DIVERGED
    return file.read_text() if file.is_file() else None


def _said(error: BaseException) -> str:
    """What an error says in its first line, and where it came up. One that says what to try needs no type before it."""
    kind = "" if isinstance(error, Diverged) else f"{type(error).__name__}: "
    first = next(iter(str(error).strip().splitlines()), "")
    return "; ".join([f"{kind}{first}", *getattr(error, "__notes__", [])])


def _wait_for_all() -> None:
    """The processes of a run on several devices go on together, when its result is in its place."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def _write_record(folder: Path, order: _Order, seconds: float, measured: dict[str, Any]) -> None:
    content = {
        "name": order.name,
        "function": order.function,
        "spec": order.spec,
        "inputs": {role: path.name for role, path in order.inputs.items()},
        "libraries": store.library_versions(),
        "seconds": seconds,
        "peak_memory_mib": peak_memory_mib(),
        "files": run_folders.sizes_of(folder),
        **measured,
    }
    (folder / DONE).write_text(json.dumps(content, indent=1, sort_keys=True))
