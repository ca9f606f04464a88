"""Each method as the product of three answers. Light: names only, so that a study can be planned without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.pareto import preference_grid


@dataclass(frozen=True)
class Product:
    """A method: three answers, which preferences its policies are trained for, and how they are used.

    Classes are given as 'module:Class', so that a method of one's own needs no entry in this package.
    """

    module: str
    """The LightningModule."""
    policy: str
    """'steered': SVD-LoRA with the preference among its singular values; 'fixed': SVD-LoRA of rank k + 1; 'lora': LoRA
    of rank k; 'heads': LoRA of rank k on the backbone and `heads` output heads."""
    objective: str
    """The name of its builder: 'dpo', 'ppo', 'likelihood' (weighted by rewards), or 'in_context' (rewards in the
    prompt)."""
    aggregation: str
    trained_on: str
    """'sampled': one policy, preferences drawn, or none needed; 'corners': one per objective; 'grid': one per grid
    point; 'interior': one per grid point without a zero; 'centre': one, for equal weights; 'corner': one, for the
    objective `corner`; 'given': one for each of `preferences`."""
    deployed_as: str
    """'steered': the policy takes the preference; 'soup': the policies' updates are interpolated; 'nearest':
    the policy trained for the preference is taken; 'alone': one policy, whatever the preference (or several, each
    measured by itself); 'heads': each head of each policy by itself; 'in_prompt': the prompt says each of
    `preferences`."""
    fixed_scale: float | None = None
    """Keeps a steered policy's factor on the preference at this value; None leaves it as the study says (learned)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the aggregation's class."""
    probe: str | None = None
    """For an aggregation that looks at gradients, whose: 'study', as the study's `probe` says, or one of that option's
    values; None for the others."""
    weigh: str | None = None
    """Where PPO lets the weights act, where the method leaves no choice; None: as the study says."""
    section: str | None = None
    """The section of the study's configuration that holds the LightningModule's own arguments; None: it has none."""
    corner: int = 0
    preferences: tuple[tuple[float, ...], ...] = ()
    heads: int | None = 1
    """K, for 'heads'; None: as the study's `heads` says."""
    method: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the LightningModule's class."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Arguments of the aggregation's class that the study's configuration holds: argument -> section.key."""

    def training_preferences(self, m: int, step: float) -> list[list[float] | None]:
        """The preference that each of its policies is trained for; None is one policy for all."""
        if self.trained_on == "sampled":
            return [None]
        grid = preference_grid(m, step)
        rows = {
            "corners": np.eye(m),
            "grid": grid,
            "interior": grid[(grid > 0).all(axis=1)],
            "centre": np.full((1, m), 1 / m),
            "corner": np.eye(m)[self.corner : self.corner + 1],
            "given": np.array(self.preferences),
        }
        if self.trained_on not in rows:
            raise UserError(f"trained_on={self.trained_on}: allowed are sampled, {', '.join(rows)}")
        if not len(rows[self.trained_on]):
            raise UserError(
                f"trained_on={self.trained_on}: no preference of {m} objectives is left to train for"
            )
        return [[float(value) for value in row] for row in rows[self.trained_on]]


_LINEAR = "lightning_moa.aggregation.linear:Linear"
_TCHEBYCHEFF = "lightning_moa.aggregation.tchebycheff:Tchebycheff"
_PANACEA = "lightning_moa.methods.panacea:Panacea"
_SOUPS = "lightning_moa.methods.rewarded_soups:RewardedSoups"
_DPS = "lightning_moa.methods.dps:DPS"

PANACEA_LS_DPO = Product(_PANACEA, "steered", "dpo", _LINEAR, "sampled", "steered")
PANACEA_TCHE_DPO = Product(_PANACEA, "steered", "dpo", _TCHEBYCHEFF, "sampled", "steered")
REWARDED_SOUPS_DPO = Product(_SOUPS, "fixed", "dpo", _LINEAR, "corners", "soup")
DPS_DPO = Product(_DPS, "fixed", "dpo", _LINEAR, "grid", "nearest")

PANACEA_PPO = Product(_PANACEA, "steered", "ppo", _LINEAR, "sampled", "steered")
REWARDED_SOUPS_PPO = Product(_SOUPS, "fixed", "ppo", _LINEAR, "corners", "soup")
DPS_PPO = Product(_DPS, "fixed", "ppo", _LINEAR, "grid", "nearest")
SINGLE_OBJECTIVE_PPO = Product(_DPS, "fixed", "ppo", _LINEAR, "centre", "alone")


def _of(method: str, aggregation: str, trained_on: str, deployed_as: str, **options: Any) -> Product:
    """One that looks at gradients: PPO's m losses stay apart, so that each has a gradient of its own."""
    return Product(
        f"lightning_moa.methods.{method}",
        "lora",
        "ppo",
        f"lightning_moa.aggregation.gapo:{aggregation}",
        trained_on,
        deployed_as,
        options=options,
        probe="study",
        weigh="surrogates",
    )


MGDA_PPO = _of("mgda:MGDA", "MGDA", "centre", "alone")
GAPO_P1_PPO = _of("gapo:GAPO", "GAPO", "centre", "alone", p=1.0)
GAPO_P2_PPO = _of("gapo:GAPO", "GAPO", "centre", "alone", p=2.0)
PGAPO_PPO = _of("pgapo:PGAPO", "PGAPO", "interior", "nearest")

MORLHF_PPO = Product(_DPS, "lora", "ppo", _LINEAR, "interior", "nearest")
LINEAR_PPO = Product(_DPS, "lora", "ppo", _LINEAR, "centre", "alone")
SOUPS_OF_LORAS_PPO = Product(_DPS, "lora", "ppo", _LINEAR, "corners", "soup")
SAFE_RLHF_PPO = Product(
    "lightning_moa.methods.safe_rlhf:SafeRLHF",
    "lora",
    "ppo",
    _LINEAR,
    "centre",
    "alone",
    weigh="advantages",
    section="lagrangian",
)


def ppo_on_one(objective: int) -> Product:
    """PPO on one objective alone, by its place among them: PPO-H and PPO-S of GAPO's paper."""
    return Product(_DPS, "lora", "ppo", _LINEAR, "corner", "alone", corner=objective)


_HYPERVOLUME = {"method": "heads.volume", "directions": "heads.scalarisations", "warm_up": "heads.warm_up"}
FIVE = ((0.0, 1.0), (0.3, 0.7), (0.5, 0.5), (0.7, 0.3), (1.0, 0.0))
"""HaM, section 4: the preferences of SCA and RiC for two objectives."""
TEN = (
    *((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    *((0.1, 0.1, 0.8), (0.1, 0.8, 0.1), (0.8, 0.1, 0.1)),
    *((0.2, 0.2, 0.6), (0.2, 0.6, 0.2), (0.6, 0.2, 0.2)),
    (1 / 3, 1 / 3, 1 / 3),
)
"""HaM, section 4.4: those for three, whose last one the paper writes (.33, .33, .33)."""


def ham(heads: int | None = None) -> Product:
    """HaM with K heads; None: as the study says. Raises `UserError` for K below 1."""
    if heads is not None and heads < 1:
        raise UserError(f"ham({heads}): K must be at least 1")
    return Product(
        "lightning_moa.methods.ham:HaM",
        "heads",
        "likelihood",
        "lightning_moa.aggregation.volume:Hypervolume",
        "sampled",
        "heads",
        heads=heads,
        settings=_HYPERVOLUME,
    )


def sca(preferences: Sequence[Sequence[float]]) -> Product:
    """Linear scalarisation (HaM, eq. 5): a model for each preference, with an output head of its own as HaM's have."""
    return Product(
        _DPS, "heads", "likelihood", _LINEAR, "given", "heads", preferences=_rows(preferences), heads=1
    )


def sca_heads(preferences: Sequence[Sequence[float]]) -> Product:
    """SCA as heads on one backbone: head k is trained for preference k."""
    rows = _rows(preferences)
    return Product(
        "lightning_moa.methods.sca:HeadwiseSCA",
        "heads",
        "likelihood",
        _LINEAR,
        "sampled",
        "heads",
        heads=len(rows),
        method={"head_preferences": [list(row) for row in rows]},
    )


def ric(preferences: Sequence[Sequence[float]]) -> Product:
    """Rewards in the prompt; asked for each of the preferences."""
    return Product(
        "lightning_moa.methods.ric:RiC",
        "heads",
        "in_context",
        _LINEAR,
        "sampled",
        "in_prompt",
        preferences=_rows(preferences),
    )


def scalarisations(m: int) -> tuple[tuple[float, ...], ...]:
    """The preferences of SCA and RiC: the paper's for two and three objectives, else corners, their mixtures of
    .6 with the rest evenly, and the centre (ours)."""
    if m <= 3:
        return (((1.0,),), FIVE, TEN)[m - 1]
    corners = np.eye(m)
    mixed = 0.6 * corners + 0.4 * (1 - corners) / (m - 1)
    return _rows(np.concatenate([corners, mixed, np.full((1, m), 1 / m)]))


def _rows(preferences: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in preferences)
