"""What is measured of a method's policies: accuracies on held-out pairs, rewards of sampled responses."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lightning_moa.batches import PairBatch, PromptBatch
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.scored import prompts_in_pairs
from lightning_moa.evaluation import (
    Decoding,
    implicit_accuracies,
    joined,
    mean_rows,
    sample_asked,
    sample_grid,
    score,
)
from lightning_moa.policies import Policy, RewardPrompt
from lightning_moa.processes import own_share
from lightning_moa.rewards import Rewards, RuleRewards
from lightning_moa.runs.loading import HubChoice, device_of, learned_rewards, load_base, load_data
from lightning_moa.strategies.quantisation import base_dtype

Spec = dict[str, Any]


class Measure:
    """Collects one row per evaluated policy and preference.

    Args:
        spec: an `evaluate` task's; says what to measure on.
        inputs: the finished `base`, `reference` and `rewards` tasks.
    """

    def __init__(self, spec: Spec, inputs: dict[str, Path]) -> None:
        self.spec = spec["evaluation"]
        self.hardware = spec["hardware"]
        self.device = device_of(self.hardware)
        self.base, self.tokenizer = load_base(inputs["base"], self.hardware)
        self.data = load_data(spec)
        self.prompts = self.data if spec["prompts"] is None else load_data(spec | {"data": spec["prompts"]})
        self.objectives = self.data.objectives
        # Implicit accuracies are asked of policies that were trained on pairs.
        self.ref_logps = (
            np.load(inputs["reference"] / "eval.npy", allow_pickle=False) if "reference" in inputs else None
        )
        self.sources: dict[str, Rewards] = {}
        hub, folder = (
            HubChoice(**spec["hub"], dtype=base_dtype(self.hardware["precision"])),
            inputs.get("rewards"),
        )
        if folder is not None or hub.models:
            self.sources["reward"] = learned_rewards(
                None if folder is None else folder / "model",
                hub,
                self.objectives,
                self.spec["batch_size"],
                self.device,
            )
        gold = self.prompts.gold_rewards()
        if gold is not None:
            self.sources["gold"] = RuleRewards(gold)
        self.points: list[pd.DataFrame] = []
        self.accuracies: list[pd.DataFrame] = []
        self.responses: list[pd.DataFrame] = []

    def add(
        self,
        name: str,
        policy: Policy,
        preferences: torch.Tensor | None,
        *,
        step: int,
        goals: RewardPrompt | None = None,
    ) -> None:
        """Measure a policy under each preference (n, m); None measures one that knows no preference.

        goals: puts the one preference that is asked for into the prompts.
        """
        policy.eval()
        m = len(self.objectives)
        asked = torch.full((1, m), 1 / m, dtype=torch.float64) if preferences is None else preferences
        decoding = Decoding(
            self.spec["max_new_tokens"],
            self.spec["temperature"],
            self.spec["top_p"],
            self.spec["sample_seed"],
        )
        if goals is None:
            frame = sample_grid(policy, self._prompts(len(asked)), asked, decoding, self.tokenizer)
        else:
            pairs = self._asked(goals, asked[0].numpy())
            frame = sample_asked(policy, pairs, asked[:1], decoding, self.tokenizer)
        sampled = joined(score(frame, self.sources))
        points = mean_rows(sampled, preferences, self.objectives)
        self.points.append(points.assign(policy=name, step=step))
        weights = [f"lambda_{name}" for name in self.objectives]
        sampled[weights] = points[weights].to_numpy()[sampled.pop("preference")]
        self.responses.append(sampled.assign(policy=name, step=step))
        if preferences is not None and self.ref_logps is not None:
            values, counts = implicit_accuracies(policy, self._pairs(len(asked)), asked)
            frame = points[[f"lambda_{name}" for name in self.objectives]].copy()
            for i, objective in enumerate(self.objectives):
                frame[f"accuracy_{objective}"] = values[:, i]
            self.accuracies.append(frame.assign(n=int(counts.min()), policy=name, step=step))

    def write(self, out: Path) -> None:
        """`points.csv`, `accuracies.csv` and `responses.csv`, without the study's names."""
        for name, frames in (
            ("points", self.points),
            ("accuracies", self.accuracies),
            ("responses", self.responses),
        ):
            if frames:
                # Texts are quoted: a carriage return in a bare one would end its row.
                pd.concat(frames, ignore_index=True).to_csv(
                    out / f"{name}.csv", index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
                )

    def _pairs(self, preferences: int) -> Iterator[PairBatch]:
        """Held-out pairs, so few at a time that all preferences fit in one pass."""
        rows = max(1, self.spec["batch_size"] // (2 * preferences))
        return self._batches(self.data, "pairs", rows, self.spec["pairs"], ref_logps=self.ref_logps)

    def _prompts(self, preferences: int) -> Iterator[PromptBatch]:
        rows = max(1, self.spec["batch_size"] // preferences)
        return self._batches(self.prompts, "prompts", rows, self.spec["prompts"])

    def _asked(
        self, goals: RewardPrompt, preference: np.ndarray
    ) -> Iterator[tuple[PromptBatch, PromptBatch]]:
        """The prompts with the rewards that a preference asks for, and as they are."""
        prompts = self.prompts.prompt_list("eval")[: self.spec["prompts"]]
        rewards = goals.asked(preference)
        rewritten = [goals.insert(prompt, rewards) for prompt in prompts]
        rules = EncodingRules.of(self.prompts.config)
        pairs = prompts_in_pairs(self.tokenizer, rules, prompts, rewritten, self.spec["batch_size"])
        for pair in own_share(pairs):
            yield moved(pair[0], self.device), moved(pair[1], self.device)

    def _batches(
        self, data: PreferenceData, view: str, rows: int, limit: int, **known: np.ndarray | None
    ) -> Iterator[Any]:
        for batch in own_share(data.batches(self.tokenizer, "eval", view, rows, limit=limit, **known)):
            yield moved(batch, self.device)
