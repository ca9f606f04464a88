"""A tiny world as a table: every response, so that any policy is a row of probabilities and nothing is estimated."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from lightning_moa.errors import UserError
from lightning_moa.world.exact import ExactWorld
from lightning_moa.world.lexicon import SPECIAL
from lightning_moa.world.text import parse_prompts

MOST_TEXTS = 100_000
"""Texts of response words up to the world's limit, beyond which they are not listed."""
CLOSE = 1e-9
"""How far sums of probabilities may be from what they are."""


@dataclass(frozen=True, eq=False)
class Listing:
    """Every response that the reference of a tiny world can give to each of its P prompts, R of them."""

    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    logps: np.ndarray
    """(P, R) log-probabilities of the reference."""
    rewards: np.ndarray
    """(P, R, m) gold rewards, higher is better."""

    @classmethod
    def of(cls, world: ExactWorld, objectives: Sequence[str]) -> Self:
        """All prompts of the world, each as likely as another.

        Raises:
            UserError: a world with too many responses, whose prompts differ in what can be said or in how often they
                come, or whose responses have words of prompts; an unknown objective.
        """
        prompts = sorted(set(world.sample_prompts(10_000, np.random.default_rng(0))))
        _check_shares(world, prompts)
        asked = {*SPECIAL, *(word for prompt in prompts for word in prompt.split())}
        spoken = [word for word in world.vocabulary if word not in asked]
        limit = world.max_response_tokens
        count = sum(len(spoken) ** length for length in range(1, limit + 1))
        if count > MOST_TEXTS:
            raise UserError(
                f"listing: {len(spoken)} words make {count:,} texts of up to {limit}; allowed are {MOST_TEXTS:,}, "
                "see Size.tiny"
            )
        texts = [
            " ".join(words)
            for length in range(1, limit + 1)
            for words in itertools.product(spoken, repeat=length)
        ]
        logps = np.array([world.response_logprob([prompt] * len(texts), texts) for prompt in prompts])
        possible = np.isfinite(logps)
        if (possible != possible[0]).any():
            raise UserError("listing: what can be said differs between prompts; allowed is one list for all")
        total = np.exp(logps).sum(axis=1)
        if abs(total - 1).max() > CLOSE:
            raise UserError(
                f"listing: the responses of words that no prompt has make up {total.min():.6f} of the reference's; "
                "allowed is a world whose responses have no word of its prompts"
            )
        kept = [text for text, is_possible in zip(texts, possible[0], strict=True) if is_possible]
        rewards = np.array([world.rewards([prompt] * len(kept), kept, objectives) for prompt in prompts])
        return cls(tuple(prompts), tuple(kept), logps[:, possible[0]], rewards)

    def tilted(self, scores: np.ndarray, beta: float) -> np.ndarray:
        """(P, R) log-probabilities of the best policy for E[score] - beta KL: ~ reference * exp(score / beta).

        Args:
            scores: (P, R), of any function of prompt and response.
            beta: weight of the KL, above 0, in units of score per nat.
        """
        logs = self.logps + scores / beta
        logs -= logs.max(axis=1, keepdims=True)
        return np.asarray(logs - np.log(np.exp(logs).sum(axis=1, keepdims=True)))

    def expected(self, policy: np.ndarray) -> tuple[np.ndarray, float]:
        """(m,) expected rewards of a policy (P, R) of log-probabilities, and its KL from the reference in nats."""
        shares = np.exp(policy)
        rewards = np.einsum("pr,prm->m", shares, self.rewards) / len(shares)
        return rewards, float((shares * (policy - self.logps)).sum() / len(shares))


def _check_shares(world: ExactWorld, prompts: Sequence[str]) -> None:
    """Raise a `UserError` where a prompt of one kind comes more often than one of another."""
    kinds, _ = parse_prompts(world.grammar, prompts)
    counts = np.bincount(kinds, minlength=len(world.kinds))
    shares = world.kind_shares[kinds] / counts[kinds]
    if abs(shares - 1 / len(prompts)).max() > CLOSE:
        listed = ", ".join(
            f"{kind} {share:g} of {count}"
            for kind, share, count in zip(world.kinds, world.kind_shares, counts, strict=True)
        )
        raise UserError(
            f"listing: each prompt must be as likely as another; shares and numbers of prompts are {listed}"
        )
