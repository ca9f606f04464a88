"""Runs tasks side by side in worker processes, with one progress display."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from lightning_moa.errors import Stopped, UserError
from lightning_moa.peak_memory import peak_memory_mib, reset_peak_memory
from lightning_moa.strategies.launching import is_main_process
from lightning_moa.study import tasks as store
from lightning_moa.study.progress import Display
from lightning_moa.study.tasks import Task
from lightning_moa.task_files import DONE

_CONTEXT = multiprocessing.get_context("spawn")


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
        Stopped: a signal has stopped a training, which has left a checkpoint.
    """
    ordered = store.in_order(targets)
    _make_folder(runs)
    store.clear_dead(runs)
    todo = [task for task in ordered if fresh or not store.is_done(runs, task.key)]
    if todo:
        cached = len(ordered) - len(todo)
        console.print(f"{len(todo)} runs to do, {cached} already there ({runs})", highlight=False)
        with Display(todo, workers, console) as display:
            failed = _Scheduler(todo, runs, display).run(min(workers, len(todo)))
        # Workers of a start that was killed just before this one may have been alive when it began.
        store.clear_dead(runs)
        if failed:
            raise RunsFailed("; ".join(failed))
    else:
        console.print(f"finished before: all {len(ordered)} runs are there ({runs})", highlight=False)
    return {task.key: runs / task.key for task in ordered}


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: the folder cannot be made ({error.strerror})") from error


@dataclass
class _Scheduler:
    """Hands out tasks whose needs are there; a failed task takes only those that need it with it."""

    todo: list[Task]
    runs: Path
    display: Display

    def run(self, workers: int) -> list[str]:
        pending = {task.key: task for task in self.todo}
        failed: dict[str, str] = {}
        running: dict[Future[None], tuple[Task, _Slot]] = {}
        free = _slots(workers, self.display)
        try:
            while pending or running:
                for task in self._ready(pending, running, failed)[: len(free)]:
                    slot = free.pop()
                    del pending[task.key]
                    self.display.start(task.key)
                    running[slot.submit(perform, _Order.of(task, self.runs))] = (task, slot)
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED, timeout=0.2)
                self.display.refresh()
                for future in done:
                    task, slot = running.pop(future)
                    free.append(slot)
                    self._finish(future, task, failed)
        finally:
            for slot in [*free, *(slot for _, slot in running.values())]:
                slot.close()
        for task in pending.values():
            failed[task.key] = f"{task.name}: not started, for it needs a run that failed"
        return list(failed.values())

    def _ready(
        self,
        pending: dict[str, Task],
        running: dict[Future[None], tuple[Task, _Slot]],
        failed: dict[str, str],
    ) -> list[Task]:
        unfinished = set(pending) | {task.key for task, _ in running.values()} | set(failed)
        ready = [
            task for task in pending.values() if not any(n.key in unfinished for n in task.needs.values())
        ]
        # The dearest first, so that no long one is left to run alone at the end.
        return sorted(ready, key=lambda task: -task.cost)

    def _finish(self, future: Future[None], task: Task, failed: dict[str, str]) -> None:
        error = future.exception()
        if error is None:
            self.display.finish(task.key)
            return
        if isinstance(error, UserError | Stopped):
            raise error
        reason = "its process was killed" if isinstance(error, BrokenProcessPool) else str(error)
        failed[task.key] = f"{task.name}: {reason}"
        self.display.fail(task.key)


class _Slot(Protocol):
    """A place where one task at a time is worked on."""

    def submit(self, function: Callable[[_Order], None], order: _Order) -> Future[None]: ...

    def close(self) -> None: ...


def _slots(workers: int, display: Display) -> list[_Slot]:
    if workers == 1:
        _listen(display.advance)
        return [_Here()]
    messages: Any = _CONTEXT.SimpleQueue()
    threading.Thread(target=_forward, args=(messages, display), daemon=True).start()
    return [_Worker(messages) for _ in range(workers)]


class _Here:
    """This process. Its main thread works, as Lightning's signal handlers and launchers want it."""

    def submit(self, function: Callable[[_Order], None], order: _Order) -> Future[None]:
        future: Future[None] = Future()
        try:
            function(order)
            future.set_result(None)
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing is held."""


class _Worker:
    """A process that stays alive over many tasks, since importing takes longer than a small run.

    A process that dies (out of memory, say) fails its task alone: the next one gets a new process.
    """

    def __init__(self, messages: Any) -> None:
        self.messages = messages
        self.pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        # Numerical libraries read these when they are imported, so they must be set before a process starts.
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
        return ProcessPoolExecutor(
            1, mp_context=_CONTEXT, initializer=_start_worker, initargs=(self.messages, os.getpid())
        )

    def submit(self, function: Callable[[_Order], None], order: _Order) -> Future[None]:
        try:
            return self.pool.submit(function, order)
        except BrokenProcessPool:
            self.pool = self._new()
            return self.pool.submit(function, order)

    def close(self) -> None:
        for process in list((self.pool._processes or {}).values()):
            process.terminate()
        # The process of a broken pool is about to be gone: until then the next start would take it for one at work.
        self.pool.shutdown(wait=bool(self.pool._broken), cancel_futures=True)


def _forward(messages: Any, display: Display) -> None:
    while True:
        key, share = messages.get()
        display.advance(key, share)


_report: Callable[[str, float], None] = lambda key, share: None  # noqa: E731


def _listen(report: Callable[[str, float], None]) -> None:
    global _report
    _report = report


def _start_worker(messages: Any, parent: int) -> None:
    _listen(lambda key, share: messages.put((key, share)))
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: int) -> None:
    """A worker whose parent was killed has nobody to work for."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


@dataclass(frozen=True)
class _Order:
    """What a worker is told."""

    name: str
    key: str
    function: str
    spec: dict[str, Any]
    inputs: dict[str, Path]
    runs: Path

    @staticmethod
    def of(task: Task, runs: Path) -> _Order:
        inputs = {role: runs / need.key for role, need in task.needs.items()}
        return _Order(task.name, task.key, task.function, dict(task.spec), inputs, runs)


def perform(order: _Order) -> None:
    """Do one task and publish its folder. A failure's traceback is kept beside the results."""
    module, _, name = order.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    folder = store.scratch_folder(order.runs, order.key)
    started = time.monotonic()
    reset_peak_memory()
    try:
        measured = function(order.spec, order.inputs, folder, lambda share: _report(order.key, share)) or {}
    except UserError:
        raise
    except Stopped:
        # Its checkpoint lies elsewhere.
        shutil.rmtree(folder)
        raise
    except Exception as error:
        # What the run had saved by then (its last good policy, its log) is kept with the traceback.
        (folder / "error.txt").write_text(
            f"{order.name}\n{json.dumps(order.spec, indent=1)}\n\n{traceback.format_exc()}"
        )
        store.publish(order.runs, f"failed-{order.key}", folder)
        where = order.runs / f"failed-{order.key}" / "error.txt"
        raise RuntimeError(f"{type(error).__name__}: {error} (traceback in {where})") from None
    shutil.rmtree(order.runs / f"failed-{order.key}", ignore_errors=True)
    if is_main_process():
        _write_record(folder, order, time.monotonic() - started, measured)
        store.publish(order.runs, order.key, folder)
    else:
        shutil.rmtree(folder)
    _wait_for_all()


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
        **measured,
    }
    (folder / DONE).write_text(json.dumps(content, indent=1, sort_keys=True))
