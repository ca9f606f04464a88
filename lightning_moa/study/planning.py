"""From a configuration to the tasks of a study."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from lightning_moa.answers import load
from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import CHAT, DataConfig, WorldConfig
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.registry import data_entry
from lightning_moa.digests import digest
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product
from lightning_moa.objectives.names import OBJECTIVES
from lightning_moa.objectives.settings import ScoredConfig
from lightning_moa.pareto import preference_grid
from lightning_moa.policies.base_folder import check_folder, check_shape, check_there, has_chat_template
from lightning_moa.policies.names import POLICIES
from lightning_moa.policies.packaged import content_of, is_packaged
from lightning_moa.policies.settings import ALL_TARGETS
from lightning_moa.rewards.sources import Source, parse_sources
from lightning_moa.study.chosen import Chosen, chosen_methods
from lightning_moa.study.fitting import check_fit
from lightning_moa.study.seeds import REFERENCE, RUNS, SeedPlan, SeedPlanner, Shared, Sources, view_learnt
from lightning_moa.study.tasks import Task

__all__ = ["REFERENCE", "Plan", "from_one_start", "objectives_of", "plan_study"]

Config = TypeVar("Config", bound=StudyConfig)
PACKAGES_OF_LOGGERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
WORDS = {"pairs": "pairs", "sequences": "rows' scores"}
"""View -> what a reward model learns from, as records say it."""
SIZES = ("family", "hidden_size", "layers", "heads", "intermediate_size")
"""Of a model that is made here."""
DEFAULT_BETA = 0.5
"""Weight of the KL in the exact front that is shown where nothing is trained under one."""


@dataclass
class Plan:
    """All tasks of a study."""

    objectives: tuple[str, ...]
    seeds: dict[int, SeedPlan]
    exact: Task | None
    """The exact front, where the data's best policies are known."""
    rewards: dict[str, str]
    """objective -> what its column `reward_*` comes from, in words; empty where there is none."""

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
    chosen = chosen_methods(config, methods)
    objectives = objectives_of(config)
    scored = [one for one in chosen.values() if isinstance(one.settings, ScoredConfig)]
    sources = {one.name: _sources(config, _section(one), one.settings, objectives) for one in scored}
    measured = _measured(config, [(_section(one), sources[one.name]) for one in scored], objectives)
    _check_views(config, chosen, measured)
    _check_trainer(config)
    path = config.model.path
    if path is None:
        _check_built(config)
    local = path is not None and not is_packaged(path) and Path(path).expanduser().is_dir()
    if path is not None and not is_packaged(path):
        check_there(path, f"model.path={path}")
    if path is not None and local:
        check_folder(Path(path).expanduser(), f"model.path={path}")
    _check_template(config)
    if path is None or local:
        _check_targets(config)
    shared = Shared(
        config,
        objectives,
        # A pretrained model's tokenizer stays as it is.
        _tokens(config.vocabulary, chosen, objectives) if path is None else [],
        data_entry(config.data.name).path,
        prompts,
        None if prompts is None else data_entry(prompts.name).path,
        files=digest(config.data.path),
        model_files=digest(path, "model.path") if local else content_of(path),
        prompt_files="" if prompts is None else digest(prompts.path, "evaluation.prompt_sets"),
        measured=measured,
    )
    _check_rows(json.dumps(asdict(config.data), sort_keys=True), objectives, shared.files)
    seeds = {}
    for one in chosen.values():
        check_fit(one)
    for seed in config.seeds:
        planner = SeedPlanner(shared, seed)
        for one in chosen.values():
            one.objective.check(planner.of(one, sources))
        seeds[seed] = planner.plan(chosen, sources)
    words = {name: source.describe(WORDS[view_learnt(config.data)]) for name, source in measured.items()}
    return Plan(objectives, seeds, _exact(shared, prompts or config.data, chosen), words)


def _check_trainer(config: StudyConfig) -> None:
    """Raise a `UserError` for a logger whose package isn't there, or a callback that is no class."""
    packages = PACKAGES_OF_LOGGERS.get(config.trainer.logger, ())
    if packages and not any(find_spec(name) for name in packages):
        raise UserError(
            f"trainer.logger={config.trainer.logger}: needs {packages[0]}, which is not installed (pip install "
            f"{packages[0]})"
        )
    for name in config.trainer.callbacks:
        if not inspect.isclass(load(name, "trainer.callbacks")):
            raise UserError(f"trainer.callbacks={name}: a class is expected, of a Lightning Callback")


def _check_built(config: StudyConfig) -> None:
    """Raise a `UserError` for a model that can't be built, or that has no room for what is sampled of it."""
    check_shape(config.model.family, config.model.hidden_size, config.model.heads)
    if config.evaluation.max_new_tokens >= config.data.max_length:
        raise UserError(
            f"evaluation.max_new_tokens={config.evaluation.max_new_tokens}: must be below data.max_length, which is "
            f"{config.data.max_length}: a model that is made here has so many positions, for prompt and response"
        )


def _check_targets(config: StudyConfig) -> None:
    """Raise a `UserError` for adapters of layers that a model which is at hand does not have."""
    adapter = getattr(config, "adapter", None)
    if adapter is None or adapter.targets in ALL_TARGETS:
        return
    from lightning_moa.policies.layers import resolve_targets
    from lightning_moa.policies.model import skeleton

    sizes = {key: getattr(config.model, key) for key in SIZES} if config.model.path is None else {}
    resolve_targets(skeleton(config.model.path, **sizes), adapter.targets)


def _check_template(config: StudyConfig) -> None:
    """Raise a `UserError` where the chat template is asked for and it is known already that there is none."""
    path = config.model.path
    if config.data.template != CHAT:
        return
    if path is None:
        raise UserError(
            f"data.template={CHAT}: a model that is made here has no chat template; give model.path"
        )
    folder = Path(path).expanduser()
    if folder.is_dir() and not is_packaged(path) and not has_chat_template(folder):
        raise UserError(f"data.template={CHAT}: the tokenizer in model.path={path} has no chat template")


def _check_views(config: StudyConfig, chosen: Mapping[str, Chosen], measured: Mapping[str, Source]) -> None:
    """Raise a `UserError` where the data set has not what something is trained on."""
    data = config.data
    has = f"data={data.name} has {' and '.join(data.views)} alone"
    for name, one in chosen.items():
        if one.objective.view not in data.views:
            raise UserError(f"methods: {name} is trained on {one.objective.view}, and {has}")
    if config.model.path is None and "sequences" not in data.views:
        raise UserError(f"model.path is empty: a small model would be trained on responses, and {has}")
    trained = [name for name, source in measured.items() if source.kind == "trained"]
    if trained and "pairs" not in data.views and not data.scored:
        raise UserError(
            f"objective {trained[0]!r}: its reward model would be trained on pairs or scores, and {has}; name another "
            "source in the method's rewards"
        )


@lru_cache(maxsize=16)
def _check_rows(options: str, objectives: tuple[str, ...], files: str) -> None:
    """Once for all the studies of a script; `files` is the content's hash."""
    given = json.loads(options)
    data_entry(given["name"]).config(**given).check_rows(objectives)


def objectives_of(config: StudyConfig) -> tuple[str, ...]:
    """The study's objectives in order: those asked for, or the data set's own."""
    if config.objectives is not None:
        if config.data.label_columns():
            choose_labels(config.data.label_columns(), config.objectives)
        return tuple(config.objectives)
    if isinstance(config.data, WorldConfig):
        return config.data.own_objectives
    names = tuple(config.data.label_columns())
    if len(names) < 2:
        raise UserError(
            f"data={config.data.name} has {len(names)} labelled objectives ({', '.join(names) or 'none'}): "
            f"two or more are needed, data.labels.<objective>=<column>"
            + (
                ""
                if "pairs" in config.data.views or config.data.scored
                else ", or objectives=[...] where rewards come from elsewhere"
            )
        )
    return names


def _section(one: Chosen) -> str:
    """The name of an objective's main section."""
    return next(iter(one.answers["objective"].sections))


def _sources(
    config: StudyConfig, name: str, section: ScoredConfig, objectives: tuple[str, ...]
) -> dict[str, Source]:
    """What scores each objective in a method's training: `section` is the study's of that name, with what the method
    says of it."""
    world = isinstance(config.data, WorldConfig)
    default = ("gold" if world else "trained") if section.reward == "auto" else section.reward
    if default == "gold" and not world:
        raise UserError(
            f"{name}.reward=gold: data={config.data.name} has no gold rewards; allowed is trained, or a source for "
            f"each objective in {name}.rewards"
        )
    written = getattr(config, name, None)
    if written is not None and section.reward == "auto":
        # What is recorded says what `auto` stood for.
        written.reward = default
    return parse_sources(f"{name}.rewards", section.rewards, default, objectives, world)


def _measured(
    config: StudyConfig, sources: Sequence[tuple[str, Sources]], objectives: tuple[str, ...]
) -> dict[str, Source]:
    """What gives the measurements' column `reward_*` of each objective: what policies learn from, or the model that is
    trained on the pairs; nothing at all where gold is all that there is."""
    found: dict[str, Source] = {}
    for section, given in sources:
        for objective, source in given.items():
            if source.kind == "gold":
                continue
            if found.setdefault(objective, source) != source:
                raise UserError(
                    f"{section}.rewards.{objective}: another method of this study scores {objective} by something "
                    "else; policies are measured by one"
                )
    trained = parse_sources("evaluation", {}, "trained", objectives, False)
    if config.evaluation.trained_rewards:
        found = {**trained, **found}
    elif found:
        world = isinstance(config.data, WorldConfig)
        rest = parse_sources("evaluation", {}, "gold", objectives, True) if world else trained
        found = {**rest, **found}
    elif sources:
        found = {} if isinstance(config.data, WorldConfig) else trained
    elif not isinstance(config.data, WorldConfig):
        raise UserError(
            f"evaluation.trained_rewards=false: data={config.data.name} has no gold rewards, so nothing would score "
            "responses; allowed is true"
        )
    return {name: found[name] for name in objectives if name in found}


def from_one_start(config: Config) -> Config:
    """The configuration with the words that any policy and any objective of ours needs as its `vocabulary`: studies of
    some of a comparison's methods begin where the study of all does, and share its runs."""
    own, objectives = deepcopy(config), objectives_of(config)
    found = dict.fromkeys(own.vocabulary)
    for table in (OBJECTIVES, POLICIES):
        for answer in table.values():
            words = load(answer.path, "vocabulary").vocabulary(partial(getattr, config), objectives)
            found |= dict.fromkeys(words)
    own.vocabulary = list(found)
    return own


def _tokens(asked: list[str], chosen: Mapping[str, Chosen], objectives: tuple[str, ...]) -> list[str]:
    found = dict.fromkeys(asked)
    for one in chosen.values():
        for answer in (one.objective, one.policy):
            found |= dict.fromkeys(answer.vocabulary(one.values.__getitem__, objectives))
    return list(found)


def _exact(shared: Shared, data: DataConfig, chosen: Mapping[str, Chosen]) -> Task | None:
    config = shared.config
    if not isinstance(data, WorldConfig):
        return None
    spec = {
        "data": asdict(data),
        "data_class": data_entry(data.name).path,
        "objectives": list(shared.objectives),
        "grid": preference_grid(len(shared.objectives), config.evaluation.grid_step).tolist(),
        "beta": _beta(config, chosen),
    }
    code = (data_entry(data.name).path,)
    return Task("exact front", f"{RUNS}.exact:exact", spec, {}, 3, code, config.code_in_key)


def _beta(config: StudyConfig, chosen: Mapping[str, Chosen]) -> float:
    """The weight of the KL from the reference that the study's best policies are those of."""
    if config.exact_beta is not None:
        return config.exact_beta
    found = {
        name: weight
        for name, one in chosen.items()
        if (weight := one.objective.kl_weight(one.settings)) is not None
    }
    if len(set(found.values())) > 1:
        shown = ", ".join(f"{name} {weight:g}" for name, weight in found.items())
        raise UserError(
            f"exact_beta: the methods are trained under different weights of the KL ({shown}); say which one's best "
            "policies they are held against"
        )
    return next(iter(found.values()), DEFAULT_BETA)
