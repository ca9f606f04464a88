"""The networks of a run, by its task's spec, on the meta device: shapes without weights, and nothing of the hub."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from lightning_moa.answers import load
from lightning_moa.forecast.architectures import CLASSIFIER, PUBLISHED, meta_model, published_config
from lightning_moa.forecast.meta_run import MetaRun, own_sections
from lightning_moa.forecast.metering import count_fused_attention
from lightning_moa.policies import Policy, build_model
from lightning_moa.rewards.score_head import ScoreHead
from lightning_moa.rewards.sources import MODEL, TRAINED, Source
from lightning_moa.rewards.table import SCORE_HEAD
from lightning_moa.rewards.trainable import trained_part
from lightning_moa.strategies.choices import trained_whole

Spec = dict[str, Any]


def network_of(spec: Spec, layers: int | None = None) -> PreTrainedModel:
    """The base model of a run, of so many layers instead of its own.

    Raises:
        UserError: a hub model whose architecture isn't known.
    """
    model = spec["model"]
    if model["path"] is not None:
        network = meta_model(
            _of_depth(published_config(model["path"]), layers), spec["hardware"]["precision"]
        )
    else:
        words = _vocabulary(spec)
        with torch.device("meta"):
            network = build_model(
                model["family"],
                vocab_size=words,
                hidden_size=model["hidden_size"],
                layers=model["layers"] if layers is None else layers,
                heads=model["heads"],
                intermediate_size=model["intermediate_size"],
                max_positions=spec["data"]["max_length"],
            )
    count_fused_attention(network)
    return network


def depth_of(spec: Spec) -> int:
    """Layers of a run's base model."""
    model = spec["model"]
    return model["layers"] if model["path"] is None else published_config(model["path"]).num_hidden_layers


def _of_depth(config: PreTrainedConfig, layers: int | None) -> PreTrainedConfig:
    own = copy.deepcopy(config)
    if layers is not None:
        for name in ("num_hidden_layers", "decoder_layers"):
            if hasattr(own, name):
                setattr(own, name, min(layers, getattr(own, name)))
    return own


def _vocabulary(spec: Spec) -> int:
    """Words of a model built from scratch: a world's own, or as many as its tokenizer is fitted for."""
    from lightning_moa.data.worlds import WorldData
    from lightning_moa.runs.loading import load_data

    data = load_data(spec)
    if not isinstance(data, WorldData):
        return int(spec["tokenizer"]["vocab_size"])
    tokenizer = data.world_tokenizer()
    if spec["tokens"]:
        tokenizer.add_tokens(spec["tokens"])
    return len(tokenizer)


def policy_of(spec: Mapping[str, Any], layers: int | None = None, *, shared: bool = True) -> Policy:
    """The policy that an `align` task trains, gradient checkpointing on where it asks for it. Those that differ in
    nothing are one, unless `shared` is false."""
    own = json.dumps(policy_shape(spec), sort_keys=True)
    return _policy_of(own, layers) if shared else _policy_of.__wrapped__(own, layers)


_OF_BASE = ("model", "tokenizer", "tokens", "hardware", "data", "data_class", "objectives")
_OF_DATA = ("max_length", "max_response_length", "response_room")


def base_shape(spec: Mapping[str, Any]) -> Spec:
    """What of a spec says how large its base model and its rows are; a pretrained model needs no names for that."""
    own = {key: spec[key] for key in _OF_BASE}
    if spec["model"]["path"] is not None:
        own["data"] = {key: spec["data"][key] for key in _OF_DATA}
        own |= {"data_class": "", "objectives": [""] * len(spec["objectives"])}
    return own


def policy_shape(spec: Mapping[str, Any]) -> Spec:
    """`base_shape`, and what an `align` task's spec says of its policy."""
    kind = load(spec["policy"], "policy")
    own = {"policy": spec["policy"], "sections": own_sections(spec, kind)}
    return base_shape(spec) | own | {"options": {"policy": spec["options"]["policy"]}}


@lru_cache(maxsize=16)
def _policy_of(text: str, layers: int | None) -> Policy:
    spec = json.loads(text) | {"seed": 0}
    run = MetaRun.of(spec, Policy(network_of(spec, layers).requires_grad_(False)))
    policy: Policy = run.answers.policy.build(run.about("policy"))
    if spec["model"]["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    policy.to("meta")
    return policy


@dataclass(frozen=True)
class Scorer:
    """A reward model that a run holds."""

    numbers: int
    bytes: float
    longest: int
    """Tokens of an input, at most."""
    layers: int
    build: Callable[[int], PreTrainedModel]
    """The same with so many layers."""


def scorers_of(spec: Spec) -> list[Scorer]:
    """The reward models of a run: those of the hub and, where an objective is scored by it, the one that is trained on
    the pairs. The world's own rewards and functions take nothing."""
    longest, precision = spec["data"]["max_length"], spec["hardware"]["precision"]
    sources = {name: Source.from_json(each) for name, each in spec["rewards"].items()}
    found = []
    for name, source in sources.items():
        if source.kind == MODEL:
            entry = source.entry(name)
            place = entry.id if source.path is None or entry.id in PUBLISHED else source.path
            most = longest if entry.max_length is None else min(longest, entry.max_length)
            found.append(_hub_scorer(place, entry.kind, precision, most))
    if any(source.kind == TRAINED for source in sources.values()):
        found.append(_trained_scorer(json.dumps(base_shape(spec), sort_keys=True), longest))
    return found


@lru_cache(maxsize=8)
def _trained_scorer(text: str, longest: int) -> Scorer:
    spec = json.loads(text)

    @lru_cache(maxsize=2)
    def of_depth(layers: int) -> PreTrainedModel:
        return classifier_of(spec, layers)

    return _scorer(of_depth, depth_of(spec), longest)


@lru_cache(maxsize=8)
def _hub_scorer(model: str, kind: str, precision: str, longest: int) -> Scorer:
    config = published_config(model)
    build: Any = ScoreHead if kind == SCORE_HEAD else CLASSIFIER

    @lru_cache(maxsize=2)
    def of_depth(layers: int | None) -> PreTrainedModel:
        network = meta_model(_of_depth(config, layers), precision, build)
        count_fused_attention(network)
        return network

    positions = getattr(config, "max_position_embeddings", longest)
    return _scorer(of_depth, config.num_hidden_layers, min(longest, positions))


def _scorer(build: Callable[[int], PreTrainedModel], layers: int, longest: int) -> Scorer:
    weights = list(build(layers).parameters())
    size = sum(each.numel() * each.element_size() for each in weights)
    return Scorer(sum(each.numel() for each in weights), float(size), longest, layers, build)


def classifier_of(spec: Spec, layers: int | None = None) -> PreTrainedModel:
    """The reward model that is trained on the pairs: the base's body and an output for each objective."""
    path = spec["model"]["path"]
    config = network_of(spec, layers).config if path is None else _of_depth(published_config(path), layers)
    config.num_labels = len(spec["objectives"])
    if config.pad_token_id is None:
        config.pad_token_id = 0
    network = meta_model(config, trained_whole(spec["hardware"])["precision"], CLASSIFIER)
    if spec["model"]["gradient_checkpointing"]:
        network.config.use_cache = False
        network.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    count_fused_attention(network)
    return network


def trainee_of(spec: Spec, layers: int | None = None) -> Any:
    """The same as it is trained: all of it, a LoRA on it, or its outputs alone."""
    return trained_part(classifier_of(spec, layers), spec["reward_model"]).to("meta")
