"""What is worked out before a training, and measured on rows that are not trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lightning_moa.batches import PairBatch, moved
from lightning_moa.errors import UserError
from lightning_moa.policies import Policy, pair_logps
from lightning_moa.policies.generation import evaluating
from lightning_moa.processes import all_objects, own_share, world_size

if TYPE_CHECKING:
    from lightning_moa.data.base import PreferenceData


@torch.no_grad()
def reference_logps(
    policy: Policy,
    data: PreferenceData,
    tokenizer: Any,
    split: str,
    batch_size: int,
    device: torch.device,
    progress: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Summed log-probs of both responses of every pair under a policy as it stands; several processes share the work.

    Args:
        policy: the reference policy, on `device`.
        data: whose pairs.
        tokenizer: of the policy.
        split: train or eval.
        batch_size: pairs of a forward pass.
        progress: told the share that is done.

    Returns:
        (n, 2) float64 of `data.table(split)`, nats; NaN for a pair that doesn't fit the lengths.
    """
    table = np.full((len(data.table(split)), 2), np.nan)
    done = 0
    for loaded in own_share(data.batches(tokenizer, split, "pairs", batch_size)):
        batch = moved(loaded, device)
        logps = pair_logps(policy, batch)
        table[batch.index.cpu().numpy()] = logps.double().cpu().numpy().reshape(2, -1).T
        done += len(batch.index)
        progress(done * world_size() / len(table))
    for part in all_objects(table):
        table = np.where(np.isnan(table), part, table)
    return table


def keep_reference(folder: Path, split: str, logps: np.ndarray, data: PreferenceData) -> None:
    """Leave a split's log-probs for other processes, with the rows that they are of."""
    np.save(folder / f"{split}.npy", logps, allow_pickle=False)
    (folder / f"{split}.rows").write_text(data.table(split).digest())


def kept_reference(folder: Path, split: str, data: PreferenceData) -> np.ndarray:
    """(n, 2) of `data.table(split)`, as `keep_reference` has left them.

    Raises:
        UserError: they are of other rows than the data has now.
    """
    if (folder / f"{split}.rows").read_text() != data.table(split).digest():
        raise UserError(
            f"{data.config.name}: its {split} rows are others than those that the reference policy's log-probs are of; "
            "a data set must give the same rows, in the same order, whenever it is read with the same options"
        )
    return np.load(folder / f"{split}.npy", allow_pickle=False)


@torch.no_grad()
def ranked_right(policy: Policy, batch: PairBatch, preference: Tensor) -> tuple[Tensor, Tensor]:
    """Implicit accuracies: of how many labelled pairs the better response has the larger log pi - log pi_ref.

    Args:
        preference: (m,).

    Returns:
        Shares (m,) in [0, 1], a tie being no success, 0 where nothing is labelled; and the labelled pairs, (m,).
    """
    assert batch.ref_logps is not None
    with evaluating(policy):
        first, second = (pair_logps(policy, batch, preference) - batch.ref_logps).chunk(2)
    margins, labelled = (second - first)[:, None], ~batch.labels.isnan()
    right = torch.where(batch.labels > 0.5, margins > 0, margins < 0) & labelled
    return right.sum(0) / labelled.sum(0).clamp(min=1), labelled.sum(0)
