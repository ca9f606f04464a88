"""A task is a function, what determines its result, and the tasks whose results it reads.

Its result is a folder of files, kept under a key that hashes all of that, so a figure that needs a policy which is
there reuses it, and whatever changes the result changes the key. A folder appears under its key only when it is
complete: the work is done in a temporary folder beside it that is renamed at the end.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any

from lightning_moa.reach.digest import LIBRARIES, Digests
from lightning_moa.strategies.choices import packages_of

IDLE = {"hardware": ("checkpoint_every",), "evaluation": ("draws", "prompt_sets")}
"""Section -> keys that no task's result hangs on: how often a checkpoint is left, how often a study's rows are drawn
anew, and which sets of prompts there were to choose from."""


@dataclass(frozen=True, eq=False)
class Task:
    """One piece of work.

    Args:
        name: what a person reads in the progress display; does not change the result.
        function: 'module:function', called as function(spec, inputs, out, progress).
        spec: JSON-able; everything that determines the result, with `needs`.
        needs: role to task; `inputs` maps the same roles to the finished folders.
        cost: seconds that it is expected to take on one core; only its ratio to other tasks' matters.
        code: 'module:Class' of what the function is told to use, whose code determines the result as the function's own
            does; all that these can reach is hashed.
        package: whether a change of this package's own code makes another result.
    """

    name: str
    function: str
    spec: Mapping[str, Any]
    needs: Mapping[str, Task] = field(default_factory=dict)
    cost: float = 1.0
    code: Collection[str] = ()
    package: bool = True

    @cached_property
    def key(self) -> str:
        """Name of the result's folder: the function and a hash of all that determines the result."""
        determined_by = {
            "function": self.function,
            "spec": _determining(self.spec),
            "needs": {role: task.key for role, task in self.needs.items()},
            "libraries": library_versions() | self._versions_on_gpus(),
            "code": _digests().of({self.function, *self.code}, package=self.package),
        }
        text = json.dumps(determined_by, sort_keys=True, allow_nan=False)
        return f"{self.function.rpartition(':')[2]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def _versions_on_gpus(self) -> dict[str, str]:
        """Versions of the packages that compute at the spec's hardware settings alone, where they are installed."""
        hardware = self.spec.get("hardware")
        names = {name for name, _ in packages_of(hardware, whole=True)} if hardware else set()
        return {name: importlib.metadata.version(name) for name in names if find_spec(name)}


def _determining(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """A spec without what changes no result (`IDLE`)."""
    kept = {
        section: {key: value for key, value in spec[section].items() if key not in keys}
        for section, keys in IDLE.items()
        if section in spec
    }
    return {**spec, **kept}


@cache
def _digests() -> Digests:
    """A process reads each file once, as it imports it once."""
    return Digests()


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that a run's numbers depend on."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def in_order(targets: list[Task]) -> list[Task]:
    """The targets and all that they need, each once by its key, needs before what needs them."""
    ordered: dict[str, Task] = {}

    def visit(task: Task) -> None:
        if task.key in ordered:
            return
        for need in task.needs.values():
            visit(need)
        ordered[task.key] = task

    for target in targets:
        visit(target)
    return list(ordered.values())
