"""What of a `Trainer`'s arguments a method that makes its own updates can honour, and what it is given by the user."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import lightning as L
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_moa.errors import UserError


def check_numbers(accumulate: int, seed: int, grad_clip: float, names: Sequence[str] | None) -> None:
    """Refuse numbers that would fail on the way, or be passed over in silence.

    Raises:
        UserError: names the argument, and what is allowed.
    """
    for name, value, least in (("accumulate", accumulate, 1), ("seed", seed, 0)):
        if not isinstance(value, Integral) or value < least:
            raise UserError(f"{name}={value}: allowed are whole numbers of at least {least}")
    if not 0 <= grad_clip < float("inf"):
        raise UserError(f"grad_clip={grad_clip}: allowed are numbers of at least 0 (0 clips nothing)")
    if names is not None and len(set(names)) < len(names):
        raise UserError(f"objectives={list(names)}: each name may be there once")


def check_trainer(trainer: L.Trainer) -> None:
    """Refuse what would be left out silently, or would change what is trained.

    Raises:
        UserError: names the `Trainer`'s argument, and the one to use instead.
    """
    if trainer.accumulate_grad_batches != 1:
        raise UserError(
            f"Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches}): the method makes its own updates; "
            f"give the method accumulate={trainer.accumulate_grad_batches} instead"
        )
    if trainer.gradient_clip_val:
        raise UserError(
            f"Trainer(gradient_clip_val={trainer.gradient_clip_val}): the method makes its own updates; give the "
            f"method grad_clip={trainer.gradient_clip_val} instead"
        )
    clip = trainer.gradient_clip_algorithm
    if clip is not None and clip.value != "norm":
        raise UserError(
            f'Trainer(gradient_clip_algorithm="{clip.value}"): the method\'s grad_clip is the '
            "largest norm of an update's gradient; leave it out"
        )
    if str(trainer.precision) not in ("32-true", "32"):
        raise UserError(
            f'Trainer(precision="{trainer.precision}"): it would convert what is trained, too, which stays in '
            'float32; load the base in fewer bits instead, load_model(path, dtype="bfloat16")'
        )


def with_schedule(
    made: Optimizer | tuple[Optimizer, LRScheduler | None],
) -> tuple[Optimizer, LRScheduler | None]:
    """What a factory of optimisers has made: the optimiser, and its schedule where there is one.

    Raises:
        UserError: it has made something else, or a schedule that must be told a metric.
    """
    optimiser, schedule = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(optimiser, Optimizer):
        raise UserError(
            f"optimiser: it must give an optimiser, or an optimiser and its schedule; "
            f"{type(optimiser).__name__} came"
        )
    if isinstance(schedule, ReduceLROnPlateau):
        raise UserError(
            "optimiser: ReduceLROnPlateau waits for a metric, and a schedule is stepped each update"
        )
    return optimiser, schedule


def stepped(made: Optimizer | tuple[Optimizer, LRScheduler | None]) -> dict[str, Any]:
    """The same, for a module whose updates the `Trainer` makes: the schedule is stepped once an update."""
    optimiser, schedule = with_schedule(made)
    if schedule is None:
        return {"optimizer": optimiser}
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rates_of(optimiser: Any) -> list[float]:
    """The learning rate of each of an optimiser's groups, before any schedule."""
    return [float(group.get("initial_lr", group["lr"])) for group in getattr(optimiser, "param_groups", ())]
