"""Answers by name: a policy, an objective, an aggregation, a method, a reward, a data set, a judge. Ours have short
names, each room one table of them; one from outside is 'module:Class'. Light: nothing here needs torch."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_moa.errors import UserError

_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
Sections = Mapping[str, type]
"""Name of a section of a study's configuration to the dataclass of its settings."""


def is_foreign(name: str) -> bool:
    """Whether a name has the form module:name."""
    return _FORM.fullmatch(name) is not None


def load(name: str, where: str = "") -> Any:
    """What 'module:name' names.

    Args:
        name: the module's and the object's.
        where: the key that gave it, for errors.

    Raises:
        UserError: another form, no such module or name, or an import that fails.
    """
    shown = f"{where}={name}" if where else name
    if not is_foreign(name):
        raise UserError(f"{shown}: the form is module:Class")
    module, _, attribute = name.partition(":")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise UserError(f"{shown}: no such module; it must lie on Python's path (PYTHONPATH)") from error
        raise UserError(f"{shown}: its module needs {error.name}, which is not installed") from error
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        raise UserError(
            f"{shown}: its module cannot be imported ({type(error).__name__}: {first})"
        ) from error
    if not hasattr(loaded, attribute):
        raise UserError(f"{shown}: the module {module} has no {attribute}")
    return getattr(loaded, attribute)


def path_of(named: type) -> str:
    """'module:Class' of a class.

    Raises:
        UserError: one that a worker process could not import: defined in the script that was started, or in a function.
    """
    if named.__module__ == "__main__" or "<" in named.__qualname__:
        raise UserError(
            f"{named.__name__}: worker processes must be able to import it; define it at the top of a file of its own"
        )
    return f"{named.__module__}:{named.__qualname__}"


@dataclass(frozen=True)
class Use:
    """An answer, and what a method says of its settings, or of its constructor's arguments."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def use(answer: str | type | Use, **options: Any) -> Use:
    """An answer by its short name, 'module:Class' or class, with options.

    An option that is a key of the answer's own section replaces the study's setting for this method; others are
    arguments of its constructor.
    """
    if isinstance(answer, Use):
        return Use(answer.name, {**answer.options, **options})
    return Use(answer if isinstance(answer, str) else path_of(answer), options)


@dataclass(frozen=True)
class Known:
    """Where an answer is, and the sections of the configuration that it brings."""

    path: str
    sections: Sections = field(default_factory=dict)


def known(table: Mapping[str, Known], name: str, what: str) -> Known:
    """An answer of a room's table, or one from outside.

    Args:
        table: the room's.
        name: short, or 'module:Class'.
        what: the room's question ('policy'), for errors.

    Raises:
        UserError: no such answer.
    """
    if name in table:
        return table[name]
    if not is_foreign(name):
        raise UserError(f"{what}={name}: allowed are {', '.join(table)}, and one of your own as module:Class")
    for one in table.values():
        if one.path == name:
            return one
    return Known(name, dict(getattr(load(name, what), "sections", {})))
