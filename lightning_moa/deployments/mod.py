"""MOD, multi-objective decoding: the single objectives' policies are mixed at each token (Shi et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_moa.deployments.base import Deployed, Deployment, Load, Trained
from lightning_moa.deployments.soup import Soup
from lightning_moa.deployments.trained_on import TrainedOn


@dataclass(frozen=True)
class MOD(Deployment):
    """Each token is drawn from prod_i pi_i^lambda_i, normalised over the vocabulary, for each preference of the grid.

    With pi_i ~ pi_ref exp(r_i / beta) the same product of the probabilities of whole responses is the optimum of
    sum_i lambda_i E[r_i] - beta KL exactly. Two things part MOD from it: its policies are trained, and the product is
    normalised at each token, as if what may follow a token were worth prod_i V_i^lambda_i, where the optimum has the
    value of the mixed reward, which is never more (Hoelder). Answers of one token, and last tokens, are exact. This is
    the reverse KL's mixture; the paper has others for other divergences.

    It takes m forward passes a token, and no cache of keys and values.
    """

    def check(self, trained_on: TrainedOn) -> None:
        """A policy for each objective, as a soup needs."""
        Soup().check(trained_on)

    def policies(self, trained: Trained) -> Iterator[Deployed]:
        from lightning_moa.policies.mixed import MixedPolicies

        yield Deployed("mixed", MixedPolicies(trained.soup()), trained.grid)

    def load(self, grid: int, policies: int, members: int) -> Load:
        return Load(grid=grid, passes=grid * policies, held=policies)
