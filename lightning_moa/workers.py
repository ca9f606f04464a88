"""The places where tasks are worked on: this process, or processes that live for a whole study."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, Protocol

from lightning_moa.errors import Stopped, UserError
from lightning_moa.peak_memory import look_everywhere
from lightning_moa.signals import heeded, held_back, let_come

_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
"""Where it is safe, one process imports the libraries, once, and workers are forked from it."""
_CONTEXT.set_forkserver_preload(
    [f"lightning_moa.{name}" for name in ("runs.align", "runs.evaluate", "runs.reward_model", "study.script")]
)
NO_GUARD = 77
"""Exit code of a worker that found itself running the script that had started it."""
_ENDS_WITHIN = 10.0
"""Seconds that a killed process may take to be gone."""


def cores() -> int:
    """Those that this process may use: of a shared machine a scheduler gives it some."""
    given = getattr(os, "sched_getaffinity", None)  # Not on macOS.
    return len(given(0)) if given else os.cpu_count() or 1


class Slot(Protocol):
    """A place where one task at a time is worked on."""

    def submit(self, function: Callable[[Any], None], order: Any) -> Future[None]: ...

    def send(self, signum: int) -> None:
        """Pass a signal on to whoever works here."""

    def why_broken(self) -> Exception:
        """What its process died of."""

    def close(self) -> None: ...


def slots(workers: int, advance: Callable[[str, float], None]) -> list[Slot]:
    """So many; one is this process."""
    if workers == 1:
        _listen(advance)
        return [_Here()]
    messages: Any = _CONTEXT.SimpleQueue()
    threading.Thread(target=_forward, args=(messages, advance), daemon=True).start()
    return [_Worker(messages) for _ in range(workers)]


class _Here:
    """This process. Its main thread works, as Lightning's signal handlers and launchers want it."""

    def submit(self, function: Callable[[Any], None], order: Any) -> Future[None]:
        future: Future[None] = Future()
        try:
            function(order)
            future.set_result(None)
        except (Exception, Stopped) as error:
            future.set_exception(error)
        return future

    def send(self, signum: int) -> None:
        """Its signals have come already."""

    def why_broken(self) -> Exception:
        raise AssertionError("no process was started")

    def close(self) -> None:
        look_everywhere()


class _Worker:
    """A process that stays alive over many tasks, since importing takes longer than a small run.

    A process that dies (out of memory, say) fails its task alone: the next one gets a new process.
    """

    def __init__(self, messages: Any) -> None:
        self.messages = messages
        self.pool = self._new()
        self.process: Any = None

    def _new(self) -> ProcessPoolExecutor:
        # Numerical libraries read these when they are imported, so they must be set before a process starts.
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
        return ProcessPoolExecutor(
            1, mp_context=_CONTEXT, initializer=_start_worker, initargs=(self.messages, dict(os.environ))
        )

    def submit(self, function: Callable[[Any], None], order: Any) -> Future[None]:
        try:
            return self._submit(function, order)
        except BrokenProcessPool:
            self.pool = self._new()
            return self._submit(function, order)

    def _submit(self, function: Callable[[Any], None], order: Any) -> Future[None]:
        # What comes while its process is still importing libraries waits until it knows what to do about it.
        with held_back():
            future = self.pool.submit(function, order)
        (self.process,) = self.pool._processes.values()
        return future

    def send(self, signum: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signum)

    def why_broken(self) -> Exception:
        self.process.join(_ENDS_WITHIN)
        if self.process.exitcode == NO_GUARD:
            return UserError(
                f"{sys.argv[0]}: workers import this script, so what it starts must stand under "
                'if __name__ == "__main__": at its end (workers=1 works without)'
            )
        return RuntimeError("its process was killed")

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
        self.pool.shutdown(wait=True, cancel_futures=True)


def leave_if_imported() -> None:
    """End this process, silently, where it is a worker in the midst of importing the script that has started it.

    A script without a guard would start its study once more there.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(NO_GUARD)  # A SystemExit would end it with 1 where it was forked.


def _forward(messages: Any, advance: Callable[[str, float], None]) -> None:
    while True:
        key, share = messages.get()
        advance(key, share)


_report: Callable[[str, float], None] = lambda key, share: None  # noqa: E731
_kept: Any = None


def report(key: str, share: float) -> None:
    """Tell whoever shows it how far a task is."""
    _report(key, share)


def _listen(listener: Callable[[str, float], None]) -> None:
    global _report
    _report = listener


def _start_worker(messages: Any, environment: dict[str, str]) -> None:
    global _kept
    from tqdm import tqdm

    os.environ.clear()
    os.environ.update(environment)  # The process that it was forked from may be older than a variable.
    # Its own lock is a semaphore between processes, which one that is killed would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    _listen(lambda key, share: messages.put((key, share)))
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Between two tasks a signal is only noted: the next one would begin and end with it.
    _kept = heeded(lambda signum: None)
    _kept.__enter__()
    let_come()


def _die_with_parent() -> None:
    """A worker whose study was killed has nobody to work for."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
