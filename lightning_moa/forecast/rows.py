"""What a study's runs would take, before any machine is rented: memory by kind, operations, hours. Offline.

Parameters, adapters and heads are counted of the real policies on the meta device, activations by the passes of the
real objectives there (`passes`), the rest by arithmetic on their numbers (`memory`, `flops`). Lengths are the longest
that the settings allow, so tokens, memory and hours are upper bounds in that; sampled responses are taken to be as long
as they may be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lightning_moa.forecast import memory
from lightning_moa.forecast.networks import network_of
from lightning_moa.forecast.parts import Forecast
from lightning_moa.forecast.sampling import evaluate, offline_rows, online_rows, reference
from lightning_moa.forecast.training import align, base, reward_model
from lightning_moa.study.planning import Plan
from lightning_moa.study.seeds import RUNS
from lightning_moa.study.tasks import Task, in_order


@dataclass(frozen=True)
class Row:
    """All runs of one kind."""

    name: str
    count: int
    forecast: Forecast
    task: Task
    """One of them."""
    rows: int | None
    """Of the training split, as of `rows_of`."""

    def largest_batch(self, size: float) -> int | None:
        """Rows a device that fit into so many bytes; None where they do not matter."""
        one = self.forecast
        if not one.rows:
            return None
        doubled = _cached(self.task, 2, self.rows)
        return memory.largest_batch(one.phases, doubled.phases, one.rows, size)


def rows_of(plan: Plan, rows: int | None = None, known: set[str] | None = None) -> list[Row]:
    """The runs of a study, alike ones together.

    Args:
        plan: the study's.
        rows: of the training split (pairs, or prompts and responses as an objective takes them); None: as published.
        known: keys of other studies' runs, which are not done again and left out here; this study's are added.

    Raises:
        UserError: a model whose architecture, or data whose number of rows, is not known offline.
    """
    groups: dict[str, list[Task]] = {}
    seen = set() if known is None else known
    for task in in_order(plan.targets()):
        if not task.function.endswith((":exact", ":unpack")) and task.key not in seen:
            seen.add(task.key)
            groups.setdefault(kind_of(task), []).append(task)
    made = []
    for name, tasks in groups.items():
        made.append(Row(name, len(tasks), _cached(tasks[0], 1, rows), tasks[0], rows))
    return made


def kind_of(task: Task) -> str:
    """A task's name without its seed and the preference that it is trained for; a policy that is trained on in a round
    of the online phase is of a kind of its own."""
    name = re.sub(r" at [-0-9. e]+$", "", re.sub(r", seed \d+$", "", task.name))
    return f"{name}, trained on" if "start" in task.needs else name


def _cached(task: Task, factor: int, rows: int | None) -> Forecast:
    """`forecast`, once for all tasks that differ in nothing that counts."""
    needed = [need.spec for role, need in task.needs.items() if role.startswith("policy")]
    key = [task.function, _counting(task.spec), sorted(task.needs), [_counting(one) for one in needed[:1]]]
    text = json.dumps(key, sort_keys=True, default=str)
    if (text, factor, rows) not in _KNOWN:
        _KNOWN[text, factor, rows] = forecast(task, factor, rows)
    return _KNOWN[text, factor, rows]


def _counting(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of a spec counts."""
    own = {key: value for key, value in spec.items() if key not in _LEFT_OUT}
    if "options" in own:
        own["options"] = {kind: own["options"][kind] for kind in ("policy", "objective")}
    return own


_LEFT_OUT = (
    *("seed", "at", "trained_at", "method", "aggregation", "snapshots", "watch"),
    *("given", "files", "model_files", "prompt_files", "reward_files"),
)
"""What of a spec changes nothing here."""

_KNOWN: dict[tuple[str, int, int | None], Forecast] = {}


def forecast(task: Task, factor: int = 1, rows: int | None = None) -> Forecast:
    """What a task takes.

    Args:
        task: of a study's plan.
        factor: times the rows that its settings put on a device.
        rows: as of `rows_of`.
    """
    made = _KINDS.get(task.function, _unknown)(task, factor, rows)
    process = memory.process_bytes(task.spec["hardware"])
    return replace(made, phases={name: phase | {"process": process} for name, phase in made.phases.items()})


def is_known(task: Task) -> bool:
    """Whether what a task does is worked out; of one that is not, the base model's weights alone are."""
    return task.function in _KINDS


def _unknown(task: Task, factor: int, rows: int | None) -> Forecast:
    network = network_of(dict(task.spec)).requires_grad_(False)
    frozen, numbers = memory.weight_bytes(network, task.spec["hardware"]["precision"])
    return Forecast({"loading": {"weights": frozen}}, 0, 0, numbers)


_KINDS: dict[str, Callable[[Task, int, int | None], Forecast]] = {
    f"{RUNS}.base:base": base,
    f"{RUNS}.reference:reference": reference,
    f"{RUNS}.reward_model:reward_model": reward_model,
    f"{RUNS}.align:align": align,
    f"{RUNS}.evaluate:evaluate": evaluate,
    f"{RUNS}.rows:offline_rows": offline_rows,
    f"{RUNS}.rows:online_rows": online_rows,
}
