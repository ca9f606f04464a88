"""What the heads of a finished run say of the rows that it was trained on. Light until it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from lightning_moa.data.encoding import EncodingRules


class Finished(Protocol):
    """A task of which the result is there."""

    @property
    def key(self) -> str: ...

    @property
    def spec(self) -> Mapping[str, Any]: ...

    @property
    def needs(self) -> Mapping[str, Finished]: ...


def offline_logps(task: Finished, runs: Path, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The log-probs of a run's rows under its heads, and what weighs them.

    Args:
        task: an `align` task of a policy of heads on scored rows, finished.
        runs: the folder of runs.
        batch_size: rows of one forward pass.

    Returns:
        log p(y | x; theta_k) of whole responses, (K, n), nats, and the weights r_j^power, (n, J), in [0, 1], of the n
        rows that fit the run's lengths, in the rows' order; float64.
    """
    import torch

    from lightning_moa.batches import moved
    from lightning_moa.data.scored import ScoredRows
    from lightning_moa.policies import head_logps, load_policy
    from lightning_moa.runs.loading import device_of, load_base
    from lightning_moa.runs.training import prepare

    spec = task.spec
    prepare(spec["hardware"])
    base, tokenizer = load_base(runs / task.needs["base"].key, spec["hardware"])
    rows = ScoredRows.read(runs / task.needs["rows"].key, spec["objectives"], _rules(spec["data"]))
    policy = load_policy(base.model, runs / task.key / "policy").eval()
    logps, rewards = [], []
    with torch.no_grad():
        for loaded in rows.batches(tokenizer, batch_size):
            batch = moved(loaded, device_of(spec["hardware"]))
            values = head_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)
            logps.append(values.double().cpu().numpy())
            rewards.append(batch.rewards.double().cpu().numpy())
    return np.concatenate(logps, axis=1), np.concatenate(rewards) ** spec["settings"]["power"]


def _rules(data: dict[str, object]) -> EncodingRules:
    from lightning_moa.data.encoding import OPTIONS, EncodingRules

    return EncodingRules(**{name: data[name] for name in OPTIONS})  # type: ignore[arg-type]
