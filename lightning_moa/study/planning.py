"""From a configuration to the tasks of a study. Light: nothing here needs torch."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightning_moa.config import MethodConfig, PPOStudyConfig, StudyConfig
from lightning_moa.data.configs import DataConfig, SyntheticSummariesConfig, WorldConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product
from lightning_moa.pareto import preference_grid
from lightning_moa.rewards import hub_model
from lightning_moa.study.tasks import Task

SYNTHETIC_OBJECTIVES = ("helpful", "harmless")
SUMMARY_OBJECTIVES = ("faithful", "hallucination")
REFERENCE = "sft"
"""The reference policy's name among the methods of a study."""


COST_OF_STEP = {"dpo": 0.05, "ppo": 0.2}
"""Seconds of an update at the tiny scale; what a run measures corrects it."""


@dataclass
class SeedPlan:
    """The tasks of one seed: policies and one evaluation for each method."""

    policies: dict[str, list[Task]] = field(default_factory=dict)
    evaluations: dict[str, Task] = field(default_factory=dict)


@dataclass
class Plan:
    """All tasks of a study."""

    objectives: tuple[str, ...]
    seeds: dict[int, SeedPlan]
    exact: Task | None
    """The exact front, where the data's best policies are known."""

    def targets(self) -> list[Task]:
        """The tasks whose results the study reads; what they need follows from them."""
        measured = [task for seed in self.seeds.values() for task in seed.evaluations.values()]
        return measured if self.exact is None else [*measured, self.exact]


def plan_study(
    config: StudyConfig, methods: Mapping[str, Product], prompts: DataConfig | None = None
) -> Plan:
    """The runs of a study that trains each method's policies, for every seed.

    Args:
        config: what to run.
        methods: each method's own name in the study, and what it is made of.
        prompts: the data whose held-out prompts the policies are measured on; None: the study's own.

    Raises:
        UserError: settings that no run can be made of.
    """
    unknown = set(config.methods) - set(methods)
    if unknown:
        raise UserError(f"methods.{sorted(unknown)[0]}: this figure's methods are {', '.join(methods)}")
    objectives = objectives_of(config)
    if isinstance(config, PPOStudyConfig):
        _settle_rewards(config, objectives)
    files = _digest(config.data.path)
    paths = config.ppo.hub_paths if isinstance(config, PPOStudyConfig) else {}
    hub_files = {name: _digest(path, f"ppo.hub_paths.{name}") for name, path in paths.items()}
    path = config.model.path
    model_files = _digest(path, "model.path") if path is not None and Path(path).expanduser().is_dir() else ""
    prompt_files = "" if prompts is None else _digest(prompts.path, "evaluation.prompt_sets")
    seeds = {
        seed: _Seed(config, objectives, files, hub_files, model_files, prompts, prompt_files, seed).plan(
            methods
        )
        for seed in config.seeds
    }
    return Plan(objectives, seeds, _exact(config, prompts or config.data, objectives))


def objectives_of(config: StudyConfig) -> tuple[str, ...]:
    """The study's objectives in order: those asked for, or the data set's own."""
    if config.objectives is not None:
        return tuple(config.objectives)
    if isinstance(config.data, WorldConfig):
        return (
            SUMMARY_OBJECTIVES if isinstance(config.data, SyntheticSummariesConfig) else SYNTHETIC_OBJECTIVES
        )
    names = tuple(config.data.labels)
    if len(names) < 2:
        raise UserError(
            f"data={config.data.name} has {len(names)} labelled objectives ({', '.join(names) or 'none'}): "
            f"two or more are needed, data.labels.<objective>=<column>"
        )
    return names


def beta_of(config: StudyConfig) -> float:
    """The weight of the KL from the reference that the study's policies are trained under."""
    dpo: Any = getattr(config, "dpo", None)
    return float(getattr(config, "ppo").kl_coeff if dpo is None else dpo.beta)  # noqa: B009


def _settle_rewards(config: PPOStudyConfig, objectives: tuple[str, ...]) -> None:
    """Replace ppo.reward=auto by what it stands for, and have responses scored by what PPO maximises."""
    ppo = config.ppo
    world = isinstance(config.data, WorldConfig)
    if ppo.ptx and ppo.ptx_path is None and not world:
        raise UserError(
            f"ppo.ptx={ppo.ptx:g}: ppo.ptx_path=<jsonl of prompt and response> is needed (Safe-RLHF takes Alpaca's), "
            f"since pairs hold worse responses too; ppo.ptx=0 leaves the term out"
        )
    if ppo.reward == "auto":
        ppo.reward = "gold" if world else "trained"
    if ppo.reward == "gold" and not world:
        raise UserError(
            f"ppo.reward=gold: data={config.data.name} has no gold rewards; allowed are trained, hub"
        )
    if ppo.reward != "hub":
        ppo.hub_rewards, ppo.hub_paths = {}, {}
    unknown = [name for name in ppo.hub_rewards if name not in objectives]
    if unknown or (ppo.reward == "hub" and not ppo.hub_rewards):
        raise UserError(
            f"ppo.hub_rewards={ppo.hub_rewards}: ppo.reward=hub needs a model for one or more of "
            f"{', '.join(objectives)}"
        )
    for model in ppo.hub_rewards.values():
        hub_model(model)
    nameless = sorted(set(ppo.hub_paths) - set(ppo.hub_rewards))
    if nameless:
        raise UserError(
            f"ppo.hub_paths.{nameless[0]}: which model that is must be said by ppo.hub_rewards.{nameless[0]}"
        )
    if ppo.reward != "gold":
        config.evaluation.trained_rewards = bool(set(objectives) - set(ppo.hub_rewards))


def _exact(config: StudyConfig, data: DataConfig, objectives: tuple[str, ...]) -> Task | None:
    if not isinstance(data, WorldConfig):
        return None
    spec = {
        "data": asdict(data),
        "objectives": list(objectives),
        "grid": preference_grid(len(objectives), config.evaluation.grid_step).tolist(),
        "beta": beta_of(config),
    }
    return Task("exact front", "lightning_moa.study.runs:exact", spec, cost=3, code=config.code_in_key)


@dataclass
class _Seed:
    config: StudyConfig
    objectives: tuple[str, ...]
    files: str
    hub_files: dict[str, str]
    model_files: str
    prompts: DataConfig | None
    prompt_files: str
    seed: int

    def plan(self, methods: Mapping[str, Product]) -> SeedPlan:
        base = self._task("reference policy", "base", {"sft": asdict(self.config.sft)}, {}, cost=20)
        logps = self._task(
            "reference log-probs",
            "reference",
            {"batch_size": self.config.evaluation.batch_size},
            {"base": base},
            cost=4,
        )
        rewards = self._task(
            "reward model",
            "reward_model",
            {"reward_model": asdict(self.config.reward_model)},
            {"base": base},
            cost=8,
        )
        needs = {"dpo": {"base": base, "reference": logps}, "ppo": {"base": base}}
        learned = isinstance(self.config, PPOStudyConfig) and self.config.ppo.reward != "gold"
        if learned and self.config.evaluation.trained_rewards:
            needs["ppo"]["rewards"] = rewards
        plan = SeedPlan()
        for name, product in methods.items():
            plan.policies[name] = self._policies(name, product, needs[product.objective])
            inputs = {f"policy{i:05d}": task for i, task in enumerate(plan.policies[name])}
            plan.evaluations[name] = self._evaluation(
                name,
                product.deployed_as,
                self._trained_at(product),
                {**self._measures(needs[product.objective], rewards), **inputs},
            )
        plan.evaluations[REFERENCE] = self._evaluation(
            REFERENCE, "reference", [], self._measures({"base": base}, rewards)
        )
        return plan

    def _measures(self, needs: Mapping[str, Task], rewards: Task) -> dict[str, Task]:
        return {**needs, "rewards": rewards} if self.config.evaluation.trained_rewards else dict(needs)

    def _policies(self, name: str, product: Product, needs: Mapping[str, Task]) -> list[Task]:
        own = self.config.methods.get(name, MethodConfig())
        if own.watch and product.probe is not None and self.config.probe_passes == "fresh":
            raise UserError(f"methods.{name}.watch={own.watch}: with probe_passes=fresh it must be 0")
        settings = asdict(getattr(self.config, product.objective))
        if product.weigh is not None:
            settings["weigh"] = product.weigh
        settings |= {key: value for key in ("steps", "lr") if (value := getattr(own, key)) is not None}
        adapter = asdict(self.config.adapter)
        for scale in (product.fixed_scale, own.fixed_scale):
            adapter["fixed_scale"] = adapter["fixed_scale"] if scale is None else scale
        files = _digest(settings.get("ptx_path"), "ppo.ptx_path")
        answers = {key: getattr(product, key) for key in ("module", "policy", "objective", "aggregation")}
        return [
            self._task(
                name if at is None else f"{name} at {' '.join(f'{value:g}' for value in at)}",
                "align",
                {
                    **answers,
                    "aggregation_options": dict(product.options),
                    "probe": self.config.probe if product.probe == "study" else product.probe,
                    "fresh_passes": product.probe is not None and self.config.probe_passes == "fresh",
                    "method_options": self._method_options(product),
                    "watch": own.watch,
                    "at": at,
                    "settings": settings,
                    "adapter": adapter,
                    "snapshots": own.snapshots,
                    "given": files,
                    "own_code": _own_code(product.module, product.aggregation),
                    "hub_files": self.hub_files if product.objective == "ppo" else {},
                },
                needs,
                cost=COST_OF_STEP[product.objective] * (settings["steps"] or 1000),
            )
            for at in self._trained_at(product)
        ]

    def _trained_at(self, product: Product) -> list[list[float] | None]:
        return product.training_preferences(len(self.objectives), self.config.evaluation.grid_step)

    def _method_options(self, product: Product) -> dict[str, Any]:
        """The LightningModule's own arguments, by the name of the section that holds them."""
        if product.section is None:
            return {}
        return {product.section: asdict(getattr(self.config, product.section))}

    def _evaluation(
        self, name: str, deployed_as: str, trained_at: list[list[float] | None], needs: Mapping[str, Task]
    ) -> Task:
        grid = preference_grid(len(self.objectives), self.config.evaluation.grid_step)
        spec: dict[str, Any] = {
            "deployed_as": deployed_as,
            "trained_at": trained_at,
            "grid": grid.tolist(),
            "prompts": None if self.prompts is None else asdict(self.prompts),
            "prompt_files": self.prompt_files,
            "evaluation": asdict(self.config.evaluation),
            "hub": {"models": {}, "paths": {}},
            "hub_files": self.hub_files,
        }
        if isinstance(self.config, PPOStudyConfig):
            ppo = self.config.ppo
            spec["hub"] = {"models": dict(ppo.hub_rewards), "paths": dict(ppo.hub_paths)}
        return self._task(f"measure {name}", "evaluate", spec, needs, cost=4)

    def _task(
        self, name: str, function: str, spec: dict[str, Any], needs: Mapping[str, Task], cost: float
    ) -> Task:
        common = {
            "data": asdict(self.config.data),
            "files": self.files,
            "objectives": list(self.objectives),
            "model": asdict(self.config.model),
            "model_files": self.model_files,
            "tokenizer": asdict(self.config.tokenizer),
            "hardware": asdict(self.config.hardware),
            "seed": self.seed,
        }
        return Task(
            f"{name}, seed {self.seed}",
            f"lightning_moa.study.runs:{function}",
            {**common, **spec},
            needs,
            cost,
            self.config.code_in_key,
        )


def _digest(path: str | None, key: str = "data.path") -> str:
    """Hash of local files, so that other content under the same name is other runs; `key` names them in errors."""
    if path is None:
        return ""
    root = Path(path).expanduser()
    files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
    digest = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise UserError(f"{key}={path}: {file.name} cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _own_code(*classes: str) -> dict[str, str]:
    """Hash of the source of each 'module:Class' that is not this package's, whose own hash is in every key."""
    found = {}
    for module in {name.partition(":")[0] for name in classes}:
        if module.partition(".")[0] == "lightning_moa":
            continue
        try:
            spec = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            spec = None
        if spec is None or spec.origin is None:
            raise UserError(f"{module}: no such module; a method's classes are named 'module:Class'")
        found[module] = _digest(spec.origin, module)
    return found
