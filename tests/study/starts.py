"""Starts of `together` as the processes of one run, as torchrun or srun would start them."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import forked
from tests.forked import TIMEOUT

SCRIPT = "tests.runs.together"


def free_port(first: int = 1024, last: int = 65535) -> int:
    """A port in a range that nobody listens on."""
    while True:
        port = random.randint(first, last)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def by_torchrun(processes: int) -> list[dict[str, str]]:
    """What torchrun puts into the environment of each process."""
    port = str(free_port())
    return [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "TORCHELASTIC_RUN_ID": "none",
        }
        for rank in range(processes)
    ]


def by_srun(processes: int) -> list[dict[str, str]]:
    """What srun puts into the environment of each task; Lightning makes the port of the job's number."""
    job = f"7{free_port(15000, 24999) - 15000:04d}"
    return [
        {
            "SLURM_JOB_ID": job,
            "SLURM_JOB_NAME": "moa",
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
            "SLURM_NODEID": "0",
            "SLURM_NTASKS": str(processes),
            "SLURM_NTASKS_PER_NODE": str(processes),
            "SLURM_NODELIST": "127.0.0.1",
        }
        for rank in range(processes)
    ]


@dataclass
class Started:
    """A start that is under way.

    Attributes:
        folder: `results`, `runs`, `temporary`, and what each process has shown.
    """

    folder: Path
    processes: list[Any]

    def codes(self) -> list[int]:
        """The processes' exit codes, when all of them have ended."""
        deadline = time.monotonic() + TIMEOUT
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        late = [process for process in self.processes if process.exitcode is None]
        for process in late:
            process.kill()
            process.join()
        assert not late, f"still at work after {TIMEOUT} s:\n{self.errors()}"
        return [process.exitcode for process in self.processes]

    def finish(self) -> Started:
        """Wait until all have ended well."""
        codes = self.codes()
        assert codes == [0] * len(codes), f"exit codes {codes}:\n{self.errors()}"
        return self

    def shown(self, rank: int = 0) -> str:
        """What a process has written to its stdout."""
        return (self.folder / f"shown.{rank}").read_text()

    def errors(self, rank: int | None = None) -> str:
        """What a process, or each of them, has written to its stderr."""
        ranks = range(len(self.processes)) if rank is None else [rank]
        return "\n".join((self.folder / f"errors.{each}").read_text() for each in ranks)

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.folder / "runs"

    def trained(self) -> list[list[int]]:
        """The batches that each process has trained on in this start, in order."""
        paths = [self.folder / f"trained.{rank}" for rank in range(len(self.processes))]
        return [[int(line) for line in path.read_text().split()] if path.exists() else [] for path in paths]


def words_of(folder: Path, words: Sequence[str]) -> str:
    """A start's arguments."""
    # Starts must find each other's runs even where somebody edits the package meanwhile.
    own = [
        "workers=1",
        "code_in_key=false",
        f"results_dir={folder / 'results'}",
        f"runs_dir={folder / 'runs'}",
    ]
    return " ".join([*own, *words])


def begin(
    folder: Path,
    studies: str,
    words: Sequence[str] = (),
    processes: int = 1,
    launcher: Callable[[int], list[dict[str, str]]] = by_torchrun,
    **environment: str,
) -> Started:
    """Start the studies; a folder that was used before is gone on with.

    Args:
        folder: where all of it happens.
        studies: names in `together.STUDIES`, separated by commas.
        words: further arguments.
        processes: of the run.
        launcher: who is said to have started them, where there are several.
        environment: for `together`, or for a launcher.
    """
    (folder / "temporary").mkdir(parents=True, exist_ok=True)
    given = {"STUDIES": studies, "WORDS": words_of(folder, words), "TMPDIR": str(folder / "temporary")}
    launched = launcher(processes) if processes > 1 else [{}]
    made = []
    for rank, own in enumerate(launched):
        trace = folder / f"trained.{rank}"
        trace.unlink(missing_ok=True)
        out, errors = folder / f"shown.{rank}", folder / f"errors.{rank}"
        for path in (out, errors):
            path.write_text("")
        process = forked.start(
            SCRIPT, out=out, errors=errors, environment={**given, **own, **environment, "TRACE": str(trace)}
        )
        made.append(process)
    return Started(folder, made)
