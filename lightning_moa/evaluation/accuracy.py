"""Implicit-reward accuracy: how often a policy ranks a held-out pair as its labels do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lightning_moa.batches import PairBatch
from lightning_moa.policies import Policy, pair_logps
from lightning_moa.processes import all_objects


@torch.no_grad()
def implicit_accuracies(
    policy: Policy, batches: Iterable[PairBatch], preferences: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Share of pairs whose better response has the larger implicit reward (Panacea, 5.1).

    The implicit reward is beta (log pi - log pi_ref); the comparison needs no beta. A tie is no success, as in the
    paper. All preferences of a batch are evaluated in one forward pass.

    Args:
        policy: takes any preference.
        batches: held-out pairs with `ref_logps`; of several processes, each has its own.
        preferences: (n, m).

    Returns:
        Accuracies (n, m), in [0, 1]; and the number of labelled pairs of each objective, (m,).
    """
    hits: np.ndarray | None = None
    counts: np.ndarray | None = None
    for batch in batches:
        margins = _margins(policy, batch, preferences)
        labels = batch.labels.cpu().numpy()
        labelled = ~np.isnan(labels)
        right = np.where(labels > 0.5, margins[..., None] > 0, margins[..., None] < 0) & labelled
        hits = right.sum(1) + (0 if hits is None else hits)
        counts = labelled.sum(0) + (0 if counts is None else counts)
    found = [part for part in all_objects((hits, counts)) if part[0] is not None]
    if not found:
        raise ValueError("no pairs to evaluate on")
    hits, counts = (sum(parts) for parts in zip(*found, strict=True))
    return hits / np.where(counts == 0, np.nan, counts), counts


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
