"""The signals that stop a study, and what a process does when the first of them comes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning_moa.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""To stop for good; to stop and be started again (SLURM sends it before a job's time is over); Ctrl-C."""

AGAIN = 0.02
"""Seconds until a signal is sent again that came at a moment when nothing can be raised."""

UNBROKEN = ("__del__", "_adjust_thread_count")
"""Functions that nothing may be raised in. Python drops what is raised while an object is cleared up; and a thread that
a `ThreadPoolExecutor` has started but not yet entered in its books is waited for at the end, and never told to end."""

_came = 0
"""The first that came to this process inside the outermost block."""
_depth = 0


@contextmanager
def heeded(act: Callable[[int], None], *, last: bool = False) -> Iterator[None]:
    """Inside, `act` is called with the first signal that comes; blocks may lie in one another, the inmost acts.

    Further ones are left aside: a process group and whoever passes signals on may both send it. One that came before,
    in an outer block that did nothing about it, is acted on at once. What the process was started to ignore stays
    ignored, and outside the main thread nothing changes.

    last: nothing but this process's end comes after the block: the first signal of a kind that comes then
        changes nothing any more.
    """
    global _came, _depth
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(signum: int, frame: FrameType | None) -> None:
        global _came
        if _came:
            return
        if _must_end(frame):
            # The signal comes again, once it is over.
            threading.Timer(AGAIN, os.kill, (os.getpid(), signum)).start()
            return
        _came = signum
        act(signum)

    def dropped(what: Any) -> None:
        global _came
        if _came and isinstance(what.exc_value, Stopped | KeyboardInterrupt):
            # Raised where Python drops it, as in what is called when a weak reference dies: it comes again.
            again, _came = _came, 0
            threading.Timer(AGAIN, os.kill, (os.getpid(), again)).start()
        else:
            unraisable(what)

    unraisable, sys.unraisablehook = sys.unraisablehook, dropped
    wanted = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    former = {each: signal.signal(each, told) for each in wanted}
    _depth += 1
    try:
        if _came:
            act(_came)
        yield
    finally:
        _depth -= 1
        if not _depth:
            _came = 0
        sys.unraisablehook = unraisable
        for each, handler in former.items():
            signal.signal(each, _past if last else signal.SIG_DFL if handler is None else handler)


def _past(signum: int, frame: FrameType | None) -> None:
    """What is done is done; a second one ends a process that does not end by itself."""
    signal.signal(signum, signal.SIG_DFL)


def _must_end(frame: FrameType | None) -> bool:
    """Whether one of UNBROKEN is under way."""
    while frame is not None and frame.f_code.co_name not in UNBROKEN:
        frame = frame.f_back
    return frame is not None


def name_of(signum: int) -> str:
    """SIGTERM, for instance."""
    return signal.Signals(signum).name


@contextmanager
def held_back() -> Iterator[None]:
    """Inside, signals wait; a process that is started here is born with them waiting, until it calls `let_come`."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def let_come() -> None:
    """Take what has waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
