"""Scripts and modules started as processes, as a user would, but forked from one that has imported the libraries.

Importing takes longer than most of the tests' studies. What a process forked so has in common with another start is
only what the libraries are when they have just been imported.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import Any

import torch

TIMEOUT = 480
"""Seconds; on idle cores the longest start takes thirty, and ten times that where others want them."""
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "tests.runs.together",
        "lightning_moa.runs.measuring",
        "lightning_moa.runs.align",
        "lightning_moa.reporting.plots",
        "transformers.models.auto.modeling_auto",
        "deepspeed",
        "tests.frozen",
    ]
)


def start(
    target: Path | str,
    words: Sequence[str] = (),
    *,
    out: Path,
    errors: Path | None = None,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    group: bool = False,
) -> Any:
    """A process that runs a script, or a module by its name.

    Args:
        target: the script's path, or the module's name.
        words: arguments.
        out: what it shows is added to this file.
        errors: what it writes to stderr is added to this one; None: to `out`.
        folder: where it works.
        environment: besides this process's.
        group: let it lead a process group of its own.
    """
    # Read when the process that all are forked from begins; it imports the libraries that look at them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    own = dict(os.environ) | dict(environment or {})
    process = CONTEXT.Process(  # type: ignore[attr-defined]
        target=_work, args=(target, list(words), out, errors or out, folder, own, group)
    )
    process.start()
    return process


def run(
    target: Path | str,
    words: Sequence[str] = (),
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> CompletedProcess[str]:
    """What a start of `start` comes to."""
    with TemporaryDirectory() as name:
        out, errors = Path(name) / "out", Path(name) / "errors"
        process = start(target, words, out=out, errors=errors, folder=folder, environment=environment)
        process.join(TIMEOUT)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"still at work after {TIMEOUT} s:\n{errors.read_text()}")
        return CompletedProcess([str(target), *words], process.exitcode, out.read_text(), errors.read_text())


def of_two(work: Callable[[int, int, str], None], port: int, folder: Path, seconds: float) -> list[Any]:
    """What `work(rank, port, folder)` leaves as `<rank>.pt` in each of two processes, which meet at the port."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    pair = [CONTEXT.Process(target=work, args=(each, port, str(folder))) for each in (0, 1)]  # type: ignore[attr-defined]
    for process in pair:
        process.start()
    for process in pair:
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
    assert [process.exitcode for process in pair] == [0, 0]
    return [torch.load(folder / f"{each}.pt", weights_only=True) for each in (0, 1)]


def _work(
    target: Path | str,
    words: list[str],
    out: Path,
    errors: Path,
    folder: Path | None,
    environment: dict[str, str],
    group: bool,
) -> None:
    """In the new process."""
    for descriptor, path in ((1, out), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    if group:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    sys.argv = [str(target), *words]
    if isinstance(target, Path):
        sys.path.insert(0, str(target.parent))
        runpy.run_path(str(target), run_name="__main__")
        return
    with warnings.catch_warnings():
        # It was imported, and is now run as a script.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
        runpy.run_module(target, run_name="__main__")
