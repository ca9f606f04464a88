"""The reference policy's log-probs of all pairs, once for all policies of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_moa.objectives.held_out import keep_reference, reference_logps
from lightning_moa.runs.loading import device_of, load_base, load_data
from lightning_moa.runs.training import prepare
from lightning_moa.task_files import Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


def reference(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> None:
    """Log-probs of both responses of every pair under the reference policy, once for all policies of a study."""
    prepare(spec["hardware"])
    policy, tokenizer = load_base(inputs["base"], spec["hardware"])
    data, pairs = load_data(spec), max(1, spec["batch_size"] // 2)
    for split, start in (("train", 0.0), ("eval", 0.8)):

        def told(share: float, start: float = start) -> None:
            progress(start + (0.8 - start * 0.75) * share)

        device = device_of(spec["hardware"])
        table = reference_logps(policy, data, tokenizer, split, pairs, device, told)
        keep_reference(out, split, table, data)
