"""A deployment of one's own: each token is drawn from the mixture, in log space, of the single objectives' policies."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

import lightning_moa as moa


class Mixed(moa.Policy):
    """log pi = sum_i lambda_i log pi_i, up to a constant of each position."""

    def __init__(self, soup: moa.Policy) -> None:
        super().__init__(soup.model)
        self.soup, self.m = soup, soup.m

    def forward(self, input_ids: Tensor, attention_mask: Tensor, preference=None, *, last: int = 0) -> Tensor:
        weights = preference.to(input_ids.device).expand(len(input_ids), -1)
        # At a corner the soup is that member exactly: all members live on one base.
        corners = torch.eye(self.m, device=input_ids.device)
        each = [self.soup(input_ids, attention_mask, corner, last=last).log_softmax(-1) for corner in corners]
        return sum(weight[:, None, None] * one for weight, one in zip(weights.T, each, strict=True))

    def reference(self):
        return self.soup.reference()


@dataclass(frozen=True)
class MixedLogits(moa.Deployment):
    """The mixture at every preference of the grid."""

    def check(self, trained_on: moa.TrainedOn) -> None:
        """One policy for each objective is needed, as for a soup."""
        moa.Soup().check(trained_on)

    def policies(self, trained) -> Iterator[moa.Deployed]:
        yield moa.Deployed("mixed", Mixed(trained.soup()), trained.grid)
