"""Whether the constructor of an answer from outside takes what a training will give it, asked while a study is planned.
What has a `build` of its own may give what it likes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from lightning_moa.errors import UserError


def check_constructor(kind: str, found: Any, options: Iterable[str], where: str) -> None:
    """Bind the names that a training gives, as `build` and `runs.context.build_method` do.

    Args:
        kind: policy, objective, aggregation or method.
        found: its class.
        options: what the method says of it besides its settings.
        where: method and answer, for errors.

    Raises:
        UserError: an argument that nothing gives, or one that the constructor doesn't know.
    """
    given = _GIVEN[kind](found, list(inspect.signature(found).parameters))
    if given is None:
        return
    first, names = given
    try:
        inspect.signature(found).bind(*first, **dict.fromkeys([*names, *options]))
    except TypeError as error:
        told = ", ".join([*first, *dict.fromkeys([*names, *options])]) or "nothing"
        raise UserError(f"{where}: its constructor {error}; it is given {told}") from error


_Given = tuple[list[str], list[str]] | None
"""By place and by name; None: not known."""


def _of_policy(found: Any, known: list[str]) -> _Given:
    from lightning_moa.policies import Policy

    if _owner(found, "build") is not Policy:
        return None
    return ["model"], [*_fields(found.sections), *(name for name in ("m", "seed") if name in known)]


def _of_objective(found: Any, known: list[str]) -> _Given:
    from lightning_moa.objectives import Objective

    if _owner(found, "build") is not Objective:
        return None
    return [], [name for name in _fields(found.sections) if name in known]


def _of_aggregation(found: Any, known: list[str]) -> _Given:
    return None if hasattr(found, "build") else ([], [])


def _of_method(found: Any, known: list[str]) -> _Given:
    from lightning_moa.methods.base import Alignment

    if _owner(found, "arguments") is not Alignment:
        return None
    shared = inspect.signature(Alignment).parameters.values()
    places = [one.name for one in shared if one.kind is one.POSITIONAL_OR_KEYWORD]
    # What `build_method` gives: AdamW is built of the study's settings.
    names = [one.name for one in shared if one.kind is one.KEYWORD_ONLY and one.name != "lr"]
    return places, [*names, *found.sections]


_GIVEN = {
    "policy": _of_policy,
    "objective": _of_objective,
    "aggregation": _of_aggregation,
    "method": _of_method,
}


def _fields(sections: Mapping[str, type[Any]]) -> list[str]:
    return list(dict.fromkeys(item.name for each in sections.values() for item in fields(each)))


def _owner(found: Any, name: str) -> Any:
    """The class that a class has something from."""
    return next(each for each in found.__mro__ if name in vars(each))
