"""What is measured of a method's policies: accuracies on held-out pairs, rewards of sampled responses."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lightning_moa.batches import PairBatch, PromptBatch, moved
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.scored import prompts_in_pairs
from lightning_moa.deployments import Deployed
from lightning_moa.errors import UserError
from lightning_moa.evaluation import (
    Decoding,
    by_rules,
    implicit_margins,
    joined,
    mean_rows,
    sample_grid,
    sample_rewritten,
    score,
)
from lightning_moa.objectives.held_out import kept_reference
from lightning_moa.policies import Policy
from lightning_moa.policies.steering import check_preference
from lightning_moa.processes import own_share
from lightning_moa.rewards import Rewards, RuleRewards
from lightning_moa.rewards.trained import TrainedRewards
from lightning_moa.runs.loading import device_of, load_base, load_data, reward_source

Spec = dict[str, Any]

PROMPTS = {"data": "prompts", "data_class": "prompts_class", "files": "prompt_files"}
"""What a spec says of its data, and what of the prompts that are measured on where those are of others."""

EVALUATION = 2**32
"""What is added to a seed of measurements, so that no training of an equal seed samples with their noise."""

ANOTHER = 2**40
"""What is added for each further response to the same prompts, so that no other seed's noise is that one's."""


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
        self.prompts = (
            self.data
            if spec["prompts"] is None
            else load_data({**spec, **{name: spec[prompts] for name, prompts in PROMPTS.items()}})
        )
        self.objectives = self.data.objectives
        # Implicit accuracies are asked of policies that were trained on pairs.
        self.ref_logps = (
            kept_reference(inputs["reference"], "eval", self.data) if "reference" in inputs else None
        )
        self.sources: dict[str, Rewards] = {}
        if spec["rewards"]:
            self.sources["reward"] = reward_source(spec, inputs, self.prompts, self.spec["batch_size"])
        gold = self.prompts.gold_rewards()
        if gold is not None:
            self.sources["gold"] = RuleRewards(gold)
        if "judge" in inputs:
            self.sources["judge"] = TrainedRewards(
                inputs["judge"] / "model", self.spec["batch_size"], str(self.device)
            )
        self._seen: set[tuple[str, int | None]] = set()
        self.points: list[pd.DataFrame] = []
        self.accuracies: list[pd.DataFrame] = []
        self.ranked: list[pd.DataFrame] = []
        self.responses: list[pd.DataFrame] = []

    def add(self, deployed: Deployed, steps: int, deployment: str = "", *, on_pairs: bool = True) -> None:
        """Measure a policy under each of its preferences.

        Args:
            deployed: the policy.
            steps: updates that its method's policies have had at their end.
            deployment: whose it is, for errors.
            on_pairs: whether implicit accuracies may be asked of it.

        Raises:
            UserError: what the deployment yields is no row of points.csv.
        """
        check_deployed(deployed, len(self.objectives), deployment)
        key = (deployed.name, deployed.step)
        if key in self._seen:
            raise UserError(
                f"{deployment}: two policies of one name and step, {deployed.name!r}; names tell them apart"
            )
        self._seen.add(key)
        policy, preferences, name = deployed.policy, deployed.preferences, deployed.name
        step = steps if deployed.step is None else deployed.step
        policy.eval()
        m = len(self.objectives)
        grid = torch.full((1, m), 1 / m, dtype=torch.float64) if preferences is None else preferences
        frames = [self._sampled(deployed, grid, k).assign(sample=k) for k in range(self.spec["responses"])]
        sampled = joined(score(pd.concat(frames, ignore_index=True), self.sources))
        if self.spec["rules"] and len(sampled):
            sampled = by_rules(sampled)
        points = mean_rows(sampled, preferences, self.objectives)
        self.points.append(points.assign(policy=name, step=step))
        weights = [f"lambda_{name}" for name in self.objectives]
        sampled[weights] = points[weights].to_numpy()[sampled.pop("preference")]
        self.responses.append(sampled.assign(policy=name, step=step))
        if on_pairs and preferences is not None and self.ref_logps is not None:
            margins = implicit_margins(policy, self._pairs(len(grid)), grid)
            values, counts = margins.accuracies()
            frame = points[[f"lambda_{name}" for name in self.objectives]].copy()
            for i, objective in enumerate(self.objectives):
                frame[f"accuracy_{objective}"] = values[:, i]
            self.accuracies.append(frame.assign(n=int(counts.min()), policy=name, step=step))
            self.ranked.append(self._ranked(frame, margins.right()).assign(policy=name, step=step))

    def _sampled(self, deployed: Deployed, grid: torch.Tensor, k: int) -> pd.DataFrame:
        """The k-th response to each prompt under each preference."""
        decoding = Decoding(
            self.spec["max_new_tokens"],
            self.spec["temperature"],
            self.spec["top_p"],
            EVALUATION + self.spec["sample_seed"] + k * ANOTHER,
        )
        if deployed.rewrite is None:
            return sample_grid(deployed.policy, self._prompts(len(grid)), grid, decoding, self.tokenizer)
        pairs = self._rewritten(deployed.rewrite)
        return sample_rewritten(deployed.policy, pairs, grid[:1], decoding, self.tokenizer)

    def _ranked(self, rows: pd.DataFrame, right: np.ndarray) -> pd.DataFrame:
        """One row a preference and held-out pair: `lambda_*`, `pair`, and `accuracy_*`, whether it is ranked right."""
        n, pairs, _ = right.shape
        weights = rows[[f"lambda_{name}" for name in self.objectives]]
        frame = (
            weights.loc[weights.index.repeat(pairs)]
            .reset_index(drop=True)
            .assign(pair=np.tile(range(pairs), n))
        )
        for i, objective in enumerate(self.objectives):
            frame[f"accuracy_{objective}"] = right[..., i].ravel()
        return frame

    def rows(self) -> dict[str, dict[str, int]]:
        """How many prompts, and pairs where there are accuracies, it measures on, by the part of the data set that they
        are of: the first ones of a random order in which any first rows hold each part's share (`data.order.spread`).
        """
        index = self.prompts.encoded(self.tokenizer, "eval", "prompts").index[: self.spec["prompts"]]
        names = self.prompts.prompt_list("eval")
        # A data set of one's own need not tell of parts.
        subsets: dict[str, str] = self.prompts.subsets("eval") if hasattr(self.prompts, "subsets") else {}
        found = {"prompts": _counted([subsets.get(names[i], "") for i in index])}
        if self.ref_logps is not None:
            index = self.data.encoded(self.tokenizer, "eval", "pairs").index[: self.spec["pairs"]]
            parts = self.data.table("eval").subsets
            found["pairs"] = _counted([parts[i] if parts else "" for i in index])
        return found

    def write(self, out: Path) -> None:
        """`points.csv`, `accuracies.csv`, `ranked.csv` and `responses.csv`, without the study's names."""
        for name, frames in (
            ("points", self.points),
            ("accuracies", self.accuracies),
            ("ranked", self.ranked),
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

    def _rewritten(self, rewrite: Callable[[str], str]) -> Iterator[tuple[PromptBatch, PromptBatch]]:
        """The prompts as the policy gets them, and as they are."""
        # The same ones as where nothing is rewritten: the first of those that fit.
        index = self.prompts.encoded(self.tokenizer, "eval", "prompts").index[: self.spec["prompts"]]
        names = self.prompts.prompt_list("eval")
        prompts = [names[i] for i in index]
        rules, size = EncodingRules.of(self.prompts.config), self.spec["batch_size"]
        pairs = prompts_in_pairs(self.tokenizer, rules, prompts, lambda _, prompt: rewrite(prompt), size)
        for asking, plain in own_share(pairs):
            # Places in the split, as where nothing is rewritten: noise and what is drawn over prompts hang on them.
            places = torch.from_numpy(index)[asking.index]
            yield tuple(moved(replace(each, index=places), self.device) for each in (asking, plain))

    def _batches(
        self, data: PreferenceData, view: str, rows: int, limit: int, **known: np.ndarray | None
    ) -> Iterator[Any]:
        for batch in own_share(data.batches(self.tokenizer, "eval", view, rows, limit=limit, **known)):
            yield moved(batch, self.device)


def _counted(parts: Sequence[str]) -> dict[str, int]:
    """Part -> rows, in the alphabet's order; those of no part under `all`."""
    return {part or "all": count for part, count in sorted(Counter(parts).items())}


def check_deployed(deployed: Any, m: int, deployment: str) -> None:
    """Raise `UserError` for what is no row of points.csv."""
    where = deployment or "measuring"
    if not isinstance(deployed, Deployed):
        raise UserError(f"{where}.policies: a Deployed is expected, {type(deployed).__name__} came")
    if not isinstance(deployed.policy, Policy):
        raise UserError(
            f"{where}.policies: {deployed.name} is no Policy but a {type(deployed.policy).__name__}"
        )
    preferences = deployed.preferences
    if preferences is None:
        return
    if not isinstance(preferences, torch.Tensor) or preferences.ndim != 2 or not len(preferences):
        raise UserError(f"{where}.policies: {deployed.name}: preferences are a tensor (n, {m}), or None")
    try:
        check_preference(preferences, m)
    except UserError as error:
        raise UserError(f"{where}.policies: {deployed.name}: {error}") from error
