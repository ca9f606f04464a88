"""Signals that stop a study, at moments when nothing can be raised."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.thread import _threads_queues
from unittest import mock

import pytest

from lightning_moa.errors import Stopped
from lightning_moa.signals import heeded
from tests import forked


class Clearing:
    """Is told to stop while it is cleared up."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.001)


class Referred:
    """May be referred to weakly."""


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


def test_a_signal_that_comes_while_a_weak_reference_dies_stops_what_follows(capfd):
    def died() -> None:
        thing = Referred()
        gone = weakref.ref(thing, lambda _: (os.kill(os.getpid(), signal.SIGUSR1), time.sleep(0.001)))
        del thing
        assert gone() is None
        time.sleep(5)

    hook = sys.unraisablehook
    with pytest.raises(Stopped), heeded(stop):
        died()
    assert "Exception ignored" not in capfd.readouterr().err
    assert sys.unraisablehook is hook


def test_what_else_python_drops_is_shown_as_ever():
    class Faulty:
        def __del__(self) -> None:
            raise ValueError("its own")

    seen = []
    with mock.patch.object(sys, "unraisablehook", seen.append), heeded(stop):
        thing = Faulty()
        del thing
    (one,) = seen
    assert str(one.exc_value) == "its own"


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


SWALLOWED = """
import os, signal, time
from lightning_moa.study.script import script

class Study:
    file = __file__
    methods = {}

    def read(self, words):
        try:
            os.kill(os.getpid(), signal.SIG%s)
            time.sleep(5)
        except BaseException:
            raise AttributeError("what a library makes of it") from None

script(Study(), print)
"""


@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143), ("USR1", 138)])
def test_a_signal_before_any_run_ends_a_script_whatever_a_library_makes_of_it(tmp_path, name, code):
    (tmp_path / "own.py").write_text(SWALLOWED % name)
    done = forked.run(tmp_path / "own.py", [], folder=tmp_path)
    assert done.returncode == code
    assert (
        done.stderr == f"stopped by SIG{name}; start it again to go on, what is finished is not done again\n"
    )


LATE = """
import atexit, os, signal
from lightning_moa.study.script import script

class Study:
    file = __file__
    methods = {}

    def read(self, words):
        from lightning_moa.errors import UserError
        raise UserError("its own end")

atexit.register(lambda: [os.kill(os.getpid(), signal.SIG%s) for _ in range(%d)])
script(Study(), print)
"""


@pytest.mark.parametrize("name", ["INT", "TERM", "USR1"])
def test_a_signal_after_a_scripts_end_leaves_its_exit_code(tmp_path, name):
    (tmp_path / "own.py").write_text(LATE % (name, 1))
    done = subprocess.run(
        [sys.executable, "own.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "error: its own end\n")
    (tmp_path / "own.py").write_text(LATE % (name, 2))
    done = subprocess.run([sys.executable, "own.py"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == -getattr(signal, f"SIG{name}")
