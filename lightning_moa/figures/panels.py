"""HaM's studies: one model or a larger one, offline or online, on some of the objectives. Light: no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lightning_moa.config import ModelConfig, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.evaluation.clusters import cluster_prompts
from lightning_moa.fields import option
from lightning_moa.methods.products import Product, ham, ric, sca, scalarisations
from lightning_moa.study.collect import Collected
from lightning_moa.study.seeds import REFERENCE
from lightning_moa.study.study import DRAWS, Part, Study

if TYPE_CHECKING:
    import pandas as pd

PANELS = {
    "a": ("small model, offline", {}),
    "b": ("large model, offline", {"large": True}),
    "c": ("small model, online", {"online": True}),
}
"""Letter -> words, and which study `settings_of` makes of it."""


@dataclass
class PanelsConfig(StudyConfig):
    """A study of one model or of a larger one, whose points are means over clusters of prompts."""

    large: ModelConfig = option(ModelConfig, "the larger model, for scripts that show two")
    clusters: int = option(
        5, "clusters of the held-out prompts; a point is one policy's mean rewards on one of them", at_least=1
    )
    exact_beta: float | None = option(
        0.5, "weight of the KL in the exact front that pictures show; nothing is trained under it", above=0
    )


@dataclass
class ShownConfig(PanelsConfig):
    """The same, for scripts that show several panels."""

    panels: list[str] = option(
        [*PANELS], "which panels are shown; what is made of some of them lies in a folder that names them"
    )


S = TypeVar("S", bound=PanelsConfig)


def shown_of(config: ShownConfig, there: Collection[str]) -> tuple[list[str], str]:
    """The panels that a script is to show, of those that there are and in their order, and what its folder says of
    that: nothing where it shows all.

    Raises:
        UserError: none, or one that there is not.
    """
    if not config.panels or not set(config.panels) <= set(there):
        raise UserError(f"panels={config.panels}: allowed are {', '.join(there)}, one or more")
    shown = [letter for letter in there if letter in config.panels]
    return shown, "" if len(shown) == len(there) else "+".join(shown)


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
    likelihood, rounds = (getattr(own, name) for name in ("likelihood", "online"))
    likelihood.rewards = {name: each for name, each in likelihood.rewards.items() if name in own.objectives}
    labels = own.data.labels
    if not config.objectives and set(own.objectives) <= set(labels):
        # Else the plan names what is missing, and what there is. Objectives of one's own have their labels as in any
        # other script, whose runs they share.
        own.data.labels = {name: label for name, label in labels.items() if name in own.objectives}
    if large:
        own.model = deepcopy(config.large)
    if not online:
        rounds.rounds = 0
    return own


def panel_study(file: str, family: str, objectives: Sequence[str], reads: Sequence[str] = (DRAWS,)) -> Study:
    """The study of a script that shows the panels of these objectives, or of those that are asked for; `reads` as
    `Study`'s."""

    def parts(config: ShownConfig) -> list[Part]:
        methods = methods_of(len(config.objectives or objectives))
        return [
            (PANELS[letter][0], settings_of(config, objectives, **PANELS[letter][1]), methods)
            for letter in shown_of(config, PANELS)[0]
        ]

    return Study(file, family, methods_of(len(objectives)), ShownConfig, parts=parts, reads=reads)


def clusters_of(collected: Collected, clusters: int) -> dict[str, int]:
    """Prompt -> cluster. The held-out prompts are clustered as they are, and not as often as policies answer them:
    k-means rounds, so that its clusters might differ between panels of few and of many policies."""
    reference = collected.responses[collected.responses["method"] == REFERENCE]
    first = (reference["seed"] == reference["seed"].min()) & (reference["sample"] == 0)
    prompts = reference[first]["prompt"].tolist()
    # Seeds whose prompts are few of a world's may have others.
    prompts += sorted({*reference["prompt"]} - {*prompts})
    return dict(zip(prompts, cluster_prompts(prompts, clusters, seed=0).tolist(), strict=True))


def as_asked(responses: pd.DataFrame, collected: Collected) -> pd.Series:
    """Of each response the prompt as the reference policy was shown it: one that asks through its prompt has less room,
    and a long prompt may begin later there."""
    keys = ["seed", "prompt_index"]
    reference = collected.responses[collected.responses["method"] == REFERENCE]
    prompts = reference.drop_duplicates(keys)[[*keys, "prompt"]]
    found = responses[keys].merge(prompts, on=keys, how="left", validate="many_to_one")
    return found["prompt"].set_axis(responses.index)
