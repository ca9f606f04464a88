"""Each method as the product of three answers. Light: names only, so that a study can be planned without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_moa.answers import Use, load, use
from lightning_moa.deployments import Alone, Deployment, EachHead, InPrompt, Nearest, Soup, Steered, TrainedOn
from lightning_moa.deployments.trained_on import Rows, as_rows
from lightning_moa.errors import UserError


@dataclass(frozen=True)
class Product:
    """A method: three answers and a LightningModule, what its policies are trained for, and how they are used.

    Each answer is given by a short name (`<room>/names.py`), as 'module:Class', as the class, or by `use(answer, ...)`
    with what the method says of its settings. So one of one's own needs no entry in this package.

    Args:
        method: the LightningModule, an `Alignment`.
        policy: how a preference enters the network.
        objective: what objective i is on a batch.
        aggregation: how m objectives become one update.
        trained_on: for which preferences a policy is trained each.
        deployment: how they are used; a `Deployment`, or 'module:Class' of one without arguments.
        probe: for an aggregation that looks at gradients, whose; None: as the study's `probe` says.

    Raises:
        UserError: policies that the deployment can't use, or a class that workers can't import.
    """

    method: Use
    policy: Use
    objective: Use
    aggregation: Use
    trained_on: TrainedOn
    deployment: Deployment
    probe: str | None = None

    def __init__(
        self,
        method: str | type | Use,
        policy: str | type | Use,
        objective: str | type | Use,
        aggregation: str | type | Use,
        trained_on: TrainedOn,
        deployment: Deployment | str,
        probe: str | None = None,
    ) -> None:
        answers = {"method": method, "policy": policy, "objective": objective, "aggregation": aggregation}
        for name, answer in answers.items():
            object.__setattr__(self, name, use(answer))
        if isinstance(deployment, str):
            deployment = load(deployment, "deployment")()
        if not isinstance(deployment, Deployment):
            raise UserError(f"deployment={deployment!r}: a Deployment is expected, or 'module:Class' of one")
        if not isinstance(trained_on, TrainedOn):
            raise UserError(
                f"trained_on={trained_on!r}: one of TrainedOn's is expected, such as TrainedOn.grid()"
            )
        for name, value in (("trained_on", trained_on), ("deployment", deployment), ("probe", probe)):
            object.__setattr__(self, name, value)
        deployment.check(trained_on)


FIXED = use("svd_lora", steered=False)
"""SVD-LoRA of rank k + 1 that knows no preference."""
SAMPLED, CORNERS, GRID = TrainedOn.sampled(), TrainedOn.corners(), TrainedOn.grid()
CENTRE, INTERIOR = TrainedOn.centre(), TrainedOn.interior()

PANACEA_LS_DPO = Product("panacea", "svd_lora", "dpo", "linear", SAMPLED, Steered())
PANACEA_TCHE_DPO = Product("panacea", "svd_lora", "dpo", "tchebycheff", SAMPLED, Steered())
REWARDED_SOUPS_DPO = Product("rewarded_soups", FIXED, "dpo", "linear", CORNERS, Soup())
DPS_DPO = Product("dps", FIXED, "dpo", "linear", GRID, Nearest())

PANACEA_PPO = Product("panacea", "svd_lora", "ppo", "linear", SAMPLED, Steered())
REWARDED_SOUPS_PPO = Product("rewarded_soups", FIXED, "ppo", "linear", CORNERS, Soup())
DPS_PPO = Product("dps", FIXED, "ppo", "linear", GRID, Nearest())
SINGLE_OBJECTIVE_PPO = Product("dps", FIXED, "ppo", "linear", CENTRE, Alone())

APART = use("ppo", weigh="surrogates")
"""PPO's m losses stay apart, so that each has a gradient of its own."""
MGDA_PPO = Product("mgda", "lora", APART, "mgda", CENTRE, Alone())
GAPO_P1_PPO = Product("gapo", "lora", APART, use("gapo", p=1.0), CENTRE, Alone())
GAPO_P2_PPO = Product("gapo", "lora", APART, use("gapo", p=2.0), CENTRE, Alone())
PGAPO_PPO = Product("pgapo", "lora", APART, "pgapo", INTERIOR, Nearest())

MORLHF_PPO = Product("dps", "lora", "ppo", "linear", INTERIOR, Nearest())
LINEAR_PPO = Product("dps", "lora", "ppo", "linear", CENTRE, Alone())
SOUPS_OF_LORAS_PPO = Product("dps", "lora", "ppo", "linear", CORNERS, Soup())
SAFE_RLHF_PPO = Product("safe_rlhf", "lora", use("ppo", weigh="advantages"), "linear", CENTRE, Alone())


def ppo_on_one(objective: int) -> Product:
    """PPO on one objective alone, by its place among them: PPO-H and PPO-S of GAPO's paper."""
    return Product("dps", "lora", "ppo", "linear", TrainedOn.corner(objective), Alone())


FIVE = ((0.0, 1.0), (0.3, 0.7), (0.5, 0.5), (0.7, 0.3), (1.0, 0.0))
"""HaM, section 4: the preferences of SCA and RiC for two objectives."""
TEN = (
    *((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    *((0.1, 0.1, 0.8), (0.1, 0.8, 0.1), (0.8, 0.1, 0.1)),
    *((0.2, 0.2, 0.6), (0.2, 0.6, 0.2), (0.6, 0.2, 0.2)),
    (1 / 3, 1 / 3, 1 / 3),
)
"""HaM, section 4.4: those for three, whose last one the paper writes (.33, .33, .33)."""
ONE_HEAD = use("heads", number=1)


def ham(heads: int | None = None) -> Product:
    """HaM with K heads; None: as the study says. Raises `UserError` for K below 1."""
    if heads is not None and heads < 1:
        raise UserError(f"ham({heads}): K must be at least 1")
    policy = use("heads") if heads is None else use("heads", number=heads)
    return Product("ham", policy, "likelihood", "hypervolume", SAMPLED, EachHead())


def sca(preferences: Sequence[Sequence[float]]) -> Product:
    """Linear scalarisation (HaM, eq. 5): a model for each preference, with an output head of its own as HaM's have."""
    return Product("dps", ONE_HEAD, "likelihood", "linear", TrainedOn.given(preferences), EachHead())


def sca_heads(preferences: Sequence[Sequence[float]]) -> Product:
    """SCA as heads on one backbone: head k is trained for preference k."""
    rows = [list(row) for row in as_rows(preferences)]
    heads = use("heads", number=len(rows))
    return Product(use("sca", head_preferences=rows), heads, "likelihood", "linear", SAMPLED, EachHead())


def dpo_heads(m: int) -> Product:
    """DPO with a head for each objective on one backbone (MAH-DPO, arXiv 2510.01167): its losses are as many as heads,
    each head's own objective having all of its weight."""
    rows = np.eye(m).tolist()
    return Product(
        use("sca", head_preferences=rows), use("heads", number=m), "dpo", "linear", SAMPLED, EachHead()
    )


def ric(preferences: Sequence[Sequence[float]]) -> Product:
    """Rewards in the prompt; asked for each of the preferences."""
    return Product("ric", ONE_HEAD, "in_context", "linear", SAMPLED, InPrompt(as_rows(preferences)))


def scalarisations(m: int) -> Rows:
    """The preferences of SCA and RiC: the paper's for two and three objectives, else corners, their mixtures of
    .6 with the rest evenly, and the centre (ours)."""
    if m <= 3:
        return (((1.0,),), FIVE, TEN)[m - 1]
    corners = np.eye(m)
    mixed = 0.6 * corners + 0.4 * (1 - corners) / (m - 1)
    rows: Any = np.concatenate([corners, mixed, np.full((1, m), 1 / m)])
    return as_rows(rows)
