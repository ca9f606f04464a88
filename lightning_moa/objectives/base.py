"""The form that every objective has, and the mean that all of them take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_moa.errors import UserError
from lightning_moa.policies import Policy
from lightning_moa.processes import joint_mean, rows_of_joint_batch, together, world_size

OptimiserFactory = Callable[[Iterable[Parameter]], tuple[Optimizer, LRScheduler]]
"""The trained parameters to an optimiser and its schedule, which is stepped once an update."""


class Objective(nn.Module, ABC):
    """Per-objective losses of a batch. What a method optimises, whatever its policy and its aggregation."""

    own_optimiser: OptimiserFactory | None = None
    """Builds the optimiser of the objective's own parameters, where it has some (PPO's critic)."""

    @abstractmethod
    def losses(self, policy: Policy, batch: Any, preference: Tensor | None) -> Tensor:
        """Losses to minimise.

        Args:
            policy: the policy that is trained.
            batch: the typed batch that this objective takes, one of `parts`.
            preference: (m,) for the whole batch; (g, m) for g equal, contiguous shares of it; None where the
                policy knows no preference.

        Returns:
            (m,), or (g, m) for g preferences.
        """

    def parts(self, policy: Policy, batch: Any, preference: Tensor | None, step: int) -> Iterable[Any]:
        """What the updates of one loaded batch are made on: the batch itself, or rollouts sampled for it."""
        return (batch,)

    def shared_loss(self, policy: Policy, part: Any, preference: Tensor | None) -> Tensor | None:
        """A scalar that trains the policy beside the m losses and goes past their aggregation, where there is one."""
        return None

    def own_loss(self, part: Any) -> Tensor | None:
        """A scalar that trains the objective's own parameters, where it has some."""
        return None

    def logs(self) -> Mapping[str, float | Tensor]:
        """Numbers about the last batch, worth a column in the log."""
        return {}


def per_example(preference: Tensor | None, batch_size: int) -> Tensor | None:
    """The preference of each row of a batch.

    Args:
        preference: (m,), which is returned as it is; or (g, m), one for each of g equal, contiguous shares of the
            batch, which is all processes' rows.
        batch_size: number of rows of this process; with those of the others a multiple of g.

    Returns:
        (m,), or (batch, m).
    """
    if preference is None or preference.ndim == 1:
        return preference
    return preference[share_of_row(preference, batch_size)]


def share_of_row(preference: Tensor, batch_size: int) -> Tensor:
    """(batch,) index of the share of the joint batch that each of this process's rows belongs to.

    Args:
        preference: (g, m), one for each of g equal, contiguous shares of all processes' rows.
        batch_size: rows of this process.
    """
    groups, joint = len(preference), batch_size * world_size()
    if joint % groups:
        raise UserError(
            f"{groups} preferences for a batch of {joint} rows: the rows must divide evenly among them"
        )
    return rows_of_joint_batch(batch_size, preference.device) // (joint // groups)


def better_sign(labels: Tensor) -> Tensor:
    """+1 where response 1 is better, -1 where response 0 is, 0 where the label is NaN.

    A NaN must not reach the loss even of a masked row: its gradient, 0 * NaN, would be NaN.
    """
    return (2 * labels - 1).nan_to_num(0.0)


def labelled_mean(values: Tensor, labelled: Tensor, preference: Tensor | None) -> Tensor:
    """Mean of the labelled rows of each objective, for each preference, over all processes' rows.

    Args:
        values: (batch, m); entries that are not labelled are ignored, whatever they hold.
        labelled: (batch, m) bool.
        preference: (m,) or None for one mean over the batch, (g, m) for one over each of g shares of the joint batch.

    Returns:
        (m,) or (g, m). An objective without a labelled row is 0 and passes no gradient.
    """
    kept = torch.where(labelled, values, torch.zeros_like(values))
    if preference is None or preference.ndim == 1:
        return joint_mean(kept.sum(0), labelled.sum(0))
    if not together():
        groups = (len(preference), -1, kept.shape[-1])
        return joint_mean(kept.reshape(groups).sum(1), labelled.reshape(groups).sum(1))
    share = share_of_row(preference, len(kept))
    empty = kept.new_zeros(len(preference), kept.shape[-1])
    return joint_mean(empty.index_add(0, share, kept), empty.index_add(0, share, labelled.to(kept)))
