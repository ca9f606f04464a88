"""HaM's studies: one model or a larger one, offline or online, on some of the objectives. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TypeVar

from lightning_moa.config import LikelihoodStudyConfig
from lightning_moa.evaluation.clusters import cluster_prompts
from lightning_moa.methods.products import Product, ham, ric, sca, scalarisations
from lightning_moa.study.collect import Collected
from lightning_moa.study.seeds import REFERENCE

S = TypeVar("S", bound=LikelihoodStudyConfig)


def methods_of(m: int) -> Mapping[str, Product]:
    """HaM and its baselines for m objectives (HaM, section 4)."""
    preferences = scalarisations(m)
    return {"ham": ham(), "ric": ric(preferences), "sca": sca(preferences)}


def settings_of(config: S, objectives: Sequence[str], *, large: bool = False, online: bool = False) -> S:
    """The study of one panel: a copy of the script's settings.

    Args:
        config: the script's; `objectives` in it go before those given here.
        objectives: the panel's own, in order.
        large: of the larger model.
        online: with the configuration's rounds, or with none.
    """
    own = deepcopy(config)
    own.objectives = list(config.objectives or objectives)
    rewards = own.likelihood
    rewards.hub_rewards = {
        name: model for name, model in rewards.hub_rewards.items() if name in own.objectives
    }
    rewards.hub_paths = {name: path for name, path in rewards.hub_paths.items() if name in own.objectives}
    own.data.labels = {name: label for name, label in own.data.labels.items() if name in own.objectives}
    if large:
        own.model = deepcopy(config.large)
    if not online:
        own.online.rounds = 0
    return own


def clusters_of(collected: Collected, clusters: int) -> dict[str, int]:
    """Prompt -> cluster. The held-out prompts are clustered as they are, and not as often as policies answer them:
    k-means rounds, so that its clusters might differ between panels of few and of many policies."""
    asked = collected.responses[collected.responses["method"] == REFERENCE]
    prompts = asked[asked["seed"] == asked["seed"].min()]["prompt"].tolist()
    return dict(zip(prompts, cluster_prompts(prompts, clusters, seed=0).tolist(), strict=True))
