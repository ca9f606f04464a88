"""The settings of methods that have some of their own, each a section of a study's configuration. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_moa.fields import option


@dataclass
class LagrangianConfig:
    """PPO-Lagrangian's multipliers, one for each objective after the first, which is the one that is maximised."""

    thresholds: list[float] | None = option(
        None, "least mean score of each objective after the first, after scaling; empty: 0"
    )
    counted_from: str = option(
        "auto",
        "what a threshold is counted from: the scores' zero, or the first batch's mean, which is the start's; auto: "
        "that mean for objectives scored by a model that a study trains on pairs, which leave it without a zero",
        choices=("auto", "zero", "start"),
    )
    lr: float = option(0.1, "step of the gradient ascent on their logarithms", above=0)
    initial: float = option(1.0, "their value at the start", above=0)
    largest: float = option(5.0, "their largest value", above=0)
    episodes: int = option(128, "last responses that a mean score is taken of", at_least=1)
    delay: int = option(0, "batches before they move", at_least=0)


@dataclass
class DynamicConfig:
    """Weights that follow the hypervolume's gain."""

    rate: float = option(
        0.1, "share of the way to what gains most that the weights go in a batch", above=0, at_most=1
    )
    smoothing: float = option(
        0.9, "share of the former running mean of the scores that stays", at_least=0, below=1
    )
    margin: float = option(
        1.0, "deviations of the first batch's scores that the volume's corner lies below their mean", above=0
    )
