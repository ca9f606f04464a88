"""One fit of one LightningModule, the same way for every run."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger

from lightning_moa.data.stepping import StepData
from lightning_moa.methods.base import Alignment
from lightning_moa.policies import Policy
from lightning_moa.processes import gathered, rank
from lightning_moa.runs.resuming import Resume
from lightning_moa.strategies.trainer import trainer_options
from lightning_moa.task_files import DONE, Progress, partial_folder

Spec = dict[str, Any]

WHOLE_AS_SELDOM = 10
"""Times `hardware.checkpoint_every` updates lie between two checkpoints of all weights, with AdamW's states some 14
bytes each."""


def prepare(hardware: dict[str, Any]) -> None:
    """Set what holds for a whole process: one thread on the CPU, and how float32 is multiplied."""
    # Where DeepSpeed is asked for, it looks for a GPU, and says so, unless it is told.
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if hardware["accelerator"] == "gpu" else "cpu")
    if hardware["accelerator"] == "cpu":
        # Numbers depend on the number of threads, and one core a run is what workers share out.
        torch.set_num_threads(1)
        torch.set_float32_matmul_precision("medium" if hardware.get("bf32") else "highest")
    else:
        torch.set_float32_matmul_precision("high" if hardware["tf32"] else "highest")


def fit(
    module: L.LightningModule,
    data: StepData,
    hardware: dict[str, Any],
    out: Path,
    *,
    batches: int,
    progress: Progress,
    grad_clip: float | None = None,
    accumulate: int = 1,
    callbacks: Iterable[Callback] = (),
    resume: Resume | None = None,
    loggers: Iterable[Logger] = (),
) -> float:
    """Train on all batches of the data module's loader once; losses go to `out/log/metrics.csv`.

    Args:
        batches: that the loader yields.
        grad_clip, accumulate: for modules with automatic optimisation, which train all weights; the others do both by
            themselves.
        resume: writes checkpoints and goes on from them; None: a training that is stopped begins anew.
        loggers: told the same as the CSV.

    Returns:
        Seconds that earlier starts took for what this one went on from.

    Raises:
        Stopped: it was told to stop, and there is a checkpoint to go on from.
    """
    whole = module.automatic_optimization
    clip = module.grad_clip if isinstance(module, Alignment) else grad_clip
    # Losses are known when an update's last batch is through. With automatic optimisation Lightning counts updates.
    each = module.accumulate if isinstance(module, Alignment) else 1
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module.train()
    with warnings.catch_warnings():
        # The loaders are in memory and step-indexed: more workers would only cost processes.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # What a study measures it measures when the training is done.
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
        # Lightning's and DeepSpeed's own use of torch functions that are being renamed.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
        trainer = L.Trainer(
            **trainer_options(hardware, grad_clip=clip or 0.0, whole=whole),
            max_epochs=1,
            # Line by line, so that a training can be followed.
            logger=[CSVLogger(out, name="log", version="", flush_logs_every_n_steps=1), *loggers],
            log_every_n_steps=each * max(1, batches // each // 50),
            gradient_clip_val=grad_clip if whole else None,
            accumulate_grad_batches=accumulate,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[_Report(progress, batches), *callbacks, *([] if resume is None else [resume])],
        )
        try:
            trainer.fit(module, datamodule=data)
        finally:
            # The data outlive the training; what they hold of it would keep its network and optimiser in memory.
            data.trainer = None
    if resume is None:
        return 0.0
    resume.raise_if_stopped(batches // resume.accumulate)
    return resume.spent


class Snapshots(Callback):
    """Saves the policy in the middle of its training, under `step-<number of updates>`.

    A figure may draw them, and when a run diverges they are what is left of it.
    """

    def __init__(self, policy: Policy, out: Path, objectives: Sequence[str], at: Mapping[int, int]) -> None:
        self.policy = policy
        self.out = out
        self.objectives = objectives
        self.at = dict(at)
        """Number of batches -> number of updates."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 in self.at:
            save_policy(self.policy, self.out / f"step-{self.at[batch_idx + 1]}", self.objectives)


def save_policy(policy: Policy, folder: Path, objectives: Sequence[str]) -> None:
    """Write a trained policy, once for all the processes that have trained it; all of them must call it."""
    with gathered(policy.parameters()):
        if rank() == 0:
            policy.save(folder, objectives=objectives)


class _Report(Callback):
    """Tells the study how far a run is."""

    def __init__(self, progress: Progress, batches: int) -> None:
        self.progress = progress
        self.batches = batches
        self.every = max(1, batches // 40)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % self.every == 0:
            self.progress((batch_idx + 1) / self.batches)


def steps_of(folder: Path) -> int:
    """Updates that a finished policy has had, earlier rounds' among them."""
    return int(json.loads((folder / DONE).read_text())["steps"])


def resume_of(
    spec: Spec,
    out: Path,
    settings: dict[str, Any],
    data: StepData,
    callbacks: Iterable[Callback] = (),
    *,
    whole: bool = False,
) -> Resume:
    """What lets a training be stopped. `whole`: all weights are trained, whose checkpoints are far larger."""
    kept = partial_folder(out)
    every = spec["hardware"]["checkpoint_every"] * (WHOLE_AS_SELDOM if whole else 1)
    return Resume(kept, kept.name, every, settings["accumulate"], data, out / "log", callbacks)


def micro_batches(settings: dict[str, Any], steps: int) -> tuple[int, int]:
    """Size and number of the batches whose gradients make up `steps` updates."""
    return settings["batch_size"] // settings["accumulate"], steps * settings["accumulate"]
