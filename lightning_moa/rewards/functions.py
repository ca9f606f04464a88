"""Rewards by a function or a class of the user's own."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from lightning_moa.answers import load
from lightning_moa.errors import UserError
from lightning_moa.turns import readable

ScoreFunction = Callable[[list[str], list[str]], Sequence[float]]
"""(prompts, responses), n texts each, to n finite numbers, higher is better."""


class FunctionRewards:
    """Scores of one objective by what 'module:name' names.

    That is a function (prompts, responses) -> n numbers, higher is better, or a class with such a method
    `scores`, built once, without arguments. A prompt of several turns comes as one plain text (`turns.readable`). Each
    score must depend on its own texts alone. One that has nothing to
    say of a response gives a number for that, too, such as 0 or what an average response gets: neither None nor NaN,
    since a response without a reward could not be learnt from.

    Args:
        name: 'module:name'.
        objective: its name.

    Raises:
        UserError: neither of the two.
    """

    def __init__(self, name: str, objective: str) -> None:
        self.name = name
        self.objectives: tuple[str, ...] = (objective,)
        found = check_function(name)
        self.function: ScoreFunction = found().scores if isinstance(found, type) else found

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """(n, 1) float64, higher is better. Raises `UserError` for anything but n finite numbers."""
        if not len(responses):
            return np.empty((0, 1))
        given = self.function([readable(prompt) for prompt in prompts], list(responses))
        return finite_numbers(given, len(responses), self.name)[:, None]

    @property
    def about(self) -> dict[str, object]:
        """What a record of a run should say of this source."""
        return {"function": self.name, "objective": self.objectives[0]}


def check_function(name: str, where: str = "") -> Any:
    """What 'module:name' names, if responses can be scored by it; nothing is called.

    Args:
        name: 'module:name'.
        where: the key that gave it, for errors.

    Raises:
        UserError: nothing of that name, or neither a function of prompts and responses nor a class with `scores`.
    """
    found = load(name, where)
    shown = f"{where}={name}" if where else name
    if inspect.isclass(found):
        scores = getattr(found, "scores", None)
        if not callable(scores):
            raise UserError(f"{shown}: a class needs a method scores(prompts, responses)")
        _check_call(found, 0, f"{shown}: a class is built without arguments")
        bound = isinstance(inspect.getattr_static(found, "scores"), (classmethod, staticmethod))
        _check_call(scores, 2 if bound else 3, f"{shown}: a class needs scores(self, prompts, responses)")
    elif callable(found):
        _check_call(found, 2, f"{shown}: a function must take (prompts, responses)")
    else:
        raise UserError(
            f"{shown}: a function (prompts, responses) or a class with scores(prompts, responses) is needed, "
            f"this is {_kind(found)}"
        )
    return found


def finite_numbers(given: Any, n: int, name: str) -> np.ndarray:
    """(n,) float64 of what a function returned: a sequence, an array or a tensor of n finite numbers.

    Raises:
        UserError: names the function, and the first response whose reward is no finite number.
    """
    if given is None:
        raise UserError(f"{name} returned nothing (None): a number for each of {n} responses is needed")
    items = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(items, (str, bytes, Mapping, Set)) or not isinstance(items, Iterable):
        raise UserError(f"{name} returned {_kind(given)}: a sequence of {n} numbers is needed")
    numbers = [_number(item, row, name) for row, item in enumerate(items)]
    if len(numbers) != n:
        raise UserError(f"{name} returned {len(numbers)} numbers for {n} responses")
    return np.array(numbers, dtype=np.float64)


ABSTAINING = (
    "where it has nothing to say it gives a number for that, such as 0 or an average response's reward"
)


def _number(item: Any, row: int, name: str) -> float:
    if item is None:
        raise UserError(
            f"{name} gave nothing (None) for response {row}: a reward must be a number; {ABSTAINING}"
        )
    try:
        number = None if isinstance(item, (str, bytes)) else float(item)
    except (TypeError, ValueError, RuntimeError):
        number = None
    except OverflowError:
        number = math.inf
    if number is None:
        raise UserError(f"{name} gave {_kind(item)} for response {row}: a reward must be a number")
    if not math.isfinite(number):
        raise UserError(
            f"{name} gave {number} for response {row}: a reward must be a finite number; {ABSTAINING}"
        )
    return number


def _check_call(function: Callable[..., Any], arguments: int, message: str) -> None:
    """Raise `UserError` with this message for what cannot be called with so many positional arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Built in, or of an extension: nothing is known of it.
        return
    try:
        signature.bind(*[None] * arguments)
    except TypeError as error:
        raise UserError(f"{message} ({error})") from error


def _kind(value: object) -> str:
    word = type(value).__name__
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
