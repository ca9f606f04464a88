"""From an `align` task's spec to its policy and its LightningModule: the three answers, put together."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from lightning_moa.aggregation.volume import even_preferences
from lightning_moa.batches import SequenceBatch
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.demonstrations import demonstrations
from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.scored import ScoredRows
from lightning_moa.errors import UserError
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.head_watch import HeadWatch
from lightning_moa.methods.watching import GradientWatch
from lightning_moa.objectives import DPO, PPO, Likelihood, Objective, PPOSettings, RewardWeightedLikelihood
from lightning_moa.objectives.ppo import GivenResponses
from lightning_moa.objectives.rollout import Sampling
from lightning_moa.policies import AdapterPolicy, Heads, LoRA, Policy, SVDLoRA
from lightning_moa.policies.critic import Critic
from lightning_moa.processes import rank, world_size
from lightning_moa.runs.loading import moved, reward_source
from lightning_moa.runs.rows import goals_of, read_about
from lightning_moa.runs.training import optimiser_factory
from lightning_moa.strategies.choices import processes_of
from lightning_moa.study.tasks import HEADS

Spec = dict[str, Any]


@dataclass(frozen=True)
class Ingredients:
    """What an objective may be built from."""

    spec: Spec
    inputs: dict[str, Path]
    data: PreferenceData
    tokenizer: Any
    policy: AdapterPolicy
    steps: int

    @property
    def settings(self) -> dict[str, Any]:
        """The objective's own settings."""
        settings: dict[str, Any] = self.spec["settings"]
        return settings


VIEWS = {"dpo": "pairs", "ppo": "prompts", "likelihood": "sequences", "in_context": "sequences"}
"""What each objective is trained on."""
SCORED = ("likelihood", "in_context")
"""Objectives that learn from scored responses, and not from the data set's own rows."""


def build_policy(spec: Spec, base: Policy, m: int) -> AdapterPolicy:
    """How the preference enters the network."""
    adapter = spec["adapter"]
    shared = {key: adapter[key] for key in ("scaling", "targets", "dropout")} | {"seed": spec["seed"]}
    if spec["policy"] == "heads":
        given = spec["heads"]
        policy: AdapterPolicy = Heads(
            base.model,
            heads=given["number"],
            rank=adapter["rank"],
            head_rank=given["rank"],
            jitter=given["jitter"],
            **shared,
        )
    elif spec["policy"] == "steered":
        policy = SVDLoRA(base.model, k=adapter["rank"], m=m, fixed_scale=adapter["fixed_scale"], **shared)
    elif spec["policy"] == "lora":
        policy = LoRA(base.model, adapter["rank"], **shared)
    elif spec["policy"] == "fixed":
        policy = SVDLoRA(base.model, k=adapter["rank"] + 1, m=0, **shared)
    else:
        raise UserError(f"policy={spec['policy']}: allowed are steered, fixed, lora, heads")
    if spec["model"]["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    return policy


def build_method(made: Ingredients) -> Alignment:
    """The LightningModule that the spec names, with its three answers."""
    spec, settings = made.spec, made.settings
    drawn = ("preferences_per_batch", "concentration") if spec["at"] is None else ()
    sampled = {key: settings[key] for key in drawn if key in settings}
    method: Alignment = _load(spec["module"])(
        made.policy,
        OBJECTIVES[spec["objective"]](made),
        _load(spec["aggregation"])(**spec["aggregation_options"]),
        optimiser_factory(
            settings, made.steps * settings.get("update_iters", 1), spec["hardware"]["optimiser"]
        ),
        m=len(made.data.objectives),
        seed=spec["seed"],
        at=spec["at"],
        accumulate=settings["accumulate"],
        grad_clip=settings["grad_clip"],
        orthogonality=spec["adapter"]["orthogonality"],
        probe=spec["probe"],
        fresh_passes=spec["fresh_passes"],
        watch=GradientWatch(made.policy, made.data.objectives, spec["watch"]) if spec["watch"] else None,
        **sampled,
        **spec["method_options"],
    )
    return method


def extra_inputs(made: Ingredients) -> dict[str, Any]:
    """What the loader must know besides the rows: DPO's cached reference log-probs."""
    if made.spec["objective"] == "dpo":
        return {"ref_logps": np.load(made.inputs["reference"] / "train.npy", allow_pickle=False)}
    return {}


def scored_rows(spec: Spec, inputs: dict[str, Path], data: PreferenceData, tokenizer: Any) -> ScoredRows:
    """What is trained on where responses are scored; with their rewards in the prompts where the objective asks so."""
    rules, rewrite = EncodingRules.of(data.config), None
    if spec["objective"] == "in_context":
        goals = goals_of(spec, data.objectives, inputs["rows"])
        goals.check(tokenizer)
        rewrite = goals.insert
    return ScoredRows.read(inputs["rows"], data.objectives, rules, rewrite)


def head_watch(made: Ingredients, method: Alignment, rows: ScoredRows | None, out: Path) -> list[Callback]:
    """The look at the heads that the study asks for, where there are several."""
    policy, objective = made.policy, method.objective
    if rows is None or not isinstance(policy, Heads) or not isinstance(objective, RewardWeightedLikelihood):
        return []
    heads = made.spec["heads"]
    if policy.heads == 1 or not heads["watch"]:
        return []
    accumulate = made.settings["accumulate"]
    size = made.settings["batch_size"] // accumulate
    batches = list(rows.batches(made.tokenizer, size, heads["watch_rows"]))
    names: list[str] = list(made.data.objectives)
    if objective.directions is not None:
        names = [" ".join(f"{value:g}" for value in row) for row in objective.directions.tolist()]
    return [HeadWatch(policy, objective, names, batches, heads["watch"], out / HEADS, accumulate)]


def build_dpo(made: Ingredients) -> Objective:
    """DPO on the pairs."""
    return DPO(made.settings["beta"], made.settings["likelihood"])


def build_ppo(made: Ingredients) -> Objective:
    """PPO on sampled responses, its rewards and its critic."""
    settings, m = made.settings, len(made.data.objectives)
    scalarised = settings["weigh"].endswith("_reward")
    critic = Critic(made.policy.model.config.hidden_size, 1 if scalarised else m, made.policy.m)
    critic_settings = settings | {
        name.removeprefix("critic_"): settings[name] for name in settings if name.startswith("critic_")
    }
    own = optimiser_factory(critic_settings, made.steps * settings["update_iters"])
    fields = PPOSettings.__dataclass_fields__
    return PPO(
        reward_source(
            made.spec,
            made.inputs,
            made.data,
            max(1, settings["batch_size"] // settings["accumulate"] // processes_of(made.spec["hardware"])),
        ),
        critic,
        own,
        made.tokenizer,
        Sampling(settings["max_new_tokens"], settings["temperature"], settings["top_p"]),
        PPOSettings(**{name: settings[name] for name in fields}),
        scale=[settings["reward_scale"].get(name, 1.0) for name in made.data.objectives],
        objective_scale=[settings["objective_scale"].get(name, 1.0) for name in made.data.objectives],
        ideal_point=settings["ideal_point"],
        seed=made.spec["seed"],
        given=given_responses(made) if settings["ptx"] else None,
    )


def given_responses(made: Ingredients) -> GivenResponses:
    """The responses of PTX: as many rows as a batch has prompts."""
    accumulate = made.settings["accumulate"]
    loader = demonstrations(
        made.data,
        made.tokenizer,
        made.settings["ptx_path"],
        batch_size=made.settings["batch_size"] // accumulate,
        steps=made.steps * accumulate,
        seed=made.spec["seed"],
    )

    def given(step: int, device: torch.device) -> SequenceBatch:
        loader.shared(rank(), world_size())
        batch: SequenceBatch = moved(loader.batch(step), device)
        return batch

    return given


def build_likelihood(made: Ingredients) -> Objective:
    """Likelihood weighted by rewards, per objective or scalarised first."""
    settings = made.settings
    z = float(read_about(made.inputs["rows"])["z"])
    if settings["weigh"] == "per_objective":
        return RewardWeightedLikelihood(z, settings["power"])
    return RewardWeightedLikelihood(z, settings["power"], directions_of(made.spec, len(made.data.objectives)))


def directions_of(spec: Spec, m: int) -> list[list[float]]:
    """Scalarise-first's directions: a policy's own preference, or those that its heads spread over."""
    if spec["at"] is not None:
        return [list(spec["at"])]
    count = spec["heads"]["directions"] or 2 * m - 1
    rows: list[list[float]] = even_preferences(count, m).tolist()
    return rows


def build_in_context(made: Ingredients) -> Objective:
    """Likelihood, the rewards being in the prompt."""
    return Likelihood()


OBJECTIVES = {
    "dpo": build_dpo,
    "ppo": build_ppo,
    "likelihood": build_likelihood,
    "in_context": build_in_context,
}


def _load(path: str) -> Any:
    """The class that 'module:Class' names."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{path}: no such class ({error}); 'module:Class' is expected") from error
