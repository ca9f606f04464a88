"""A training that can be stopped at any update and goes on to the numbers of an undisturbed one."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_moa.data.stepping import StepData
from lightning_moa.errors import Stopped, UserError, warn
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.checkpointing import (
    load_own_state,
    own_state,
    random_state,
    set_random_state,
)
from lightning_moa.processes import all_objects, gathered, largest, rank
from lightning_moa.signals import heeded
from lightning_moa.strategies.checkpoints import check_kept, read_checkpoint, write_checkpoint


class Resume(Callback):
    """Writes checkpoints, goes on from the last one, and stops when told to.

    Kept: the trained weights (an adapter's, or all of a model's), all optimisers and schedules, the objective's own
    weights, what the method, its aggregation and its callbacks count, the random state and the partitions of each
    process, and the log so far. The rows of batch t and all sampling noise are functions of (seed, t) and need no
    keeping.

    Args:
        folder: of the run's checkpoints, which outlives a killed process.
        run: the run's name.
        every: updates between two checkpoints; 0 writes one only when told to stop.
        accumulate: batches of an update.
        data: what the training is fed by.
        log: the folder that losses are logged to.
        others: callbacks with a state.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        every: int,
        accumulate: int,
        data: StepData,
        log: Path,
        others: Iterable[Callback] = (),
    ) -> None:
        self.folder = folder
        self.run = run
        self.every = every
        self.accumulate = accumulate
        self.data = data
        self.log_folder = log
        self.others = list(others)
        self.signum = 0
        self.begun_at = 0
        self.spent = 0.0
        """Seconds that earlier starts took up to the checkpoint that this one goes on from."""
        self._began = time.monotonic()
        self.stopped_at: int | None = None
        self._heeding = ExitStack()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """When the processes have joined: let loader and loops begin where the last checkpoint was written.

        Raises:
            UserError: they are about to train different things.
        """
        runs = [str(each) for each in all_objects(self.run)]
        if len(set(runs)) > 1:
            raise UserError(
                f"the processes of this run do not agree on what it is ({', '.join(runs)}): they were given different "
                "arguments, or the package's code was edited while they were starting; start it again"
            )
        found = read_checkpoint(self.folder, self.run, lambda line: warn(f"{line}; it is left aside"))
        self._state = None if found is None else found[1]
        if self._state is None:
            return
        trainer.fit_loop.load_state_dict(self._state["loops"])
        self.begun_at = self._state["batches"]
        self.spent = self._state.get("seconds", 0.0)  # Older checkpoints have none.
        self.data.start_at(self.begun_at)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._state is not None:
            _load(self._state["training"], trainer, pl_module)
            for other, state in zip(self.others, self._state["callbacks"], strict=True):
                other.load_state_dict(state)
            if trainer.is_global_zero:
                _restore_log(trainer, self.log_folder, self._state["log"])
            set_random_state(self._state["random"])
            self._state = None
        for other in self.others:
            check_kept(other.state_dict(), type(other).__name__)
        if isinstance(pl_module, Alignment):
            check_kept(own_state(pl_module), type(pl_module).__name__)
        self._heeding.enter_context(heeded(self._told))

    def _told(self, signum: int) -> None:
        self.signum = signum

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Between two batches, for a batch's losses are logged after all callbacks on its end.
        update, partly = divmod(batch_idx, self.accumulate)
        if partly or batch_idx == self.begun_at:
            return
        # Signals reach processes at different updates; all of them stop at the same one, and for the same reason. To
        # stop for good is the larger number.
        self.signum = largest(self.signum, pl_module.device)
        stop = self.signum != 0
        if stop or (self.every and update % self.every == 0):
            self._save(trainer, pl_module, update, batch_idx)
        if stop:
            self.stopped_at = update
            trainer.should_stop = True

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule, update: int, batches: int) -> None:
        logger: Any = trainer.logger
        if trainer.is_global_zero:
            logger.save()
        log = self.log_folder / "metrics.csv"
        state = {
            "loops": _between_batches(trainer.fit_loop.state_dict()),
            "batches": batches,
            "seconds": self.spent + time.monotonic() - self._began,
            "training": _state_of(trainer, pl_module),
            "callbacks": [other.state_dict() for other in self.others],
            "log": log.read_bytes().decode() if log.exists() else "",
            "random": random_state(),
        }
        write_checkpoint(self.folder, self.run, update, state)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        # A training that fails is not torn down, and signals are for whoever goes on.
        self._heeding.close()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._heeding.close()

    def raise_if_stopped(self, updates: int) -> None:
        """After the fit.

        Raises:
            Stopped: it was told to stop.
        """
        if self.stopped_at is not None:
            raise Stopped(
                f"stopped after update {self.stopped_at} of {updates}; start it again to go on from there",
                self.signum,
            )


def _between_batches(loops: dict[str, Any]) -> dict[str, Any]:
    """The loops' counters, the batch at whose start they are asked for not yet among them."""
    for counts in loops["epoch_loop.batch_progress"].values():
        if isinstance(counts, dict):
            counts["ready"] = counts["completed"]
    # The loader's own place, which may be a batch ahead.
    loops["state_dict"] = {}
    return loops


def _state_of(trainer: L.Trainer, module: L.LightningModule) -> dict[str, Any]:
    schedule: Any = trainer.lr_scheduler_configs[0].scheduler
    state = {
        "weights": _weights(_trained(module)),
        "optimiser": _optimiser_state(trainer.optimizers[0]),
        "schedule": schedule.state_dict(),
    }
    return state | (own_state(module) if isinstance(module, Alignment) else {})


def _load(state: dict[str, Any], trainer: L.Trainer, module: L.LightningModule) -> None:
    _load_weights(_trained(module), state["weights"])
    _load_optimiser(trainer.optimizers[0], state["optimiser"])
    schedule: Any = trainer.lr_scheduler_configs[0].scheduler
    schedule.load_state_dict(state["schedule"])
    if isinstance(module, Alignment):
        load_own_state(module, state)


def _trained(module: L.LightningModule) -> list[nn.Parameter]:
    if isinstance(module, Alignment):
        return module.policy.trainable_parameters()
    return [each for each in module.parameters() if each.requires_grad]


def _weights(trained: Iterable[nn.Parameter]) -> list[Tensor | None]:
    """Their values, gathered one at a time where ZeRO-3 shares them out: whole in the first process, None in others."""
    values = []
    for each in trained:
        with gathered([each]):
            here = rank() == 0 or not hasattr(each, "ds_id")
            values.append(each.detach().cpu().clone() if here else None)
    return values


def _load_weights(trained: Iterable[nn.Parameter], values: Iterable[Tensor | None]) -> None:
    for each, value in zip(trained, values, strict=True):
        with torch.no_grad(), gathered([each], write=True):
            if value is not None:
                each.copy_(value)


def _optimiser_state(optimiser: Any) -> dict[str, Any]:
    """An optimiser's state; of DeepSpeed's, this process's partitions: master weights, and AdamW's state of each."""
    inner: Optimizer = getattr(optimiser, "optimizer", optimiser)
    partitions = _partitions(optimiser)
    if partitions is None:
        return inner.state_dict()
    return {
        "partitions": [each.detach() for each in partitions],
        "states": [dict(inner.state.get(each, {})) for each in partitions],
        "groups": [_without_parameters(group) for group in inner.param_groups],
    }


def _load_optimiser(optimiser: Any, state: dict[str, Any]) -> None:
    inner: Optimizer = getattr(optimiser, "optimizer", optimiser)
    partitions = _partitions(optimiser)
    if partitions is None:
        inner.load_state_dict(state)
        return
    for each, saved, kept in zip(partitions, state["partitions"], state["states"], strict=True):
        each.data.copy_(saved)
        inner.state[each] = {
            # A step count stays where AdamW put it, on the CPU.
            name: value.to(each.device) if isinstance(value, Tensor) and value.ndim else value
            for name, value in kept.items()
        }
    for group, saved in zip(inner.param_groups, state["groups"], strict=True):
        group.update(saved)


def _partitions(optimiser: Any) -> list[Tensor] | None:
    """DeepSpeed's flat float32 weights of this process (ZeRO-3, ZeRO-2); None for a plain optimiser."""
    for name in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups"):
        if hasattr(optimiser, name):
            return list(getattr(optimiser, name))
    return None


def _without_parameters(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _restore_log(trainer: L.Trainer, log: Path, text: str) -> None:
    """The losses so far, which a new logger would begin without."""
    if not text:
        return
    logger: Any = trainer.logger
    writer = logger.experiment
    log.mkdir(parents=True, exist_ok=True)
    (log / "metrics.csv").write_bytes(text.encode())
    writer.metrics_keys = text.splitlines()[0].split(",")
    for row in csv.DictReader(io.StringIO(text)):
        step = int(row.pop("step"))
        told = {name: float(value) for name, value in row.items() if value}
        for other in trainer.loggers[1:]:
            other.log_metrics(told, step)
