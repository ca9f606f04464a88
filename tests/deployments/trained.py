"""Tiny trained policies in their folders, and what a deployment is handed of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from lightning_moa.policies import Heads, LoRA, Policy, RewardPrompt, SVDLoRA
from lightning_moa.policies.settings import RiCConfig
from lightning_moa.runs.context import Trained
from tests.policies.models import shake, tiny

OBJECTIVES = ("helpful", "harmless")
GRID = [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
LOW, HIGH = [0.0, -1.0], [1.0, 2.0]
PATHS = {kind: f"{kind.__module__}:{kind.__qualname__}" for kind in (LoRA, SVDLoRA, Heads)}


def made(kind: type[Policy], seed: int, steps: float = 0.3) -> Policy:
    """A policy as training would leave it; `steps` says how far it has moved."""
    options = {LoRA: {"rank": 2}, SVDLoRA: {"k": 2, "m": 2}, Heads: {"heads": 3, "rank": 2}}
    policy = shake(kind(tiny(), **options.get(kind, {}), seed=seed), seed, std=steps)
    if isinstance(policy, Heads):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for head in policy.bank.heads.parameters():
                head.add_(steps * torch.randn(head.shape, generator=generator))
    return policy.eval()


def trained(
    root: Path,
    kind: type[Policy],
    at: Sequence[Sequence[float] | None],
    *,
    snapshots: Sequence[int] = (),
    sections: dict[str, type] | None = None,
) -> Trained:
    """A policy for each entry of `at`, seeds 0, 1, ..., and its snapshots, which have moved by a tenth a step."""
    inputs = {}
    for place in range(len(at)):
        inputs[f"policy{place:05d}"] = root / str(place)
        made(kind, place).save(root / str(place) / "policy")
        for step in snapshots:
            made(kind, place, step / 10).save(root / str(place) / f"step-{step}")
    (root / "rows").mkdir()
    (root / "rows" / "about.json").write_text(json.dumps({"low": LOW, "high": HIGH}))
    inputs["rows"] = root / "rows"
    spec = {
        "grid": GRID,
        "trained_at": [None if row is None else list(row) for row in at],
        "policy": PATHS.get(kind, f"{kind.__module__}:{kind.__qualname__}"),
        "sections": {"ric": asdict(RiCConfig())},
    }
    base = Policy(tiny()).requires_grad_(False).eval()
    return Trained(spec, inputs, OBJECTIVES, Bytes(), base, sections or {})


class Bytes:
    """A tokenizer that spells everything."""

    unk_token_id = None

    def __call__(self, words, add_special_tokens, split_special_tokens):
        assert split_special_tokens
        assert not add_special_tokens
        return {"input_ids": [list(word.encode()) for word in words]}


def goals(preference: Sequence[float]) -> str:
    """What stands in the prompt of one who asks for this preference."""
    prompt = RewardPrompt.of(RiCConfig(), OBJECTIVES, LOW, HIGH)
    return prompt.insert("how are you", prompt.target_rewards(np.array(preference)))
