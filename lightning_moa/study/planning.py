"""From a configuration to the tasks of a study. Light: nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_moa.config import LikelihoodStudyConfig, PPOConfig, ScoredConfig, StudyConfig
from lightning_moa.data.configs import DataConfig, SyntheticSummariesConfig, WorldConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product
from lightning_moa.pareto import preference_grid
from lightning_moa.rewards import hub_model
from lightning_moa.study.scored_seeds import ScoredSeedPlanner
from lightning_moa.study.seeds import REFERENCE, SeedPlan, SeedPlanner, digest, scored_section
from lightning_moa.study.tasks import Task

__all__ = ["REFERENCE", "Plan", "beta_of", "objectives_of", "plan_study"]

SYNTHETIC_OBJECTIVES = ("helpful", "harmless")
SUMMARY_OBJECTIVES = ("faithful", "hallucination")


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
    section = scored_section(config)
    if section is not None:
        _settle_rewards(config, *section, objectives)
    files = digest(config.data.path)
    hub_files = {
        objective: digest(path, f"{name}.hub_paths.{objective}")
        for name, settings in ([] if section is None else [section])
        for objective, path in settings.hub_paths.items()
    }
    path = config.model.path
    model_files = digest(path, "model.path") if path is not None and Path(path).expanduser().is_dir() else ""
    prompt_files = "" if prompts is None else digest(prompts.path, "evaluation.prompt_sets")
    planner = ScoredSeedPlanner if isinstance(config, LikelihoodStudyConfig) else SeedPlanner
    seeds = {
        seed: planner(config, objectives, files, hub_files, model_files, prompts, prompt_files, seed).plan(
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
    """The weight of the KL from the reference that the study's policies are trained under; where they are trained
    under none, the one that its pictures show."""
    if isinstance(config, LikelihoodStudyConfig):
        return config.exact_beta
    dpo: Any = getattr(config, "dpo", None)
    return float(getattr(config, "ppo").kl_coeff if dpo is None else dpo.beta)  # noqa: B009


def _settle_rewards(
    config: StudyConfig, name: str, section: ScoredConfig, objectives: tuple[str, ...]
) -> None:
    """Replace reward=auto by what it stands for, and have responses scored by what policies learn from."""
    world = isinstance(config.data, WorldConfig)
    if isinstance(section, PPOConfig) and section.ptx and section.ptx_path is None and not world:
        raise UserError(
            f"ppo.ptx={section.ptx:g}: ppo.ptx_path=<jsonl of prompt and response> is needed (Safe-RLHF takes "
            f"Alpaca's), since pairs hold worse responses too; ppo.ptx=0 leaves the term out"
        )
    if section.reward == "auto":
        section.reward = "gold" if world else "trained"
    if section.reward == "gold" and not world:
        raise UserError(
            f"{name}.reward=gold: data={config.data.name} has no gold rewards; allowed are trained, hub"
        )
    if section.reward != "hub":
        section.hub_rewards, section.hub_paths = {}, {}
    unknown = [objective for objective in section.hub_rewards if objective not in objectives]
    if unknown or (section.reward == "hub" and not section.hub_rewards):
        raise UserError(
            f"{name}.hub_rewards={section.hub_rewards}: {name}.reward=hub needs a model for one or more of "
            f"{', '.join(objectives)}"
        )
    for model in section.hub_rewards.values():
        hub_model(model)
    nameless = sorted(set(section.hub_paths) - set(section.hub_rewards))
    if nameless:
        raise UserError(
            f"{name}.hub_paths.{nameless[0]}: which model that is must be said by "
            f"{name}.hub_rewards.{nameless[0]}"
        )
    if section.reward != "gold":
        config.evaluation.trained_rewards = bool(set(objectives) - set(section.hub_rewards))


def _exact(config: StudyConfig, data: DataConfig, objectives: tuple[str, ...]) -> Task | None:
    if not isinstance(data, WorldConfig):
        return None
    spec = {
        "data": asdict(data),
        "objectives": list(objectives),
        "grid": preference_grid(len(objectives), config.evaluation.grid_step).tolist(),
        "beta": beta_of(config),
    }
    return Task("exact front", "lightning_moa.runs.exact:exact", spec, cost=3, code=config.code_in_key)
