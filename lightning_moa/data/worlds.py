"""Rows drawn from a synthetic world, labelled by its gold rewards: what every such data set shares."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerFast

from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import WorldConfig
from lightning_moa.data.tables import GoldReward, PairTable
from lightning_moa.data.world_objectives import choose_objectives
from lightning_moa.world import ExactFront, ExactWorld, Optimum

TILTS = 8
"""How many random preferences the tilted responses come from."""


class WorldData(PreferenceData):
    """Pairs of responses to a world's prompts, with a Bradley-Terry label per objective.

    A pair's responses come from the world's reference policy, or, for a share of them, from the exact optima of a
    few random preferences, so that the pairs cover what a trained policy may do. A share of the world's few dozen
    prompts is held out: no supervised row, pair or rollout of training has one of them.

    With `labellers` nobody is asked about single objectives: each pair has one label, of one labeller, and that is
    the label of every objective. A reward model trained on it is a single-objective one, whatever its number of
    outputs, and so is a policy trained on any weighted sum of them (Panacea, Appendix A).

    A subclass builds the world and lists its prompts in groups of alike ones.
    """

    config: WorldConfig

    @property
    @abstractmethod
    def world(self) -> ExactWorld:
        """The world that the rows are drawn from."""

    @abstractmethod
    def prompt_groups(self) -> list[tuple[list[str], int]]:
        """Prompts that differ in nothing that the exact optimum knows, such as those of one kind and topic, and how
        often each comes beside another group's.

        Of each group the same share is held out, so that the exact front holds for the held-out prompts alone."""

    def distinct_prompts(self, split: str) -> list[str]:
        """The prompts of a split, each as often as its share asks: what pairs are drawn from and `prompt_list`
        repeats."""
        rng = np.random.default_rng([self.config.split_seed, 7])
        chosen = []
        for prompts, repeats in self.prompt_groups():
            held = max(1, min(len(prompts) - 1, round(self.config.eval_fraction * len(prompts))))
            out = set(rng.permutation(len(prompts))[:held].tolist())
            kept = [prompt for i, prompt in enumerate(prompts) if (i in out) == (split == "eval")]
            chosen += [prompt for prompt in kept for _ in range(repeats)]
        return sorted(chosen)

    @property
    def _seed(self) -> int:
        return self.config.seed or 0

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        return choose_objectives(self.config, objectives)

    def tables(self) -> dict[str, PairTable]:
        tilts = np.random.default_rng([self._seed, 0]).dirichlet(np.ones(len(self.objectives)), TILTS)
        policies = [self.world.optimum(tilt, self.config.tilt_beta, self.objectives) for tilt in tilts]
        return {
            "train": self._pairs("train", self._at_most(self.config.pairs), 1, policies),
            "eval": self._pairs("eval", self._at_most(self.config.eval_pairs), 2, policies),
        }

    def sft_rows(self, split: str) -> tuple[list[str], list[str]]:
        """Responses of the reference policy."""
        rng = np.random.default_rng([self._seed, 3 if split == "train" else 4])
        prompts = self._prompts(split, self._at_most(self.config.sft_rows), rng)
        return prompts, self.world.sample_responses(prompts, rng)

    def prompt_list(self, split: str) -> list[str]:
        """`distinct_prompts` in a random order, and again in another, until they are as many as the held-out pairs.

        They repeat, since a response is one draw among many.
        """
        distinct = self.distinct_prompts(split)
        rng = np.random.default_rng([self._seed, 5 if split == "train" else 6])
        rounds = -(-self._at_most(self.config.eval_pairs) // len(distinct))
        return [distinct[i] for _ in range(rounds) for i in rng.permutation(len(distinct))]

    def subsets(self, split: str) -> dict[str, str]:
        """A world has no parts."""
        return {}

    def world_tokenizer(self) -> PreTrainedTokenizerFast:
        """The world's own word-level tokenizer."""
        return self.world.tokenizer()

    def gold_rewards(self) -> dict[str, GoldReward]:
        return {name: self._gold(name) for name in self.objectives}

    def exact_front(self, preferences: np.ndarray, beta: float) -> ExactFront:
        return self.world.exact_front(preferences, beta, self.objectives)

    def _at_most(self, rows: int) -> int:
        return rows if self.config.limit is None else min(rows, self.config.limit)

    def _gold(self, name: str) -> GoldReward:
        return lambda prompts, responses: self.world.rewards(prompts, responses, [name])[:, 0]

    def _prompts(self, split: str, n: int, rng: np.random.Generator) -> list[str]:
        distinct = self.distinct_prompts(split)
        return [distinct[i] for i in rng.integers(len(distinct), size=n)]

    def _pairs(self, split: str, n: int, stream: int, tilted: Sequence[Optimum]) -> PairTable:
        rng = np.random.default_rng([self._seed, stream])
        prompts = self._prompts(split, n, rng)
        first, second = self._responses(prompts, rng, tilted), self._responses(prompts, rng, tilted)
        labels = self.world.label_pairs(prompts, first, second, self.objectives, rng, self._labellers(n))
        labels = np.broadcast_to(labels, (n, len(self.objectives)))
        return PairTable(prompts, list(zip(first, second, strict=True)), labels, self.objectives)

    def _labellers(self, n: int) -> np.ndarray | None:
        """(n, m) the preference of the labeller of each pair, in turn; None where each objective has its own label."""
        preferences = np.array(list(self.config.labellers.values()))
        return preferences[np.arange(n) % len(preferences)] if len(preferences) else None

    def _responses(
        self, prompts: list[str], rng: np.random.Generator, tilted: Sequence[Optimum]
    ) -> list[str]:
        source = rng.integers(TILTS, size=len(prompts))
        source[rng.random(len(prompts)) >= self.config.tilted_share] = -1
        out = [""] * len(prompts)
        for tilt in range(-1, TILTS):
            rows = np.flatnonzero(source == tilt)
            policy = None if tilt < 0 else tilted[tilt]
            drawn = self.world.sample_responses([prompts[i] for i in rows], rng, policy)
            for i, text in zip(rows, drawn, strict=True):
                out[i] = text
        return out
