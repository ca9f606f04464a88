"""One request at a time, a few in line behind it, the others refused."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from lightning_moa.errors import UserError

Event = dict[str, Any]
Work = Callable[[Callable[[Event], None]], None]
"""Gives its events to the function that it is called with, which raises `Dropped` where nobody waits any more."""


class Dropped(Exception):
    """Whoever asked has left."""


class Full(Exception):
    """As many wait as may."""


class Job:
    """A request's work, and the events that it has given."""

    def __init__(self, work: Work, loop: asyncio.AbstractEventLoop, closing: threading.Event) -> None:
        self.work = work
        self.dropped = threading.Event()
        self._closing = closing
        self._loop = loop
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def give(self, event: Event | None) -> None:
        """From the worker's thread; None is the end."""
        if event is not None and self.is_dropped():
            raise Dropped
        # A server that has ended waits for nothing.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def is_dropped(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.dropped.is_set() or self._closing.is_set()

    def fail(self, message: str) -> None:
        with suppress(Dropped):
            self.give({"event": "error", "message": message})

    async def events(self) -> AsyncIterator[Event]:
        """Until the end; who leaves before it drops the work."""
        try:
            while (event := await self._events.get()) is not None:
                yield event
        finally:
            self.dropped.set()


class Line:
    """A thread that does one job after the other.

    Args:
        waiting: most jobs that wait behind the one in work.
    """

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
        self._thread.start()

    def join(self, work: Work) -> Job:
        """Stand in line; in the event loop's thread.

        Raises:
            Full: too many do.
        """
        job = Job(work, asyncio.get_running_loop(), self._closing)
        with self._lock:
            if self._unfinished > self._waiting:
                raise Full
            before, self._unfinished = self._unfinished, self._unfinished + 1
        job.give({"event": "waiting", "before": before})
        self._jobs.put(job)
        return job

    def stop(self) -> None:
        """Nobody waits any more, neither for what is in work nor for what is in line."""
        self._closing.set()

    def close(self) -> None:
        """Stop, and take no more."""
        self.stop()
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._do(job)
            finally:
                with self._lock:
                    self._unfinished -= 1
                job.give(None)

    def _do(self, job: Job) -> None:
        try:
            # Who has left while they waited is not begun with.
            if not job.is_dropped():
                job.work(job.give)
        except Dropped:
            return
        except UserError as error:
            job.fail(str(error))
        except Exception as error:
            # The page must not wait for ever, and the next request must be answered; the terminal has the whole.
            import traceback

            traceback.print_exc()
            job.fail(f"it failed: {type(error).__name__}")
