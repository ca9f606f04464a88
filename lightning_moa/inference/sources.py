"""What a study or a folder says of trained policies, as their deployments want it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from lightning_moa.answers import load as load_answer
from lightning_moa.answers import path_of
from lightning_moa.deployments import Deployed, Deployment
from lightning_moa.errors import UserError
from lightning_moa.folders import run_in
from lightning_moa.inference.found import TrainedMethod
from lightning_moa.policies import Policy
from lightning_moa.run_folders import is_done, record
from lightning_moa.runs.context import Trained
from lightning_moa.task_files import DONE

OURS = "lightning_moa."
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """What is loaded: the spec of the task that made or measured it, and the runs that it needs."""

    spec: Mapping[str, Any]
    inputs: Mapping[str, Path]
    deployment: Mapping[str, Any] | None
    """The class and its options; None: the policy by itself."""
    study: TrainedMethod | None = None


@dataclass(frozen=True)
class Tracked(Trained):
    """Knows the policy that is loaded, so that it can be put away while its deployment still holds it."""

    loaded: list[Policy] = field(default_factory=list)

    def load(self, place: int = 0, step: int | None = None) -> Policy:
        return self._noted(super().load(place, step))

    def soup(self) -> Policy:
        return self._noted(super().soup())

    def _noted(self, policy: Policy) -> Policy:
        unload = policy.unload

        def once() -> Any:
            self.loaded.remove(policy)
            return unload()

        policy.unload = once  # type: ignore[method-assign]
        self.loaded.append(policy)
        return policy

    def put_away(self) -> None:
        for policy in list(self.loaded):
            policy.unload()


class Itself(Deployment):
    """A saved policy, or each of its members, at any preference that it takes."""

    def policies(self, trained: Any) -> Iterator[Deployed]:
        policy = trained.load()
        (at,) = trained.trained_at
        own = None if at is None else torch.tensor([at], dtype=torch.float64)
        for name, member in policy.members():
            yield Deployed(name, member, trained.grid if policy.m else own)
        policy.unload()


def of_study(study: TrainedMethod) -> Source:
    measured = study.measured()
    inputs = {role: run_in(study.runs, run) for role, run in measured["inputs"].items()}
    for folder in inputs.values():
        if is_done(study.runs, folder.name):
            # What is loaded must be whole.
            record(study.runs, folder.name)
    return Source(measured["spec"], inputs, measured["spec"]["deployment"], study)


def of_folder(folder: Path) -> Source:
    """A policy by its own folder, beside its run's record."""
    run = folder.resolve().parent
    if folder.resolve().name != "policy":
        raise UserError(
            f"{folder}: allowed is the folder `policy` of a run, its last step; load_policy loads what was kept before"
        )
    if not is_done(run.parent, run.name):
        raise UserError(
            f"{folder}: no record of the run that trained it ({DONE}) lies above it; load_policy loads it"
        )
    made = record(run.parent, run.name)
    spec = {**made["spec"], "trained_at": [made["spec"]["at"]]}
    inputs = {role: run_in(run.parent, each) for role, each in made["inputs"].items()}
    m = len(spec["objectives"])
    return Source({**spec, "grid": [[1 / m] * m] * 2}, {**inputs, "policy00000": run}, None)


def deployment_of(source: Source, own: Sequence[type]) -> Deployment:
    if source.deployment is None:
        return Itself()
    kind = class_of(source.deployment["class"], own, Deployment)
    try:
        return kind(**source.deployment["options"])
    except TypeError as error:
        raise UserError(f"{source.deployment['class']}: its options do not fit ({error})") from error


def class_of(name: str, own: Sequence[Any], kind: type[T]) -> type[T]:
    """The class that a folder names, of such a kind. No other is called, for a folder gives its arguments, too.

    Raises:
        UserError: one from outside that the caller does not name, or another thing.
    """
    allow(name, own)
    found = load_answer(name)
    if not isinstance(found, type) or not issubclass(found, kind):
        raise UserError(f"{name}: a {kind.__name__} is expected there")
    return found


def allow(name: str, own: Sequence[Any], ours: str = OURS) -> None:
    """Refuse what is from outside of our modules (those whose names begin so) and not named by the caller."""
    if not name.startswith(ours) and name not in [path_of(each) for each in own]:
        raise UserError(
            f"{name}: from outside; a folder's own word imports nothing, so name it: --own {name} (own=[...])"
        )
