"""What every task loads first: the data, and the reference policy with its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from lightning_moa.data.base import PreferenceData
from lightning_moa.data.registry import build, data_entry
from lightning_moa.policies import Policy, build_model, load_model
from lightning_moa.policies.pairs import share_prompts
from lightning_moa.policies.vocabulary import agree
from lightning_moa.rewards import Rewards
from lightning_moa.rewards.sources import Source, build_sources
from lightning_moa.strategies.launching import local_rank
from lightning_moa.strategies.quantisation import base_dtype, quantization_config
from lightning_moa.task_files import read_mapping

Spec = dict[str, Any]

# A bar per loaded model would break the study's one display.
disable_progress_bar()


def load_data(spec: Spec) -> PreferenceData:
    """The data set of a spec, read once a process for each content of its files."""
    content = {name: spec.get(name) for name in ("data", "data_class", "objectives", "files")}
    # What scores responses may encode them in another way, and a process does many tasks.
    content["close_cut"] = spec.get("close_cut", False)
    return _load_data(json.dumps(content, sort_keys=True))


@lru_cache(maxsize=3)
def _load_data(text: str) -> PreferenceData:
    content = json.loads(text)
    config = data_entry(content["data"]["name"]).config(**content["data"])
    data = build(config, content["objectives"])
    data.close_cut = content["close_cut"]
    return data


def make_base(
    spec: Spec, data: PreferenceData, unpacked: Path | None = None
) -> tuple[Policy, PreTrainedTokenizerFast]:
    """A new reference policy: a pretrained model, or a small one with random weights and a fitted tokenizer.

    unpacked: folder of the weights of a packaged model."""
    from lightning_moa.data.tokenizer import train_bpe

    model = spec["model"]
    if unpacked is not None:
        return pretrained({**model, "path": unpacked}, spec["hardware"])
    if model["path"] is not None:
        return pretrained(model, spec["hardware"])
    own = getattr(data, "world_tokenizer", None)
    tokenizer = own() if own else train_bpe(data.fit_texts(), spec["tokenizer"]["vocab_size"])
    if own and spec["tokens"]:
        # A world's words are all that its tokenizer knows.
        tokenizer.add_tokens(spec["tokens"])
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
    path, revision, own = base_model(folder)
    if own:
        policy, tokenizer = _frozen(path, None, hardware), base_tokenizer(folder)
    else:
        policy, tokenizer = pretrained({"path": path, "revision": revision}, hardware)
    if read_mapping(folder / "base.json")["model"].get("share_prompts"):
        share_prompts(policy)
    return policy, tokenizer


def base_model(folder: Path) -> tuple[str | Path, str | None, bool]:
    """Where the model of a finished `base` task lies, its revision, and whether it was built there."""
    about = read_mapping(folder / "base.json")
    model = about["model"]
    if about.get("packaged"):
        return folder.parent / about["packaged"] / "model", None, False
    if model["path"] is not None:
        return model["path"], model["revision"], False
    return folder / "model", None, True


def base_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a finished `base` task's model, without the model."""
    from lightning_moa.data.tokenizer import load_tokenizer

    path, revision, _ = base_model(folder)
    return load_tokenizer(path, revision)


def reward_source(spec: Spec, inputs: Mapping[str, Path], data: PreferenceData, batch_size: int) -> Rewards:
    """What scores responses, as `spec["rewards"]` says: objective -> gold, trained here, a function, a model.

    Args:
        spec: a task's.
        inputs: of which `rewards` is the model that was trained on the pairs, where an objective needs it.
        data: whose gold rewards are meant.
        batch_size: texts scored at a time.
    """
    folder = inputs.get("rewards")
    return build_sources(
        {name: Source.from_json(each) for name, each in spec["rewards"].items()},
        data.objectives,
        gold=data.gold_rewards(),
        trained_folder=None if folder is None else folder / "model",
        batch_size=batch_size,
        device=device_of(spec["hardware"]),
        dtype=base_dtype(spec["hardware"]["precision"]),
    )


def device_of(hardware: dict[str, Any]) -> torch.device:
    """Where a task computes that is not trained by Lightning."""
    if hardware["accelerator"] == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", local_rank())


def pretrained(model: dict[str, Any], hardware: dict[str, Any]) -> tuple[Policy, PreTrainedTokenizerFast]:
    """A pretrained model of the hub or of a local folder, frozen, and its tokenizer."""
    from lightning_moa.data.chat import end_of_turn
    from lightning_moa.data.tokenizer import load_tokenizer

    path, revision = model["path"], model["revision"]
    policy, tokenizer = _frozen(path, revision, hardware), load_tokenizer(path, revision)
    closing = [end_of_turn(tokenizer)] if tokenizer.chat_template else []
    agree(policy.model, tokenizer, f"model.path={path}", closing)
    return policy, tokenizer


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
