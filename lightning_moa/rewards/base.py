"""The form that every source of rewards has: texts in, one score per objective out, higher is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.rewards.functions import finite_numbers
from lightning_moa.turns import readable

Rule = Callable[[Sequence[str], Sequence[str]], Any]
"""(prompts, responses) to n finite numbers, higher is better."""


class Rewards(Protocol):
    """Scores of responses for m objectives. A cost is negated where it is loaded."""

    objectives: tuple[str, ...]

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """(n, m) float64, higher is better; a row depends on its own texts alone."""
        ...


class RuleRewards:
    """Rewards that are plain functions, such as a world's gold rewards. A prompt of several turns comes to them as one
    plain text (`turns.readable`).

    Args:
        rules: objective to a function (prompts, responses) -> (n,), higher is better.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = dict(rules)
        self.objectives = tuple(self.rules)

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        n, asked = len(responses), [readable(prompt) for prompt in prompts]
        columns = [
            finite_numbers(rule(asked, responses), n, f"reward {name!r}") for name, rule in self.rules.items()
        ]
        return np.stack(columns, axis=-1)


def as_rewards(given: Rewards | Mapping[str, Rule]) -> Rewards:
    """Rewards as they are, or of functions, one for each objective.

    Raises:
        UserError: neither of both, or no objective.
    """
    if isinstance(given, Mapping):
        if given and all(callable(rule) for rule in given.values()):
            return RuleRewards(given)
    elif callable(getattr(given, "scores", None)) and getattr(given, "objectives", None):
        return given
    raise UserError(
        f"rewards={given!r}: expected is a mapping of objectives to functions (prompts, responses), or an object with "
        "objectives, their names, and scores(prompts, responses)"
    )


def check_scores(scores: Any, objectives: Sequence[str], n: int | None = None) -> np.ndarray:
    """The scores, (n, m), if all are finite.

    Args:
        scores: (n, m), an array, a tensor or lists.
        objectives: the m.
        n: of the responses; None: as many as there are scores.

    Raises:
        UserError: another shape; or names the objective and the row of the first score that is NaN or infinite.
    """
    scores = np.asarray(scores.tolist() if hasattr(scores, "detach") else scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != len(objectives) or (n is not None and len(scores) != n):
        raise UserError(
            f"rewards of the shape {scores.shape}: ({'n' if n is None else n}, {len(objectives)}) is needed, a row for "
            f"each response and a column each for {', '.join(objectives)}"
        )
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"reward '{objectives[column]}' of response {row} is {scores[row, column]}: rewards must be finite numbers"
        )
    return scores
