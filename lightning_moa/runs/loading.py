"""What every task loads first: the data, and the reference policy with its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from lightning_moa.data import DATASETS, build
from lightning_moa.data.base import PreferenceData
from lightning_moa.errors import UserError
from lightning_moa.policies import Policy, RewardPrompt, build_model, load_model
from lightning_moa.rewards import Rewards, RewardSet, RuleRewards, TrainedRewards
from lightning_moa.strategies.launching import local_rank
from lightning_moa.strategies.quantisation import base_dtype, quantization_config

Spec = dict[str, Any]

# A bar per loaded model would break the study's one display.
disable_progress_bar()


def load_data(spec: Spec) -> PreferenceData:
    """The data set of a spec, read once a process."""
    return _load_data(json.dumps({"data": spec["data"], "objectives": spec["objectives"]}, sort_keys=True))


@lru_cache(maxsize=2)
def _load_data(text: str) -> PreferenceData:
    content = json.loads(text)
    config = DATASETS[content["data"]["name"]].config(**content["data"])
    return build(config, content["objectives"])


def make_base(spec: Spec, data: PreferenceData) -> tuple[Policy, PreTrainedTokenizerFast]:
    """A new reference policy: a pretrained model, or a small one with random weights and a fitted tokenizer."""
    from lightning_moa.data.tokenizer import train_bpe

    model, m = spec["model"], len(data.objectives)
    if model["path"] is not None:
        return pretrained(model, spec["hardware"])
    own = getattr(data, "world_tokenizer", None)
    tokenizer = own() if own else train_bpe(data.fit_texts(), spec["tokenizer"]["vocab_size"])
    if own and "ric" in spec:
        # A world's words are all that its tokenizer knows.
        tokenizer.add_tokens(reward_prompt(spec["ric"], data.objectives, np.zeros(m), np.ones(m)).tokens())
    network = build_model(
        model["family"],
        vocab_size=len(tokenizer),
        hidden_size=model["hidden_size"],
        layers=model["layers"],
        heads=model["heads"],
        intermediate_size=model["intermediate_size"],
        max_positions=spec["data"]["max_length"],
        pad_id=tokenizer.pad_token_id,
        bos_id=tokenizer.bos_token_id,
        eos_id=tokenizer.eos_token_id,
        seed=spec["seed"],
    )
    return Policy(network), tokenizer


def load_base(folder: Path, hardware: dict[str, Any]) -> tuple[Policy, PreTrainedTokenizerFast]:
    """The reference policy that a finished `base` task left."""
    from lightning_moa.data.tokenizer import load_tokenizer

    model = json.loads((folder / "base.json").read_text())["model"]
    if model["path"] is not None:
        return pretrained(model, hardware)
    return _frozen(folder / "model", None, hardware), load_tokenizer(folder / "model", None)


def reward_prompt(
    settings: Mapping[str, Any], objectives: Sequence[str], low: np.ndarray, high: np.ndarray
) -> RewardPrompt:
    """RiC's prompts, as a study's `ric` says; low and high (m,) are the rewards' range."""
    return RewardPrompt(
        objectives,
        low,
        high,
        decimals=settings["decimals"],
        marker=settings["marker"],
        before=settings["before"],
    )


@dataclass(frozen=True)
class HubChoice:
    """The hub models of some objectives.

    Args:
        models: objective to a hub model's name.
        paths: objective to a local folder with the same files, where the hub isn't to be asked.
        dtype: of their weights.
    """

    models: Mapping[str, str]
    paths: Mapping[str, str]
    dtype: str


def learned_rewards(
    folder: Path | None, hub: HubChoice, objectives: Sequence[str], batch_size: int, device: torch.device
) -> Rewards:
    """The models that score responses: of the hub where one is named for an objective, else those trained here.

    Args:
        folder: the model that was trained on the pairs, with an output for every objective; None where the hub has
            one for each.
        hub: the models of the hub.
        objectives: the study's, in order.
        batch_size: texts scored at a time.
        device: where the models are put.
    """
    from lightning_moa.rewards import HubRewards

    sources: list[Rewards] = [
        HubRewards(
            model,
            objective=name,
            path=hub.paths.get(name),
            batch_size=batch_size,
            device=str(device),
            dtype=hub.dtype,
        )
        for name, model in hub.models.items()
    ]
    if folder is not None:
        rest = [name for name in objectives if name not in hub.models]
        sources.append(RewardSet([TrainedRewards(folder, batch_size, str(device))], rest))
    return RewardSet(sources, objectives)


def reward_source(spec: Spec, inputs: Mapping[str, Path], data: PreferenceData, batch_size: int) -> Rewards:
    """What a run learns from: gold rewards, or models of the hub or trained here, as `spec["settings"]` says.

    Raises:
        UserError: gold rewards of data that have none.
    """
    settings = spec["settings"]
    if settings["reward"] in ("trained", "hub"):
        folder = inputs.get("rewards")
        return learned_rewards(
            None if folder is None else folder / "model",
            HubChoice(
                settings["hub_rewards"], settings["hub_paths"], base_dtype(spec["hardware"]["precision"])
            ),
            data.objectives,
            batch_size,
            device_of(spec["hardware"]),
        )
    gold = data.gold_rewards() if settings["reward"] == "gold" else None
    if gold is None:
        raise UserError(
            f"reward={settings['reward']} with data={spec['data']['name']}: allowed are trained, hub, and gold where "
            "the data has gold rewards"
        )
    return RuleRewards(gold)


def device_of(hardware: dict[str, Any]) -> torch.device:
    """Where a task computes that is not trained by Lightning."""
    if hardware["accelerator"] == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", local_rank())


def pretrained(model: dict[str, Any], hardware: dict[str, Any]) -> tuple[Policy, PreTrainedTokenizerFast]:
    """A pretrained model of the hub or of a local folder, frozen, and its tokenizer."""
    from lightning_moa.data.tokenizer import load_tokenizer

    path, revision = model["path"], model["revision"]
    return _frozen(path, revision, hardware), load_tokenizer(path, revision)


def _frozen(path: str | Path, revision: str | None, hardware: dict[str, Any]) -> Policy:
    """A base model in the run's precision, on the run's device."""
    precision = hardware["precision"]
    network = load_model(
        path,
        revision=revision,
        dtype=base_dtype(precision),
        device=device_of(hardware),
        quantization_config=quantization_config(precision),
    )
    return Policy(network).requires_grad_(False)
