"""Direct preference optimisation, one loss per objective from one forward pass."""

from __future__ import annotations

from math import inf, isfinite
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_moa.answers import Sections
from lightning_moa.batches import PairBatch
from lightning_moa.errors import UserError
from lightning_moa.objectives.base import Objective, better_sign, labelled_mean, per_example
from lightning_moa.objectives.settings import DPOConfig
from lightning_moa.policies import Heads, Policy, head_logps, pair_logps


def implicit_margins(logps: Tensor, ref_logps: Tensor | None, beta: float) -> Tensor:
    """beta (log pi/pi_ref of response 1 - log pi/pi_ref of response 0), shape (batch,), or (K, batch) of K policies.

    Args:
        logps: (2 * batch,), or (K, 2 * batch), responses 0 first.
        ref_logps: (2 * batch,), likewise, of the reference.

    Raises:
        UserError: there are no `ref_logps`.
    """
    if ref_logps is None:
        raise UserError(
            "the batch has no ref_logps: a TrainingData, as the Trainer's data module, works them out for objectives "
            'whose needs name "reference"'
        )
    ratios = logps - ref_logps
    first, second = ratios.chunk(2, dim=-1)
    return beta * (second - first)


def dpo_losses(margins: Tensor, labels: Tensor) -> Tensor:
    """-log sigma(margin towards the better response) (Panacea, eq. 2).

    Args:
        margins: (batch,) or (K, batch), implicit reward of response 1 over response 0.
        labels: (batch, m), index of the better response, NaN where unknown.

    Returns:
        (batch, m) or (K, batch, m), to minimise; log 2, without gradient, where the label is unknown.
    """
    return -F.logsigmoid(better_sign(labels) * margins[..., None])


class DPO(Objective):
    """DPO's loss of each objective (Panacea, eq. 2 and 14).

    The two responses of a pair are the same for all objectives; only which of them is better differs. So one
    forward pass over both serves any number of objectives.

    Args:
        beta: strength of the pull to the reference policy.
        likelihood: weight of the better response's negative log-likelihood per token, added to each loss; it
            holds back the policy from leaving the support of the data. 0 is DPO as published.
    """

    sections: ClassVar[Sections] = {"dpo": DPOConfig}
    needs = ("reference",)
    of_several = True
    loss_range = (0.0, inf)

    @classmethod
    def kl_weight(cls, settings: DPOConfig) -> float:
        return settings.beta

    def __init__(self, beta: float, likelihood: float = 0.0) -> None:
        super().__init__()
        if not (isfinite(beta) and beta > 0):
            raise UserError(f"beta={beta}: must be a finite number above 0")
        if not (isfinite(likelihood) and likelihood >= 0):
            raise UserError(f"likelihood={likelihood}: must be a finite number of at least 0")
        self.beta = beta
        self.likelihood = likelihood

    def losses(self, policy: Policy, batch: PairBatch, preference: Tensor | None) -> Tensor:
        """(m,) or (g, m); (K, m) of `Heads`. `batch.ref_logps` must be filled."""
        if batch.ref_logps is None:
            raise UserError(
                "DPO needs batches with ref_logps: a TrainingData as the Trainer's data module works them out"
            )
        if isinstance(policy, Heads):
            of_heads = head_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)
            labelled = ~batch.labels.isnan()
            return torch.stack(
                [labelled_mean(each, labelled, None) for each in self._values(of_heads, batch)]
            )
        rows = per_example(preference, len(batch.labels))
        logps = pair_logps(policy, batch, rows)
        return labelled_mean(self._values(logps, batch), ~batch.labels.isnan(), preference)

    def _values(self, logps: Tensor, batch: PairBatch) -> Tensor:
        """(batch, m) losses of log-probs (2 * batch,), or (K, batch, m) of (K, 2 * batch)."""
        assert batch.ref_logps is not None
        values = dpo_losses(implicit_margins(logps, batch.ref_logps, self.beta), batch.labels)
        return values + self.likelihood * better_nll(logps, batch) if self.likelihood else values


def better_nll(logps: Tensor, batch: PairBatch) -> Tensor:
    """Negative log-likelihood per token of the better response for each objective, (batch, m) or (K, batch, m)."""
    per_token = logps / batch.response_mask.sum(-1).clamp(min=1)
    first, second = per_token.chunk(2, dim=-1)
    return -torch.where(batch.labels > 0.5, second[..., None], first[..., None])
