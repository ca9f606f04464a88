"""The reference policy's log-probs of all pairs, once for all policies of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightning_moa.batches import moved
from lightning_moa.policies import response_logps
from lightning_moa.processes import all_objects, own_share, world_size
from lightning_moa.runs.loading import device_of, load_base, load_data
from lightning_moa.runs.training import prepare
from lightning_moa.task_files import Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


@torch.no_grad()
def reference(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> None:
    """Log-probs of both responses of every pair under the reference policy, once for all policies of a study."""
    prepare(spec["hardware"])
    policy, tokenizer = load_base(inputs["base"], spec["hardware"])
    data = load_data(spec)
    device = device_of(spec["hardware"])
    for split, start in (("train", 0.0), ("eval", 0.8)):
        table = np.full((len(data.table(split)), 2), np.nan)
        done = 0
        for loaded in own_share(data.batches(tokenizer, split, "pairs", max(1, spec["batch_size"] // 2))):
            batch = moved(loaded, device)
            logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)
            table[batch.index.cpu().numpy()] = logps.double().cpu().numpy().reshape(2, -1).T
            done += len(batch.index)
            progress(start + (0.8 - start * 0.75) * done * world_size() / len(table))
        for part in all_objects(table):
            table = np.where(np.isnan(table), part, table)
        np.save(out / f"{split}.npy", table, allow_pickle=False)
