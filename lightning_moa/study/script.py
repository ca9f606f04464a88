"""How every script in `experiments/` starts, and how it ends when something is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from rich.console import Console
from threadpoolctl import threadpool_limits

from lightning_moa.config import StudyConfig
from lightning_moa.errors import Stopped, UserError
from lightning_moa.folders import check_place
from lightning_moa.help import describe
from lightning_moa.reporting.console import run_command
from lightning_moa.signals import heeded, name_of
from lightning_moa.strategies.launching import is_main_process
from lightning_moa.study.execute import RunsFailed
from lightning_moa.study.some import conduct_some
from lightning_moa.study.study import Study
from lightning_moa.workers import cores, leave_if_imported


def script(study: Study, main: Callable[..., None]) -> None:
    """Parse the command line, run `main`, and turn errors into one line and an exit code.

    Args:
        study: the script's; relative results and runs folders default to those of its repository, or of the working
            folder where the script lies elsewhere than in a folder of `experiments/`.
        main: takes the configuration and the console to print on. With `methods=[..]` the methods that it names are
            conducted instead; where the study says that `main` is about any methods, it is called with them, too.

    Exit codes: 0 done, or stopped and queued again by SLURM; 1 some runs failed; 2 bad input; 128 + the signal: stopped
    by SIGTERM, SIGUSR1 or SIGINT (Ctrl-C, 130). A training has left a checkpoint to go on from, with several too.
    """
    leave_if_imported()
    here = Path(study.file).resolve()
    console = Console()

    def command() -> int:
        if {"--help", "-h"} & set(sys.argv[1:]):
            print(
                f"usage: python {os.path.relpath(here)} [key=value ...]\n\n{describe(study.schema, sys.argv[1:])}"
            )
            return 0
        # Sums depend on how many threads share them: worker processes have one each, and this one no more.
        threadpool_limits(limits=1)
        config, methods = study.read(sys.argv[1:])
        root = here.parents[2] if here.parents[1].name == "experiments" else Path.cwd()
        config.results_dir = config.results_dir or str(root / "results")
        config.runs_dir = config.runs_dir or str(root / "runs")
        config.workers = config.workers or cores()
        for folder in (config.results_dir, config.runs_dir):
            check_place(Path(folder))
        try:
            with _alone(config, console):
                if methods is study.methods:
                    main(config, console)
                elif study.any_methods:
                    main(config, console, methods)
                else:
                    conduct_some(study, config, methods, console)
        except (RunsFailed, Stopped) as error:
            return _ended(error)
        return 0

    with heeded(_told, last=True):
        code = run_command(command)
    sys.exit(code)


def end_in_a_line() -> None:
    """From here on, have what nobody catches end this process as it ends `script`, where it is no fault of the code: a
    line and an exit code. For what is called by a script of somebody's own."""
    former = sys.excepthook

    def told(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        def ending() -> int:
            if isinstance(error, RunsFailed | Stopped):
                return _ended(error)
            raise error

        if not isinstance(error, UserError | RunsFailed | Stopped):
            former(kind, error, traceback)
            return
        raise SystemExit(run_command(ending))

    sys.excepthook = told


@contextmanager
def _alone(config: StudyConfig, console: Console) -> Iterator[None]:
    """Let the main process of a run on several devices be the only one that prints and leaves results.

    The others go through the same script, for its trainings and measurements; what they would write is thrown away.
    """
    if is_main_process():
        yield
        return
    console.quiet = True
    with tempfile.TemporaryDirectory() as folder:
        config.results_dir = folder
        yield


def _told(signum: int) -> NoReturn:
    """Where no run is under way: end at once. There is nothing to save, and what is raised inside a library may well
    come out as something else."""
    line = f"stopped by {name_of(signum)}; start it again to go on, what is finished is not done again"
    code = _stopped(Stopped(line, signum))
    with suppress(RuntimeError):  # The signal came while something was printed.
        sys.stdout.flush()
    os._exit(code)


def _ended(error: RunsFailed | Stopped) -> int:
    """Say which runs have failed, or how far they are; the exit code."""
    if isinstance(error, Stopped):
        return _stopped(error)
    print(f"error: {error}", file=sys.stderr)
    return 1


def _stopped(stopped: Stopped) -> int:
    """Say how far the training is; where SLURM gave notice of its time's end, ask for another turn."""
    job = os.environ.get("SLURM_JOB_ID")
    if not is_main_process() and job is not None:
        # A failed task would end the job before the main process has asked for another turn.
        return 0
    if is_main_process():
        print(str(stopped), file=sys.stderr)
        if stopped.signum == signal.SIGUSR1 and job is not None:
            done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"error: scontrol requeue {job}: {done.stderr.strip()}", file=sys.stderr)
                return 1
            print(f"job {job} is queued again", file=sys.stderr)
            return 0
    return 128 + stopped.signum
