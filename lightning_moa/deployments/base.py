"""The form that every deployment has. Light: no torch until policies are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from lightning_moa.deployments.trained_on import TrainedOn
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_moa.policies import Policy


@dataclass(frozen=True)
class Deployed:
    """One policy as it is measured: a row of points.csv for each preference."""

    name: str
    """In the column `policy`; tells the method's policies apart."""
    policy: Policy
    preferences: Tensor | None = None
    """(n, m) that it is asked for; None: it knows none, and is measured once."""
    step: int | None = None
    """Updates that it has had; None: all of its method's."""
    rewrite: Callable[[str], str] | None = field(default=None, compare=False)
    """What is done to a prompt before the policy sees it, where the one preference stands in the prompt."""
    ending: str = ""
    """That prompts have to end in for `rewrite`."""


class Trained(Protocol):
    """What a deployment is made of: the trained policies of one method and seed, in the order of `trained_at`."""

    @property
    def objectives(self) -> tuple[str, ...]: ...

    @property
    def trained_at(self) -> Sequence[Sequence[float] | None]:
        """The preference that each policy was trained for."""
        ...

    @property
    def folders(self) -> Sequence[Path]:
        """Of the saved policies."""
        ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def base(self) -> Policy:
        """The reference policy."""
        ...

    @property
    def grid(self) -> Tensor:
        """(n, m) float64, the preferences that are measured."""
        ...

    def load(self, place: int = 0, step: int | None = None) -> Policy:
        """A trained policy on the base; at an earlier step where it was saved then. `unload` it before the next one is
        loaded: they share the base."""
        ...

    def soup(self) -> Policy:
        """All of them on one base, their updates interpolated by the preference, (m,) or (batch, m); at a corner it
        is that member exactly."""
        ...

    def snapshots(self, place: int = 0) -> Sequence[int]:
        """Steps at which a policy was saved before its end."""
        ...

    def section(self, name: str) -> Any:
        """The settings of one of the deployment's own sections."""
        ...

    def reward_range(self) -> tuple[Sequence[float], Sequence[float]]:
        """(m,) least and (m,) largest reward of the scored rows that the policies were trained on."""
        ...


@dataclass(frozen=True)
class Load:
    """What measuring takes, for progress and forecasts."""

    grid: int = 1
    """Preferences that share a forward pass."""
    passes: int = 1
    """Times that all prompts are answered."""
    held: int = 1
    """Trained policies in memory at a time."""


@dataclass(frozen=True)
class Deployment:
    """How a method's trained policies are used. Children are frozen dataclasses; their fields are what is chosen."""

    sections: ClassVar[Mapping[str, type]] = {}
    """Sections of the study's configuration that it reads."""
    on_pairs: ClassVar[bool] = True
    """Whether implicit accuracies on held-out pairs may be asked of its policies."""

    def check(self, trained_on: TrainedOn) -> None:
        """Refuse, when a method is written, policies that can't be used so.

        Raises:
            UserError: says what is needed.
        """

    def asked(self, preferences: Sequence[Sequence[float]]) -> Self:
        """The same for a user's preferences, (n, m), where they are the deployment's own; else `Trained.grid` says
        which are asked for."""
        return self

    def policies(self, trained: Trained) -> Iterator[Deployed]:
        """The policies to measure, one at a time.

        A policy that `trained.load` gave is unloaded by the deployment once the next one is asked for. Each child has
        its own; no default serves all, and one without is told so.

        Raises:
            NotImplementedError: a child without one.
        """
        raise NotImplementedError(f"{type(self).__name__}: a deployment needs the method policies(trained)")

    def load(self, grid: int, policies: int, members: int) -> Load:
        """What measuring takes.

        Args:
            grid: preferences on the study's grid.
            policies: trained ones.
            members: policies in each of them (heads; else 1).
        """
        return Load(passes=policies * members)


def need_one(deployment: Deployment, trained_on: TrainedOn) -> None:
    """Raise `UserError` unless a single policy is trained."""
    if not trained_on.one_policy:
        raise UserError(
            f"{type(deployment).__name__} uses one policy: TrainedOn.{trained_on.kind} trains several; allowed are "
            "sampled, centre, corner, and given with one preference"
        )


def shown(preference: Sequence[float], digits: int = 6) -> str:
    """A preference as a policy's name."""
    return " ".join(f"{value:.{digits}g}" for value in preference)
