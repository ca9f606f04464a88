"""The Bradley-Terry loss of a reward model."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_moa.batches import PairBatch
from lightning_moa.objectives.base import better_sign, labelled_mean
from lightning_moa.processes import joint_mean


def bradley_terry_losses(scores: Tensor, labels: Tensor) -> Tensor:
    """-log sigma(score of the better response - score of the other).

    Args:
        scores: (2 * batch, m), responses 0 first, higher is better.
        labels: (batch, m), index of the better response, NaN where unknown.

    Returns:
        (batch, m), to minimise; log 2, without gradient, where the label is unknown.
    """
    first, second = scores.chunk(2)
    return -F.logsigmoid(better_sign(labels) * (second - first))


class BradleyTerry:
    """Loss of a reward model with one output per objective.

    Args:
        regularisation: weight of the mean squared score, which keeps scores near zero (Safe-RLHF: 0.001).
    """

    def __init__(self, regularisation: float = 0.0) -> None:
        self.regularisation = regularisation

    def losses(self, network: nn.Module, batch: PairBatch) -> Tensor:
        """(m,). `network` is a transformers sequence classifier with m outputs."""
        scores = network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        losses = labelled_mean(bradley_terry_losses(scores, batch.labels), ~batch.labels.isnan(), None)
        return losses + self.regularisation * joint_mean(scores.square().sum(0), len(scores))
