"""What of a `Trainer`'s arguments a method that makes its own updates can honour, and what it is given by the user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import lightning as L
from torch import nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_moa.errors import UserError, warn
from lightning_moa.objectives.base import Objective, OptimiserFactory
from lightning_moa.policies import Policy


def check_answers(policy: Any, objective: Any, aggregator: Any, optimiser: Any) -> None:
    """Refuse answers of another kind, in another order, or a class where one that was made of it is expected.

    Raises:
        UserError: names the argument, and what is allowed.
    """
    for name, value, kind in (("policy", policy, Policy), ("objective", objective, Objective)):
        if not isinstance(value, kind):
            raise UserError(f"{name}={_named(value)}: {kind.__name__} is the kind that is expected")
    for name, value in (("aggregator", aggregator), ("optimiser", optimiser)):
        if value is not None and not callable(value):
            raise UserError(f"{name}={_named(value)}: something that can be called is expected, or None")
    if isinstance(aggregator, type):
        raise UserError(
            f"aggregator={_named(aggregator)}: an aggregation is expected, {aggregator.__name__}(...)"
        )


def _named(value: Any) -> str:
    return (
        repr(value)
        if isinstance(value, str | int | float)
        else getattr(value, "__name__", type(value).__name__)
    )


def check_numbers(
    accumulate: int, seed: int, grad_clip: float, lr: float, names: Sequence[str] | None
) -> None:
    """Refuse numbers that would fail on the way, or be passed over in silence.

    Raises:
        UserError: names the argument, and what is allowed.
    """
    for name, value, least in (("accumulate", accumulate, 1), ("seed", seed, 0)):
        if not isinstance(value, Integral) or value < least:
            raise UserError(f"{name}={value}: allowed are whole numbers of at least {least}")
    if not isinstance(lr, int | float) or not 0 <= lr < float("inf"):
        raise UserError(f"lr={lr!r}: a number of at least 0 is expected")
    if not 0 <= grad_clip < float("inf"):
        raise UserError(f"grad_clip={grad_clip}: allowed are numbers of at least 0 (0 clips nothing)")
    if isinstance(names, str) or not all(isinstance(name, str) for name in names or ()):
        raise UserError(f"objectives={names!r}: a list of names is expected")
    if names is not None and len(set(names)) < len(names):
        raise UserError(f"objectives={list(names)}: each name may be there once")


def number_of_objectives(m: int | None, names: Sequence[str] | None, steered: int | None, method: str) -> int:
    """As given, as many as names, or as the policy is steered by.

    Raises:
        UserError: none of them says it, or two say different things.
    """
    found = m or len(names or ()) or steered
    if not found:
        raise UserError(
            f"{method}: how many objectives there are is not said: give objectives=[...], their names"
        )
    if names is not None and len(names) != found:
        raise UserError(f"objectives={list(names)}: {found} names are needed")
    return found


def tell_left_over(held: int, accumulate: int, updates: int) -> None:
    """Say at the end of a training what batches have made no update.

    Raises:
        UserError: none of them has.
    """
    if not held:
        return
    if not updates:
        raise UserError(f"accumulate={accumulate}: there were {held} batches, and no update was made")
    warn(f"accumulate={accumulate}: the last {held} batches were too few for an update, and made none")


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


def optimiser_of(
    make: OptimiserFactory, parameters: Iterable[nn.Parameter]
) -> tuple[Optimizer, LRScheduler | None]:
    """What a factory of optimisers makes: the optimiser, and its schedule where there is one.

    Raises:
        UserError: there is nothing to train, or the factory makes something else, an optimiser that would train nothing
            of it, or what can't be stepped once an update.
    """
    given = list(parameters)
    if not any(parameter.requires_grad for parameter in given):
        raise UserError("nothing would be trained: no parameter has requires_grad")
    made = make(given)
    optimiser, schedule = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(optimiser, Optimizer) or not isinstance(schedule, LRScheduler | None):
        raise UserError(
            f"optimiser: it must give an optimiser, or an optimiser and its schedule; {_shown(made)} came"
        )
    if isinstance(schedule, ReduceLROnPlateau):
        raise UserError(
            "optimiser: ReduceLROnPlateau waits for a metric, and a schedule is stepped each update"
        )
    if isinstance(optimiser, LBFGS):
        raise UserError(
            "optimiser: LBFGS evaluates its losses several times a step, and an update does it once"
        )
    stepped = {id(each) for group in optimiser.param_groups for each in group["params"]}
    if stepped.isdisjoint(map(id, given)):
        raise UserError(
            "optimiser: it has none of the parameters that it was called with, and would train nothing"
        )
    return optimiser, schedule


def _shown(made: Any) -> str:
    inner = (
        f" of {', '.join(type(each).__name__ for each in made) or 'nothing'}"
        if isinstance(made, tuple)
        else ""
    )
    return f"{type(made).__name__}{inner}"


def stepped(make: OptimiserFactory, parameters: Iterable[nn.Parameter]) -> dict[str, Any]:
    """The same, for a module whose updates the `Trainer` makes: the schedule is stepped once an update."""
    optimiser, schedule = optimiser_of(make, parameters)
    if schedule is None:
        return {"optimizer": optimiser}
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rates_of(optimiser: Any) -> list[float]:
    """The learning rate of each of an optimiser's groups, before any schedule."""
    return [float(group.get("initial_lr", group["lr"])) for group in getattr(optimiser, "param_groups", ())]
