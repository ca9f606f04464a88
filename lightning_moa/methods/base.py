"""What all methods of alignment share: draw a preference, take m losses, aggregate them, step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_moa.aggregation import Aggregator, GradientAggregator, Linear
from lightning_moa.aggregation.gradients import gradients, gramian
from lightning_moa.data.stepping import StepData
from lightning_moa.errors import BrokenContract, Diverged, NotFinite, UserError, warn
from lightning_moa.methods import contracts
from lightning_moa.methods.accumulation import preference_of_batch, shares
from lightning_moa.methods.checkpointing import (
    AVERAGED,
    KEY,
    checked,
    load_own_state,
    own_part,
    own_state,
    packed,
    random_state,
    set_random_state,
    trained_only,
    unpacked,
)
from lightning_moa.methods.evaluated import Evaluated
from lightning_moa.methods.switches import (
    check_answers,
    check_numbers,
    check_trainer,
    number_of_objectives,
    optimiser_of,
    rates_of,
    tell_left_over,
)
from lightning_moa.methods.watching import GradientWatch
from lightning_moa.objectives import Objective
from lightning_moa.objectives.base import OptimiserFactory, Run
from lightning_moa.pareto import check_preference
from lightning_moa.policies import Policy, Probe
from lightning_moa.processes import all_objects, average_gradients, is_partitioned, together


class Alignment(Evaluated, ABC):
    """One policy trained on m objectives by one ordinary backward pass an update; by none of its own where an
    aggregator has looked at the gradients of all trained tensors, in one process and unwatched.

    What the answers promise is checked at the first update (see `contracts`).

    A method says which preference an update is made for, and nothing else here. Its three answers are handed in.

    Args:
        policy: how the preference enters the network.
        objective: what objective i is on a batch.
        aggregator: how m losses become one; None: the method's own.
        optimiser: called with the policy's trained parameters, builds their optimiser, or the optimiser and a schedule
            that is stepped once an update; None: AdamW.
        objectives: their m names, for the log; None: those of the data module (`TrainingData`).
        lr: learning rate of AdamW, where no optimiser is given.
        m: number of objectives; None: as many as names, or as the policy is steered by.
        seed: seed of whatever the method draws. What it draws for update t must be a function of (seed, t) alone, so
            that a run that is taken up again draws what an undisturbed one draws.
        at: the preference, (m,), that this policy is trained for; None for a policy of all preferences.
        accumulate: batches whose gradients make an update.
        grad_clip: largest norm of an update's gradient; 0 does not clip.
        probe: which tensors' gradients a gradient-based aggregator looks at, see `Probe`; None for other aggregators.
        watch: records all objectives' gradients now and then; None doesn't.
        fresh_passes: take each probed gradient of a forward pass of its own, and make the update by one more. The same
            update at a higher cost, for strategies under which a forward pass can be gone back through only once
            (DeepSpeed's ZeRO-3).

    Raises:
        UserError: a number of objectives that nothing says; or `watch` with `fresh_passes`: it goes back through the
            pass that the update is made by.
    """

    aggregation: ClassVar[Callable[[], Aggregator]] = Linear
    """The aggregator of a method that is given none."""

    sections: ClassVar[Mapping[str, type]] = {}
    """Sections of a study's configuration that the method itself brings."""

    def __init__(
        self,
        policy: Policy,
        objective: Objective,
        aggregator: Aggregator | None = None,
        optimiser: OptimiserFactory | None = None,
        *,
        objectives: Sequence[str] | None = None,
        lr: float = 1e-3,
        m: int | None = None,
        seed: int = 0,
        at: Sequence[float] | None = None,
        accumulate: int = 1,
        grad_clip: float = 0.0,
        probe: str | None = None,
        watch: GradientWatch | None = None,
        fresh_passes: bool = False,
    ) -> None:
        super().__init__()
        check_answers(policy, objective, aggregator, optimiser)
        check_numbers(accumulate, seed, grad_clip, lr, objectives)
        # Gradient-based aggregation looks at several gradients before an update, and PPO makes several updates.
        self.automatic_optimization = False
        self.policy = policy
        # Out of the sight of whatever wraps this module, which shares out, replicates or compresses what it sees: the
        # policy. What an objective trains of its own (a critic) is small; every process has all of it and steps it.
        object.__setattr__(self, "objective", objective)
        self.own_optimiser: Optimizer | None = None
        self.own_schedule: LRScheduler | None = None
        self.aggregator = type(self).aggregation() if aggregator is None else aggregator
        self.make_optimiser = partial(AdamW, lr=lr) if optimiser is None else optimiser
        self.names = None if objectives is None else tuple(objectives)
        self.m = number_of_objectives(m, self.names, policy.m, type(self).__name__)
        self.seed = seed
        self.at = None if at is None else torch.from_numpy(check_preference(at, self.m)).float()
        self.accumulate = accumulate
        self.grad_clip = grad_clip
        self.probe = None if probe is None else Probe(policy, probe)
        self.watch = watch
        self.fresh_passes = fresh_passes
        if watch is not None and fresh_passes:
            raise UserError("watch with probe_passes=fresh: the update's forward pass can't be watched then")
        self._held: list[tuple[Tensor, list[Any]]] = []
        self._checked = False
        self._resumed: dict[str, Any] | None = None
        # The frozen base is in no checkpoint.
        self.strict_loading = False

    objective: Objective

    @classmethod
    def arguments(cls, run: Run) -> dict[str, Any]:
        """The constructor's arguments besides those that all methods have: here each of its sections, as a dictionary
        under its name, and what the product says."""
        return {**{name: dict(vars(run.section(name))) for name in cls.sections}, **run.options}

    def _apply(self, function: Any, recurse: bool = True) -> Alignment:
        """Moves to another device or type take the objective along."""
        self.objective._apply(function, recurse)
        return super()._apply(function, recurse)

    def callbacks(self, run: Run, rows: StepData, out: Path) -> list[Callback]:
        """What a study's training of this method is watched by, besides what all trainings are.

        Args:
            run: what the method was built from.
            rows: what it is trained on.
            out: folder of the run's result.
        """
        return []

    @abstractmethod
    def preference(self, step: int) -> Tensor:
        """The preference of an update: (m,), or (g, m) for g equal shares of its rows. `step` counts updates."""

    def reweighed(self, preference: Tensor, parts: Sequence[Any]) -> tuple[Tensor, list[Any]]:
        """What a batch is trained for and on, for methods whose weights hang on what was sampled."""
        return preference, list(parts)

    def logs(self) -> dict[str, float | Tensor]:
        """Numbers about the last batch that the method itself has, worth a column in the log."""
        return dict(self.aggregator.logs()) if isinstance(self.aggregator, GradientAggregator) else {}

    def training_step(self, batch: Any, batch_idx: int) -> None:
        # Over all epochs: each has batches, preferences and noise of its own.
        batch_idx = self.batches_before(batch_idx)
        if batch_idx >= self.accumulate:
            self._checked = True
        elif batch_idx == 0 and not is_partitioned(self.policy) and self.policy.m:
            contracts.check_steering(self.policy, batch.input_ids, batch.attention_mask)
        update, part = divmod(batch_idx, self.accumulate)
        preference = self._preference_of_batch(update, part).to(self.device)
        with self._named(update, learning=False):
            sampled = list(self.objective.parts(self.policy, batch, preference, batch_idx))
        preference, parts = self.reweighed(preference, sampled)
        self._held.append((preference, parts))
        if len(self._held) < self.accumulate:
            return
        # All batches of an update are there before its first backward pass: where an objective makes several
        # updates on a rollout, each of them is made on the whole of it.
        held, self._held = self._held, []
        preferences = [preference for preference, _ in held]
        for batches in zip(*(parts for _, parts in held), strict=True):
            with self._named(update):
                weighed = zip(batches, preferences, *self._shares(batches, update), strict=True)
                losses, totals = zip(*(self._backward(*one) for one in weighed), strict=True)
                self._update()
        means = torch.stack([loss.reshape(-1, loss.shape[-1]).mean(0) for loss in losses]).mean(0)
        self.log("loss", torch.stack(totals).mean(), prog_bar=True, sync_dist=True)
        named = {
            f"loss/{name}": loss for name, loss in zip(self.named_losses(len(means)), means, strict=True)
        }
        self.log_dict({**named, **self.objective.logs(), **self.logs()}, sync_dist=True)

    def batches_before(self, batch_idx: int) -> int:
        """Of this training, over all its epochs and all its starts."""
        if self._trainer is None:
            return batch_idx
        return int(self.trainer.fit_loop.epoch_loop.batch_progress.total.completed)

    def _preference_of_batch(self, update: int, part: int) -> Tensor:
        """What one of an update's batches is trained for."""
        preference = self.preference(update)
        # A policy of several members has a row for each of them, whatever the batch.
        return preference if self.policy.several else preference_of_batch(preference, part, self.accumulate)

    def _shares(self, batches: Sequence[Any], update: int) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """What the losses of each of an update's batches, and its shared loss, are multiplied by, so that the update is
        that of all rows together. Aggregations that are not linear look at each batch's own means."""
        alone: list[Tensor | None] = [None] * len(batches)
        if self.accumulate == 1:
            return alone, alone
        preference = self.preference(update)
        groups = 1 if self.policy.several or preference.ndim == 1 else len(preference)
        linear = isinstance(self.aggregator, Linear)
        return (
            shares([self.objective.counts(each) for each in batches], groups) if linear else alone,
            shares([self.objective.shared_counts(each) for each in batches], 1),
        )

    @contextmanager
    def _named(self, update: int, learning: bool = True) -> Iterator[None]:
        """What goes wrong in a training is told with its update, from 0, and what to try. Bad input stays what it is at
        the first update, before anything is learned, and where nothing is, as of a reward that fails on the way."""
        try:
            yield
        except (BrokenContract, Diverged):
            raise
        except UserError as error:
            if isinstance(error, NotFinite) or (update and learning):
                raise Diverged(f"step {update}: {error}; {self._to_try()}") from error
            raise UserError(f"step {update}: {error}" if update else str(error)) from error
        except Exception as error:
            error.add_note(f"in step {update}")
            raise

    def _to_try(self) -> str:
        section = next(iter(self.objective.sections), None)
        return "try a smaller learning rate" + ("" if section is None else f" ({section}.lr)")

    def _backward(
        self, part: Any, preference: Tensor, weight: Tensor | None, shared_weight: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Add a batch's share to the gradients; its losses and their aggregate, without gradient. The weights: see
        `_shares`."""
        held = {} if self._checked else contracts.state_of(self.aggregator)
        losses, total = self._aggregated(part, preference, weight)
        if not self._checked:
            contracts.check_total(self.aggregator, total)
            contracts.tell_stateful(self.aggregator, held)
        # Both are of all processes' rows, so that all of them stop where one would.
        elif not bool(torch.isfinite(losses).all() & torch.isfinite(total).all()):
            raise NotFinite(
                f"the losses are {losses.detach().tolist()}, and their aggregate {float(total.detach()):g}"
            )
        if self.watch is not None and self.watch.due:
            self.watch.look(losses, total)
        aggregate = total.detach()
        shared = self.objective.shared_loss(self.policy, part, preference)
        if shared is not None:
            total = total + (shared if shared_weight is None else shared * shared_weight.squeeze())
        penalty = self.policy.penalty()
        if penalty is not None:
            total = total + penalty
        own = self.objective.own_loss(part)
        if own is not None:
            # In one backward pass with the policy's loss, whose parameters it shares none with.
            total = total + own
        self.manual_backward(total / self.accumulate)
        if not self._checked and not self._deepspeed():
            contracts.check_gradients(self.policy)
        self._checked = True
        return losses.detach(), aggregate

    def _deepspeed(self) -> bool:
        """Whether gradients are taken away as they come."""
        return self._trainer is not None and "DeepSpeed" in type(self.trainer.strategy).__name__

    def _aggregated(
        self, part: Any, preference: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The m losses, and what the aggregator makes of them."""
        if self.fresh_passes and self.probe is not None and isinstance(self.aggregator, GradientAggregator):
            known = self._gramian_of_fresh_passes(self.probe, part, preference)
            losses = self._losses(part, preference)
            return losses, self.aggregator.weighted(losses, preference, known)
        losses = self._losses(part, preference)
        losses = losses if weight is None else losses * weight
        probed = self.policy.trainable_parameters() if self.probe is None else self.probe.tensors()
        if isinstance(self.aggregator, GradientAggregator):
            # A watch goes back from the aggregate to the losses.
            alone = self.watch is None and not together() and not self._deepspeed()
            self.aggregator.whole = alone and (self.probe is None or self.probe.kind == "all")
        return losses, self.aggregator(losses, preference, probed)

    def _losses(self, part: Any, preference: Tensor) -> Tensor:
        losses = self.objective.losses(self.policy, part, preference)
        contracts.check_shape(self.objective, self.policy, losses, preference, self.m)
        if not self._checked:
            contracts.check_losses(self.objective, self.policy, losses)
        return losses

    def _gramian_of_fresh_passes(self, probe: Probe, part: Any, preference: Tensor) -> np.ndarray:
        """(m, m), each loss's gradient taken of a forward pass of its own, which is freed before the next."""
        rows = []
        for i in range(self.m):
            losses = self._losses(part, preference)
            tensors = probe.tensors()
            rows.append(gradients(losses.reshape(-1, self.m).mean(0)[i : i + 1], tensors, keep=False))
        return gramian([torch.cat(each) for each in zip(*rows, strict=True)], tensors)

    def _update(self) -> None:
        optimiser: Any = self.optimizers()
        schedule: Any = self.lr_schedulers()
        before = [] if self.watch is None else self.watch.before_step()
        if self.grad_clip:
            # DeepSpeed clips by itself, at the same value, when it steps.
            self.clip_gradients(optimiser, gradient_clip_val=self.grad_clip)
        optimiser.step()
        optimiser.zero_grad()
        if schedule is not None:
            schedule.step()
        self._update_own()
        if self.watch is not None:
            self.watch.after_step(before)

    def _update_own(self) -> None:
        """Step what the objective trains of its own."""
        if self.own_optimiser is None:
            return
        parameters = list(self.objective.parameters())
        average_gradients(parameters)
        if self.grad_clip:
            torch.nn.utils.clip_grad_norm_(parameters, self.grad_clip)
        self.own_optimiser.step()
        self.own_optimiser.zero_grad()
        if self.own_schedule is not None:
            self.own_schedule.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What is trained, all of it, and nothing that isn't."""
        # What averages weights needs the whole of its average to go on.
        if AVERAGED not in checkpoint:
            checkpoint["state_dict"] = trained_only(self, checkpoint["state_dict"])
        held = [[preference, parts] for preference, parts in self._held]
        # Each process has batches and random numbers of its own; all of them come here, and the first one writes.
        mine = {"held": packed(held), "random": random_state()}
        checkpoint[KEY] = {**own_state(self), "processes": all_objects(mine)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Taken over when the optimisers are there; the objective's weights at once, for a module that is only used."""
        self._resumed = checked(self, checkpoint)
        self.objective.load_state_dict(self._resumed["objective"])

    def on_train_start(self) -> None:
        resumed, self._resumed = self._resumed, None
        self._held = []
        # A module that was loaded from a checkpoint and is trained anew begins at its own beginning.
        if resumed is not None and self.trainer.ckpt_path is not None:
            mine = own_part(resumed["processes"])
            load_own_state(self, resumed)
            self._held = [(preference, parts) for preference, parts in unpacked(mine["held"], self.device)]
            set_random_state(mine["random"])
            self._checked = True
            rates = rates_of(self.trainer.optimizers[0])
            # A subclass may have a `configure_optimizers` of its own.
            given = getattr(self, "_rates", rates)
            if rates != given:
                warn(f"the checkpoint's learning rate goes on, {rates}; what was given is not used, {given}")

    def on_train_end(self) -> None:
        tell_left_over(len(self._held), self.accumulate, self.trainer.global_step)

    def configure_callbacks(self) -> list[Callback]:
        """None; refuses, before anything is set up, what a `Trainer` can't do for this module."""
        check_trainer(self.trainer)
        return []

    def configure_optimizers(self) -> Any:
        if self.objective.own_optimiser is not None:
            own = self.objective.own_optimiser
            self.own_optimiser, self.own_schedule = optimiser_of(own, self.objective.parameters())
        optimiser, schedule = optimiser_of(self.make_optimiser, self.policy.trainable_parameters())
        self._rates = rates_of(optimiser)
        return [optimiser], [] if schedule is None else [schedule]
