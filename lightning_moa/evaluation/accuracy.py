"""Implicit-reward accuracy: how often a policy ranks a held-out pair as its labels do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lightning_moa.batches import PairBatch
from lightning_moa.policies import Policy, pair_logps
from lightning_moa.processes import all_objects


@dataclass(frozen=True)
class Margins:
    """How far a policy prefers response 1 to response 0 of held-out pairs, under several preferences.

    Pairs are in the order of the split, whatever batches and processes they were worked out in.
    """

    values: np.ndarray
    """(n, pairs) log pi/pi_ref of response 1 less that of response 0."""
    labels: np.ndarray
    """(pairs, m) index of the better response, NaN where unknown."""

    def right(self) -> np.ndarray:
        """(n, pairs, m) whether the better response has the larger implicit reward; NaN where nobody said. A tie is no
        success, as in the paper."""
        values, labels = self.values[..., None], self.labels
        found = np.where(labels > 0.5, values > 0, values < 0).astype(float)
        return np.where(np.isnan(labels), np.nan, found)

    def accuracies(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, m) shares in [0, 1], NaN where nothing is labelled; and the labelled pairs of each objective, (m,)."""
        counts = (~np.isnan(self.labels)).sum(0)
        return np.nansum(self.right(), axis=1) / np.where(counts == 0, np.nan, counts), counts


def implicit_accuracies(
    policy: Policy, batches: Iterable[PairBatch], preferences: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Share of pairs whose better response has the larger implicit reward (Panacea, 5.1).

    Args and errors as of `implicit_margins`.

    Returns:
        Accuracies (n, m), in [0, 1]; and the number of labelled pairs of each objective, (m,).
    """
    return implicit_margins(policy, batches, preferences).accuracies()


@torch.no_grad()
def implicit_margins(policy: Policy, batches: Iterable[PairBatch], preferences: Tensor) -> Margins:
    """Implicit rewards of held-out pairs, the better one's less the other's where labels say which is which.

    The implicit reward is beta (log pi - log pi_ref); comparisons need no beta. All preferences of a batch are
    evaluated in one forward pass.

    Args:
        policy: takes any preference.
        batches: held-out pairs with `ref_logps`; of several processes, each has its own.
        preferences: (n, m).
    """
    own = [
        (_margins(policy, batch, preferences), batch.labels.cpu().numpy(), batch.index.cpu().numpy())
        for batch in batches
    ]
    found = [part for parts in all_objects(own) for part in parts]
    if not found:
        raise ValueError("no pairs to evaluate on")
    values, labels, index = zip(*found, strict=True)
    order = np.argsort(np.concatenate(index), kind="stable")
    return Margins(np.concatenate(values, axis=1)[:, order], np.concatenate(labels)[order])


def _margins(policy: Policy, batch: PairBatch, preferences: Tensor) -> np.ndarray:
    """log pi/pi_ref of response 1 over response 0, (n, batch), for each preference."""
    if batch.ref_logps is None:
        raise ValueError("implicit accuracies need batches with ref_logps")
    n, pairs = len(preferences), len(batch.labels)
    tokens = (batch.input_ids, batch.attention_mask, batch.response_mask)
    # Responses 0 of all preferences before responses 1 of all.
    ids, mask, response = (torch.cat([side.repeat(n, 1) for side in each.chunk(2)]) for each in tokens)
    repeated = replace(batch, input_ids=ids, attention_mask=mask, response_mask=response)
    logps = pair_logps(policy, repeated, preferences.float().repeat_interleave(pairs, dim=0))
    ratios = logps.reshape(2, n, pairs) - batch.ref_logps.reshape(2, 1, pairs)
    return (ratios[1] - ratios[0]).double().cpu().numpy()
