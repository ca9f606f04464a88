"""Preferences as users write them. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.pareto import check_preference


def as_preference(preference: Any, objectives: Sequence[str]) -> np.ndarray:
    """(m,) float64 weights in the objectives' order.

    Args:
        preference: a mapping of objectives to weights, all of them; or m weights as a list, an array or a tensor.
        objectives: m names.

    Raises:
        UserError: another number of weights, an unknown or missing objective, or weights off the simplex.
    """
    if isinstance(preference, Mapping):
        unknown = [name for name in preference if name not in objectives]
        missing = [name for name in objectives if name not in preference]
        if unknown or missing:
            what = f"{unknown[0]!r} is no objective" if unknown else f"{missing[0]!r} has no weight"
            raise UserError(
                f"preference {shown(preference)}: {what}; the objectives are {', '.join(objectives)}"
            )
        preference = [preference[name] for name in objectives]
    try:
        # A tensor tells numpy its values, wherever it lies.
        values = np.asarray(
            preference.detach().cpu() if hasattr(preference, "detach") else preference, np.float64
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"preference {preference!r}: {len(objectives)} numbers are expected") from error
    if values.shape != (len(objectives),):
        raise UserError(
            f"preference of shape {values.shape}: one weight for each of {', '.join(objectives)} is expected"
        )
    return check_preference(values, len(objectives))


def parse_preference(text: str) -> dict[str, float] | list[float]:
    """`helpful=.3,harmless=.7`, or `.3,.7` in the objectives' order.

    Raises:
        UserError: another form.
    """
    words = [word.strip() for word in text.split(",")]
    try:
        if all("=" in word for word in words):
            pairs = [word.partition("=") for word in words]
            found = {name.strip(): float(value) for name, _, value in pairs}
            if len(found) < len(pairs):
                raise UserError(f"--preference {text}: an objective is there twice; allowed is once")
            return found
        return [float(word) for word in words]
    except ValueError as error:
        raise UserError(
            f"--preference {text}: allowed are weights with commas between, such as a=.3,b=.7 or .3,.7"
        ) from error


def shown(preference: Mapping[str, Any]) -> str:
    """Such as `helpful 0.3, harmless 0.7`."""
    return ", ".join(f"{name} {value}" for name, value in preference.items())
