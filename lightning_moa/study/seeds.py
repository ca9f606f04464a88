"""The tasks of one seed of a study. Light: nothing here needs torch."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightning_moa.config import MethodConfig, ScoredConfig, StudyConfig
from lightning_moa.data.configs import DataConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product
from lightning_moa.pareto import preference_grid
from lightning_moa.strategies.choices import PARTITIONED, strategy_of
from lightning_moa.study.tasks import Task

_FILES = {"offline_rows": "rows", "online_rows": "rows"}

REFERENCE = "sft"
"""The reference policy's name among the methods of a study."""

COST_OF_STEP = {"dpo": 0.05, "ppo": 0.2, "likelihood": 0.05, "in_context": 0.03}
"""Seconds of an update at the tiny scale; what a run measures corrects it."""


@dataclass
class SeedPlan:
    """The tasks of one seed: policies and one evaluation for each method."""

    policies: dict[str, list[Task]] = field(default_factory=dict)
    evaluations: dict[str, Task] = field(default_factory=dict)


def scored_section(config: StudyConfig) -> tuple[str, ScoredConfig] | None:
    """The name and the settings of the objective that learns from scored responses; None where there is none."""
    for name in ("ppo", "likelihood"):
        section = getattr(config, name, None)
        if section is not None:
            return name, section
    return None


@dataclass
class SeedPlanner:
    config: StudyConfig
    objectives: tuple[str, ...]
    files: str
    hub_files: dict[str, str]
    model_files: str
    prompts: DataConfig | None
    prompt_files: str
    seed: int

    def plan(self, methods: Mapping[str, Product]) -> SeedPlan:
        """Every method's policies and its measurement, and the reference policy's."""
        base, rewards = self.base(), self.rewards()
        logps = self.task(
            "reference log-probs",
            "reference",
            {"batch_size": self.config.evaluation.batch_size},
            {"base": base},
            cost=4,
        )
        needs = {"dpo": {"base": base, "reference": logps}, "ppo": self.scoring()}
        plan = SeedPlan()
        for name, product in methods.items():
            if product.objective not in needs:
                raise UserError(f"{name}: its objective, {product.objective}, is not this study's")
            plan.policies[name] = self._policies(name, product, needs[product.objective])
            plan.evaluations[name] = self.evaluation(
                name, product, plan.policies[name], self.measures(needs[product.objective], rewards)
            )
        plan.evaluations[REFERENCE] = self.evaluation(
            REFERENCE, None, [], self.measures({"base": base}, rewards)
        )
        return plan

    def base(self) -> Task:
        """The reference policy."""
        return self.task("reference policy", "base", {"sft": asdict(self.config.sft)}, {}, cost=20)

    def rewards(self) -> Task:
        """The reward model that is trained on the pairs."""
        settings = {"reward_model": asdict(self.config.reward_model)}
        return self.task("reward model", "reward_model", settings, {"base": self.base()}, cost=8)

    def scoring(self) -> dict[str, Task]:
        """What a run needs that scores responses."""
        needs = {"base": self.base()}
        section = scored_section(self.config)
        if section is not None and section[1].reward != "gold" and self.config.evaluation.trained_rewards:
            needs["rewards"] = self.rewards()
        return needs

    def measures(self, needs: Mapping[str, Task], rewards: Task) -> dict[str, Task]:
        return {**needs, "rewards": rewards} if self.config.evaluation.trained_rewards else dict(needs)

    def _policies(self, name: str, product: Product, needs: Mapping[str, Task]) -> list[Task]:
        settings = asdict(getattr(self.config, product.objective))
        if product.weigh is not None:
            settings["weigh"] = product.weigh
        settings = self.with_own(name, settings)
        files = digest(settings.get("ptx_path"), "ppo.ptx_path")
        return [
            self.align(name, product, at, settings, needs, given=files) for at in self.trained_at(product)
        ]

    def with_own(self, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        """An objective's settings with what the method itself says of them."""
        own = self.config.methods.get(name, MethodConfig())
        return settings | {key: value for key in ("steps", "lr") if (value := getattr(own, key)) is not None}

    def align(
        self,
        name: str,
        product: Product,
        at: list[float] | None,
        settings: dict[str, Any],
        needs: Mapping[str, Task],
        **more: Any,
    ) -> Task:
        """The training of one policy; `more` goes into its spec."""
        own = self.config.methods.get(name, MethodConfig())
        fresh = self._fresh_passes(product)
        if own.watch and (fresh or self._goes_back_once()):
            raise UserError(
                f"methods.{name}.watch={own.watch}: with probe_passes=fresh, and with ZeRO-3, it must be 0"
            )
        adapter = asdict(self.config.adapter)
        for scale in (product.fixed_scale, own.fixed_scale):
            adapter["fixed_scale"] = adapter["fixed_scale"] if scale is None else scale
        answers = {key: getattr(product, key) for key in ("module", "policy", "objective", "aggregation")}
        scored = scored_section(self.config) is not None
        spec = {
            **answers,
            "aggregation_options": dict(product.options),
            "probe": self.config.probe if product.probe == "study" else product.probe,
            "fresh_passes": fresh,
            "method_options": self._method_options(product),
            "watch": own.watch,
            "at": at,
            "settings": settings,
            "adapter": adapter,
            "snapshots": own.snapshots,
            "own_code": own_code(product.module, product.aggregation),
            "hub_files": self.hub_files if scored else {},
            **more,
        }
        shown = name if at is None else f"{name} at {' '.join(f'{value:g}' for value in at)}"
        cost = COST_OF_STEP[product.objective] * (settings["steps"] or 1000)
        return self.task(shown, "align", spec, needs, cost=cost)

    def _fresh_passes(self, product: Product) -> bool:
        """Whether each probed gradient is taken of a forward pass of its own."""
        chosen = self.config.probe_passes
        if product.probe is None:
            return False
        if chosen == "shared" and self._goes_back_once():
            raise UserError(
                f"probe_passes=shared with hardware.strategy={self.config.hardware.strategy}: ZeRO-3 goes back "
                "through a forward pass but once; allowed is fresh"
            )
        return chosen == "fresh" or (chosen is None and self._goes_back_once())

    def _goes_back_once(self) -> bool:
        return strategy_of(asdict(self.config.hardware)) in PARTITIONED

    def trained_at(self, product: Product) -> list[list[float] | None]:
        return product.training_preferences(len(self.objectives), self.config.evaluation.grid_step)

    def _method_options(self, product: Product) -> dict[str, Any]:
        """The LightningModule's own arguments: the product's, and a section of the configuration under its name."""
        if product.section is None:
            return dict(product.method)
        return {**product.method, product.section: asdict(getattr(self.config, product.section))}

    def evaluation(
        self,
        name: str,
        product: Product | None,
        policies: Sequence[Task],
        needs: Mapping[str, Task],
        **more: Any,
    ) -> Task:
        """The measurement of a method's policies; without a product, of the reference policy. `more` goes into its
        spec."""
        grid = preference_grid(len(self.objectives), self.config.evaluation.grid_step)
        section = scored_section(self.config)
        chosen = section[1] if section is not None else ScoredConfig()
        spec: dict[str, Any] = {
            "deployed_as": "reference" if product is None else product.deployed_as,
            "trained_at": [] if product is None else self.trained_at(product),
            "asked": [] if product is None else [list(row) for row in product.preferences],
            "grid": grid.tolist(),
            "prompts": None if self.prompts is None else asdict(self.prompts),
            "prompt_files": self.prompt_files,
            "evaluation": asdict(self.config.evaluation),
            "hub": {"models": dict(chosen.hub_rewards), "paths": dict(chosen.hub_paths)},
            "hub_files": self.hub_files,
            **more,
        }
        inputs = {f"policy{i:05d}": task for i, task in enumerate(policies)}
        return self.task(f"measure {name}", "evaluate", spec, {**needs, **inputs}, cost=4)

    def task(
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
            f"lightning_moa.runs.{_FILES.get(function, function)}:{function}",
            {**common, **spec},
            needs,
            cost,
            self.config.code_in_key,
        )


def digest(path: str | None, key: str = "data.path") -> str:
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


def own_code(*classes: str) -> dict[str, str]:
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
        found[module] = digest(spec.origin, module)
    return found
