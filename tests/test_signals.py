"""Signals that stop a study, at moments when nothing can be raised."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.thread import _threads_queues

import pytest

from lightning_moa.errors import Stopped
from lightning_moa.signals import heeded


class Clearing:
    """Is told to stop while it is cleared up."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.001)


def stop(signum: int) -> None:
    raise Stopped("told", signum)


def test_a_signal_that_comes_while_something_is_cleared_up_stops_what_follows(capfd):
    def cleared() -> None:
        thing = Clearing()
        del thing
        time.sleep(5)

    with pytest.raises(Stopped), heeded(stop):
        cleared()
    # Python drops what is raised in a __del__, and says so.
    assert "Exception ignored" not in capfd.readouterr().err


def test_the_first_signal_alone_is_acted_on():
    came = []
    with heeded(came.append):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)
    assert came == [signal.SIGUSR1]


def test_a_signal_while_a_pool_starts_a_thread_waits_until_the_pool_knows_it(monkeypatch):
    start, came = threading.Thread.start, []

    def started(self):
        start(self)
        if not came and self.name.startswith("pool"):
            came.append(self)
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(threading.Thread, "start", started)
    pool = ThreadPoolExecutor(1, "pool")

    def begun() -> None:
        pool.submit(int)
        time.sleep(10)

    with pytest.raises(Stopped), heeded(stop):
        begun()
    # Else nobody would tell it to end, and the process would wait for it for ever.
    assert came[0] in _threads_queues
    pool.shutdown()
    assert not came[0].is_alive()
