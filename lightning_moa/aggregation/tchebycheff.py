"""Tchebycheff scalarisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_moa.errors import UserError


class Tchebycheff:
    """Weighted Tchebycheff: max min_i lambda_i (J_i - z_i) (Panacea, eq. 7).

    With J_i = -L_i this minimises max_i lambda_i (z_i + L_i). For DPO the ideal point is z = 0, the least
    that a DPO loss can be (eq. 16), and max_i lambda_i L_i is minimised.

    Args:
        ideal_point: z, one value per objective, at least as large as the objective can become; None is 0.
    """

    of_each = True

    def __init__(self, ideal_point: Sequence[float] | None = None) -> None:
        self.ideal_point = None if ideal_point is None else list(ideal_point)

    def __call__(self, losses: Tensor, preference: Tensor, parameters: Sequence[Tensor] = ()) -> Tensor:
        """max_i lambda_i (z_i + L_i) of losses (m,) or (g, m), averaged over the groups."""
        return (preference * shortfall(losses, self.ideal_point)).amax(-1).mean()


def shortfall(losses: Tensor, ideal_point: Sequence[float] | None) -> Tensor:
    """z_i - J_i = z_i + L_i, how far each objective is below its ideal point; of the losses' shape.

    Raises:
        UserError: an ideal point of another length.
    """
    if ideal_point is None:
        return losses
    if len(ideal_point) != losses.shape[-1]:
        raise UserError(
            f"ideal_point has {len(ideal_point)} values for {losses.shape[-1]} objectives: one each is needed"
        )
    return losses + torch.as_tensor(ideal_point, dtype=losses.dtype, device=losses.device)
