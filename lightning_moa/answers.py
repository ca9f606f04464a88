"""Answers by name: a policy, an objective, an aggregation, a method, a reward, a data set, a judge. Ours have short
names, each room one table of them; one from outside is 'module:Class'. Light: nothing here needs torch."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from lightning_moa.errors import UserError

_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_WHERE = "it must lie in the current folder or on Python's path (PYTHONPATH)"
Sections = Mapping[str, type]
"""Name of a section of a study's configuration to the dataclass of its settings."""


def is_foreign(name: str) -> bool:
    """Whether a name has the form module:name."""
    return _FORM.fullmatch(name) is not None


def load(name: str, where: str = "") -> Any:
    """What 'module:name' names. Its module is looked for on Python's path, and then in the current folder.

    Args:
        name: the module's and the object's.
        where: the key that gave it, for errors.

    Raises:
        UserError: another form, no such module or name, or an import that fails (with its error and line).
    """
    shown = f"{where}={name}" if where else name
    if not is_foreign(name):
        raise UserError(f"{shown}: the form is module:Class")
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            hint = "a module is named without .py" if module.endswith(".py") else _WHERE
            raise UserError(f"{shown}: no such module; {hint}") from error
        raise UserError(
            f"{shown}: its module needs {error.name}, which is not installed{_line(error)}"
        ) from error
    except (Exception, SystemExit) as error:
        told = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split()) or "no message"
        raise UserError(
            f"{shown}: its module cannot be imported ({type(error).__name__}: {told}{_line(error)})"
        ) from error
    if not hasattr(loaded, attribute):
        near = difflib.get_close_matches(attribute, vars(loaded), n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"{shown}: the module {module} has no {attribute}{guess}")
    return getattr(loaded, attribute)


def _line(error: BaseException) -> str:
    """', <file> line <n>' of the deepest line of the user's own that an error went through, else nothing."""
    if isinstance(error, SyntaxError) and error.filename:
        return f", {Path(error.filename).name} line {error.lineno}"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", __file__, *_LIBRARIES))
    ]
    return f", {Path(own[-1].filename).name} line {own[-1].lineno}" if own else ""


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
    return Known(name, _sections(getattr(load(name, what), "sections", {}), f"{what}={name}"))


def _sections(given: Any, where: str) -> Sections:
    """As an answer says them, once they are what they must be."""
    if not isinstance(given, Mapping):
        raise UserError(
            f"{where}: `sections` maps names of sections to dataclasses of their settings; it is {given!r}"
        )
    for name, kind in given.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise UserError(f"{where}: `sections` has {name!r}, which can't be the name of a section")
        if not isinstance(kind, type) or not is_dataclass(kind):
            raise UserError(
                f"{where}: `sections` has {name}={kind!r}: a dataclass of its settings is expected"
            )
    return dict(given)
