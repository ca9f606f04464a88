"""What the answers of a training are built from, and how trained policies are used (`objectives.base.Run`,
`deployments.base.Trained`). Loads no Lightning: a plan builds policies and objectives from it, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_moa.answers import load
from lightning_moa.data.about import read_about
from lightning_moa.objectives import Objective
from lightning_moa.objectives.base import OptimiserFactory
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.policies import Policy, RewardedSoup, load_policy
from lightning_moa.rewards import Rewards
from lightning_moa.rewards.sources import TRAINED
from lightning_moa.runs.schedules import optimiser_factory
from lightning_moa.strategies.choices import processes_of
from lightning_moa.task_files import snapshots_in

if TYPE_CHECKING:
    from lightning_moa.data.base import PreferenceData
    from lightning_moa.methods.base import Alignment

Spec = dict[str, Any]
KINDS = ("method", "policy", "objective", "aggregation")


@dataclass(frozen=True)
class Answers:
    """The classes that a training's spec names."""

    method: type[Alignment]
    policy: type[Policy]
    objective: type[Objective]
    aggregation: Any

    @staticmethod
    def of(spec: Spec) -> Answers:
        return Answers(*(load(spec[kind], kind) for kind in KINDS))


@dataclass(frozen=True)
class Context:
    """A training's spec, what its needs have left, and what has been built so far."""

    spec: Spec
    inputs: Mapping[str, Path]
    answers: Answers
    data: PreferenceData
    tokenizer: Any
    policy: Policy
    """Before its own policy is built: the base."""
    steps: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.data.objectives

    @property
    def m(self) -> int:
        return len(self.data.objectives)

    @property
    def seed(self) -> int:
        return int(self.spec["seed"])

    @property
    def stage(self) -> int:
        return int(self.spec["stage"])

    @property
    def at(self) -> Sequence[float] | None:
        at: list[float] | None = self.spec["at"]
        return at

    @property
    def processes(self) -> int:
        return processes_of(self.spec["hardware"])

    @property
    def model(self) -> Any:
        return self.policy.model

    @property
    def accumulate(self) -> int:
        return int(self.settings.accumulate)

    @property
    def zeros(self) -> list[bool]:
        of_pairs = "pairs" in self.data.config.views
        sources = self.spec["rewards"]
        return [not (of_pairs and sources[name]["kind"] == TRAINED) for name in self.objectives]

    @property
    def settings(self) -> Any:
        kind = next(iter(self.answers.objective.sections.values()))
        return kind(**self.spec["settings"])

    def section(self, name: str) -> Any:
        if name == next(iter(self.answers.objective.sections), None):
            return self.settings
        for kind in KINDS:
            sections = getattr(getattr(self.answers, kind), "sections", {})
            if name in sections:
                return sections[name](**self.spec["sections"][name])
        raise KeyError(name)

    def folder(self, role: str) -> Path:
        return self.inputs[role]

    def rewards(self, batch_size: int) -> Rewards:
        from lightning_moa.runs.loading import reward_source

        return reward_source(self.spec, self.inputs, self.data, batch_size)

    def optimiser(self, settings: OptimiserConfig, updates: int) -> OptimiserFactory:
        return optimiser_factory(vars(settings), updates)

    def about(self, kind: str) -> Context:
        """The same, with what the method says of one of its answers."""
        return replace(self, options=self.spec["options"][kind])


def build_method(run: Context) -> Alignment:
    """The LightningModule that the spec names, with its three answers."""
    from lightning_moa.methods.watching import GradientWatch

    spec, answers, settings = run.spec, run.answers, run.settings
    objective = answers.objective.build(run.about("objective"))
    aggregator = build_aggregator(run)
    updates = run.steps * spec["settings"].get("update_iters", 1)
    return answers.method(
        run.policy,
        objective,
        aggregator,
        optimiser_factory(spec["settings"], updates, spec["hardware"]["optimiser"]),
        objectives=run.objectives,
        m=run.m,
        seed=run.seed,
        at=run.at,
        accumulate=settings.accumulate,
        grad_clip=settings.grad_clip,
        probe=spec["probe"],
        fresh_passes=spec["fresh_passes"],
        watch=GradientWatch(run.policy, run.objectives, spec["watch"]) if spec["watch"] else None,
        **answers.method.arguments(run.about("method")),
    )


def build_aggregator(run: Context) -> Any:
    """By its class's `build`, or of the method's options alone."""
    own = run.about("aggregation")
    build = getattr(run.answers.aggregation, "build", None)
    return run.answers.aggregation(**own.options) if build is None else build(own)


@dataclass(frozen=True)
class Trained:
    """The trained policies of a method, for its deployment."""

    spec: Spec
    inputs: Mapping[str, Path]
    objectives: tuple[str, ...]
    tokenizer: Any
    base: Policy
    sections: Mapping[str, type]

    @property
    def trained_at(self) -> Sequence[Sequence[float] | None]:
        at: list[list[float] | None] = self.spec["trained_at"]
        return at

    @property
    def _runs(self) -> list[Path]:
        return [path for role, path in sorted(self.inputs.items()) if role.startswith("policy")]

    @property
    def folders(self) -> list[Path]:
        return [path / "policy" for path in self._runs]

    @property
    def grid(self) -> torch.Tensor:
        return torch.tensor(self.spec["grid"], dtype=torch.float64)

    def load(self, place: int = 0, step: int | None = None) -> Policy:
        folder = self.folders[place]
        if step is not None:
            folder = dict(snapshots_in(self._runs[place]))[step]
        policy: Policy = load_policy(self.base.model, folder, kind=load(self.spec["policy"], "policy"))
        return policy

    def soup(self) -> Policy:
        return RewardedSoup.from_folders(
            self.base.model, self.folders, kind=load(self.spec["policy"], "policy")
        )

    def snapshots(self, place: int = 0) -> list[int]:
        return [step for step, _ in snapshots_in(self._runs[place])]

    def section(self, name: str) -> Any:
        return self.sections[name](**self.spec["sections"][name])

    def reward_range(self) -> tuple[Sequence[float], Sequence[float]]:
        about = read_about(self.inputs["rows"])
        return about["low"], about["high"]
