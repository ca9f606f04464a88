"""From an `align` task's spec to its policy and its LightningModule: the three answers, put together."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightning_moa.batches import SequenceBatch
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.demonstrations import demonstrations
from lightning_moa.errors import UserError
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.watching import GradientWatch
from lightning_moa.objectives import DPO, PPO, Objective, PPOSettings
from lightning_moa.objectives.ppo import GivenResponses
from lightning_moa.objectives.rollout import Sampling
from lightning_moa.policies import AdapterPolicy, LoRA, Policy, SVDLoRA
from lightning_moa.policies.critic import Critic
from lightning_moa.rewards import Rewards, RuleRewards
from lightning_moa.study.loading import HubChoice, device_of, learned_rewards, moved
from lightning_moa.study.training import optimiser_factory

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


VIEWS = {"dpo": "pairs", "ppo": "prompts"}
"""What each objective is trained on."""


def build_policy(spec: Spec, base: Policy, m: int) -> AdapterPolicy:
    """How the preference enters the network."""
    adapter = spec["adapter"]
    shared = {key: adapter[key] for key in ("scaling", "targets", "dropout")} | {"seed": spec["seed"]}
    if spec["policy"] == "steered":
        policy: AdapterPolicy = SVDLoRA(
            base.model, k=adapter["rank"], m=m, fixed_scale=adapter["fixed_scale"], **shared
        )
    elif spec["policy"] == "lora":
        policy = LoRA(base.model, adapter["rank"], **shared)
    elif spec["policy"] == "fixed":
        policy = SVDLoRA(base.model, k=adapter["rank"] + 1, m=0, **shared)
    else:
        raise UserError(f"policy={spec['policy']}: allowed are steered, fixed, lora")
    if spec["model"]["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    return policy


def build_method(made: Ingredients) -> Alignment:
    """The LightningModule that the spec names, with its three answers."""
    spec, settings = made.spec, made.settings
    sampled = {key: settings[key] for key in ("preferences_per_batch", "concentration")}
    method: Alignment = _load(spec["module"])(
        made.policy,
        OBJECTIVES[spec["objective"]](made),
        _load(spec["aggregation"])(**spec["aggregation_options"]),
        optimiser_factory(settings, made.steps * settings.get("update_iters", 1)),
        m=len(made.data.objectives),
        seed=spec["seed"],
        at=spec["at"],
        accumulate=settings["accumulate"],
        grad_clip=settings["grad_clip"],
        orthogonality=spec["adapter"]["orthogonality"],
        probe=spec["probe"],
        fresh_passes=spec["fresh_passes"],
        watch=GradientWatch(made.policy, made.data.objectives, spec["watch"]) if spec["watch"] else None,
        **(sampled if spec["at"] is None else {}),
        **spec["method_options"],
    )
    return method


def extra_inputs(made: Ingredients) -> dict[str, Any]:
    """What the loader must know besides the rows: DPO's cached reference log-probs."""
    if made.spec["objective"] == "dpo":
        return {"ref_logps": np.load(made.inputs["reference"] / "train.npy", allow_pickle=False)}
    return {}


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
        build_rewards(made),
        critic,
        own,
        made.tokenizer,
        Sampling(settings["max_new_tokens"], settings["temperature"], settings["top_p"]),
        PPOSettings(**{name: settings[name] for name in fields}),
        scale=[settings["reward_scale"].get(name, 1.0) for name in made.data.objectives],
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
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            loader.shared(torch.distributed.get_rank(), torch.distributed.get_world_size())
        batch: SequenceBatch = moved(loader.batch(step), device)
        return batch

    return given


def build_rewards(made: Ingredients) -> Rewards:
    """What PPO maximises."""
    kind, settings = made.settings["reward"], made.settings
    if kind in ("trained", "hub"):
        folder = made.inputs.get("rewards")
        return learned_rewards(
            None if folder is None else folder / "model",
            HubChoice(settings["hub_rewards"], settings["hub_paths"], made.spec["model"]["dtype"]),
            made.data.objectives,
            max(1, settings["batch_size"] // settings["accumulate"] // made.spec["hardware"]["devices"]),
            device_of(made.spec["hardware"]),
        )
    gold = made.data.gold_rewards() if kind == "gold" else None
    if gold is None:
        raise UserError(
            f"ppo.reward={kind} with data={made.spec['data']['name']}: allowed are trained, hub, and gold where "
            "the data has gold rewards"
        )
    return RuleRewards(gold)


OBJECTIVES = {"dpo": build_dpo, "ppo": build_ppo}


def _load(path: str) -> Any:
    """The class that 'module:Class' names."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{path}: no such class ({error}); 'module:Class' is expected") from error
