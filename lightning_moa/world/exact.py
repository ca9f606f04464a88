"""What every synthetic world offers once its language and rewards are given: samples, labels, exact optima."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.world.language import Language, RewardTables
from lightning_moa.world.lexicon import SEP
from lightning_moa.world.policy import Expectation, Policy, expect, largest, reference_policy, solve
from lightning_moa.world.sampling import logprob, sample_tokens, texts
from lightning_moa.world.text import parse_prompts, token_rewards, walk

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, eq=False)
class Optimum:
    """The KL-regularised optimum pi*_lambda of one preference, exact."""

    objectives: tuple[str, ...]
    preference: np.ndarray
    """(m,)"""
    beta: float
    rewards: np.ndarray
    """(m,) expected rewards, higher is better."""
    kl: float
    """KL(pi* || reference) of a response, in nats."""
    value: float
    """lambda . rewards - beta * kl, which no policy exceeds."""
    modes: dict[str, dict[str, float]]
    """Kind of prompt -> mode -> its probability."""
    policy: Policy


@dataclass(frozen=True, eq=False)
class ExactFront:
    """The optima of n preferences."""

    objectives: tuple[str, ...]
    beta: float
    preferences: np.ndarray
    """(n, m)"""
    rewards: np.ndarray
    """(n, m) expected rewards, higher is better."""
    kl: np.ndarray
    """(n,) nats."""
    values: np.ndarray
    """(n,) lambda . rewards - beta * kl."""
    modes: dict[str, np.ndarray]
    """Kind of prompt -> (n, M) probability of each of the world's modes."""
    mode_names: tuple[str, ...]
    """The M modes, in order."""

    @property
    def risky_modes(self) -> np.ndarray:
        """(n, M) probability of each mode on a risky prompt, in the world that has such prompts."""
        return self.modes["risky"]


@dataclass(frozen=True, eq=False)
class ExactWorld(ABC):
    """A small language with gold rewards in which the best policy of every preference is known exactly.

    A response has at most `max_response_tokens` tokens, its EOS included: it ends by EOS, or is cut after
    the last token that fits, without an EOS. Rewards, sampling, log-probabilities and the optimum agree on
    this; words beyond the limit are ignored.

    An empty response, or one whose first word is no opener, pays for that; it is scored as one of the first mode.
    Unknown words, openers after the first word and words after a closer pay the cost of a misplaced word. The
    reference never does any of this: such responses have log-probability -inf.
    """

    objectives: ClassVar[tuple[str, ...]]
    """All that the world has, in order."""
    kinds: ClassVar[tuple[str, ...]]
    """The kinds of prompt, in order; on the last one the objectives are at odds."""
    prompt_template: ClassVar[str] = f"{{prompt}} {SEP}"
    """What a model is given for a prompt, after the BOS that the tokenizer adds."""

    seed: int
    kind_shares: np.ndarray
    """(R,) probability of each kind of prompt, in `sample_prompts` and in every exact expectation."""
    grammar: Language
    tables: RewardTables

    @property
    def max_response_tokens(self) -> int:
        """Most tokens of a response, EOS included."""
        return self.grammar.limit

    @property
    def mode_names(self) -> tuple[str, ...]:
        """The kinds of response, chosen by the first word; any other first word is mode 'other'."""
        return self.grammar.modes

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every token's text; a token's id is its place here. Special tokens come first."""
        return self.grammar.words

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A word-level tokenizer with pad, bos, eos, sep and unk; see `tokenizer.build_tokenizer`."""
        from lightning_moa.world.tokenizer import build_tokenizer

        return build_tokenizer(self.grammar.words)

    @cached_property
    def reference(self) -> Policy:
        """The reference policy."""
        return reference_policy(self.grammar)

    # Prompts and responses

    @abstractmethod
    def sample_prompts(self, n: int, rng: np.random.Generator) -> list[str]:
        """n prompts, each of a kind as often as `kind_shares` says."""

    def sample_responses(
        self, prompts: Sequence[str], rng: np.random.Generator, policy: Optimum | None = None
    ) -> list[str]:
        """One response for each prompt, from the reference or from an optimum of this world."""
        kinds, topics = parse_prompts(self.grammar, prompts)
        return texts(self.grammar, sample_tokens(self.grammar, self._policy(policy), kinds, topics, rng))

    def response_logprob(
        self, prompts: Sequence[str], responses: Sequence[str], policy: Optimum | None = None
    ) -> np.ndarray:
        """(n,) log-probability under the reference or an optimum, EOS included; -inf off its support."""
        return logprob(self.grammar, self._policy(policy), walk(self.grammar, prompts, responses))

    def modes(self, responses: Sequence[str]) -> list[str]:
        """(n,) the mode that each response opens in: one of `mode_names`, or 'other'."""
        openers = enumerate(self.grammar.members[: len(self.mode_names)])
        mode_of = {self.vocabulary[token]: self.mode_names[i] for i, ids in openers for token in ids[:, 0]}
        return [mode_of.get(next(iter(text.split()), ""), "other") for text in responses]

    # Rewards and labels

    def rewards(
        self, prompts: Sequence[str], responses: Sequence[str], objectives: Sequence[str] | None = None
    ) -> np.ndarray:
        """(n, m) float64 gold rewards of any text, higher is better; all objectives if none are named.

        Raises:
            UserError: an unknown objective, a prompt that is not of this world, not one response a prompt.
        """
        tables = self._tables(self._objectives(objectives))
        return token_rewards(tables, walk(self.grammar, prompts, responses)).sum(axis=1)

    def earned(
        self, prompts: Sequence[str], responses: Sequence[str], objectives: Sequence[str] | None = None
    ) -> np.ndarray:
        """(n, m) what labellers see of the rewards, one objective at a time: the same, where a world says no other."""
        return self.rewards(prompts, responses, objectives)

    def label_pairs(
        self,
        prompts: Sequence[str],
        responses_0: Sequence[str],
        responses_1: Sequence[str],
        objectives: Sequence[str] | None,
        rng: np.random.Generator,
        preferences: ArrayLike | None = None,
    ) -> np.ndarray:
        """(n, m) 0.0 or 1.0: the index of the better response, drawn for each objective by itself.

        Bradley-Terry: P(response 1 is better) = sigmoid(r_i(response 1) - r_i(response 0)), r as in `earned`.

        With `preferences` (n, m) the label is (n, 1): the one verdict of a labeller who weighs the objectives so,
        P = sigmoid(lambda . (r(response 1) - r(response 0))) (Panacea, eq. 10).
        """
        gap = self.earned(prompts, responses_1, objectives) - self.earned(prompts, responses_0, objectives)
        if preferences is not None:
            weights = check_preferences(preferences, gap.shape[1], "preferences", axes=2)
            gap = (weights * gap).sum(axis=1, keepdims=True)
        return (rng.random(gap.shape) < 1.0 / (1.0 + np.exp(-gap))).astype(np.float64)

    # Exact expectations

    def expected(self, policy: Optimum | None = None, objectives: Sequence[str] | None = None) -> Expectation:
        """Exact rewards, KL and mode shares of the reference, or of an optimum under any objectives."""
        return self._expect(self._policy(policy), self._objectives(objectives))

    def optimum(self, preference: ArrayLike, beta: float, objectives: Sequence[str] | None = None) -> Optimum:
        """pi*_lambda = argmax lambda . E[r] - beta KL(pi || pi_ref), with its exact rewards and KL.

        Args:
            preference: (m,), on the simplex.
            beta: weight of the KL, above 0, in units of reward per nat.

        Raises:
            UserError: a preference off the simplex or of another length, a beta that is not above 0, an
                unknown objective.
        """
        names = self._objectives(objectives)
        weights = check_preferences(preference, len(names), "preference", axes=1)
        beta = check_beta(beta)
        return self._described(weights, beta, names, self._solve(weights, beta, names))

    def exact_front(
        self, preferences: ArrayLike, beta: float, objectives: Sequence[str] | None = None
    ) -> ExactFront:
        """The optima of the preferences (n, m), without their policies; errors as in `optimum`.

        About 15 ms for each different preference in `World`, 10 in `SummaryWorld`.
        """
        names, beta = self._objectives(objectives), check_beta(beta)
        weights = check_preferences(preferences, len(names), "preferences", axes=2)
        different, place = np.unique(weights, axis=0, return_inverse=True)
        got = [self._expect(self._solve(row, beta, names), names) for row in different]
        rewards = np.array([each.rewards for each in got]).reshape(different.shape)[place]
        kl = np.array([each.kl for each in got])[place]
        shape = (-1, len(self.kinds), len(self.mode_names))
        shares = np.array([each.modes for each in got]).reshape(shape)[place]
        modes = {kind: shares[:, i] for i, kind in enumerate(self.kinds)}
        values = (weights * rewards).sum(axis=1) - beta * kl
        return ExactFront(names, beta, weights, rewards, kl, values, modes, self.mode_names)

    def ideal_point(self, beta: float, objectives: Sequence[str] | None = None) -> np.ndarray:
        """(m,) the best expected reward of each objective among the m single-objective optima."""
        return self._corners(beta, objectives).max(axis=0)

    def reference_point(self, beta: float, objectives: Sequence[str] | None = None) -> np.ndarray:
        """(m,) hypervolume's corner: the worst reward of each objective among the single-objective optima.

        This is the nadir point of the exact front's corners. With three or more objectives an optimum of a
        mixed preference can lie below it in an objective; it then adds nothing to the hypervolume.
        """
        return self._corners(beta, objectives).min(axis=0)

    def largest_rewards(self, objectives: Sequence[str] | None = None) -> np.ndarray:
        """(m,) the largest reward of each objective that one response has: no r_i(x, y) of the reference's support
        lies above it."""
        return largest(self.grammar, self._tables(self._objectives(objectives)))

    def regret(
        self,
        preferences: ArrayLike,
        rewards: ArrayLike,
        kl: ArrayLike,
        beta: float,
        objectives: Sequence[str] | None = None,
    ) -> np.ndarray:
        """(n,) how far n policies stay below the optima of the preferences that they were asked for.

        value(pi*_lambda) - (lambda . r - beta KL), in units of reward; 0 is best. It is never negative for
        exact expectations against the world's reference; an estimate, or a KL from another reference, may
        make it so.

        Args:
            preferences: (n, m), on the simplex.
            rewards: (n, m) the policies' expected rewards.
            kl: (n,) their KL from the reference, in nats.
        """
        front = self.exact_front(preferences, beta, objectives)
        got, spent = np.asarray(rewards, dtype=np.float64), np.asarray(kl, dtype=np.float64)
        if got.shape != front.rewards.shape or spent.shape != front.kl.shape:
            raise UserError(
                f"regret: rewards {got.shape} and kl {spent.shape} do not fit preferences "
                f"{front.preferences.shape}; allowed: (n, m), (n,), (n, m)"
            )
        if not (np.isfinite(got).all() and np.isfinite(spent).all()):
            raise UserError("regret: rewards and kl must be finite")
        return front.values - ((front.preferences * got).sum(axis=1) - front.beta * spent)

    def _corners(self, beta: float, objectives: Sequence[str] | None) -> np.ndarray:
        """(m, m) rewards of the optimum of each objective alone."""
        names = self._objectives(objectives)
        return self.exact_front(np.eye(len(names)), beta, names).rewards

    def _solve(self, preference: np.ndarray, beta: float, names: tuple[str, ...]) -> Policy:
        return solve(self.grammar, self._tables(names), preference, beta)

    def _expect(self, policy: Policy, names: tuple[str, ...]) -> Expectation:
        return expect(self.grammar, self._tables(names), policy, self.kind_shares)

    def _described(
        self, preference: np.ndarray, beta: float, names: tuple[str, ...], policy: Policy
    ) -> Optimum:
        """Any policy, and what it is worth to a preference: of the best one, the optimum."""
        got = self._expect(policy, names)
        modes = {
            kind: dict(zip(self.mode_names, row.tolist(), strict=True))
            for kind, row in zip(self.kinds, got.modes, strict=True)
        }
        value = float(preference @ got.rewards) - beta * got.kl
        return Optimum(names, preference, beta, got.rewards, got.kl, value, modes, policy)

    def _policy(self, policy: Optimum | None) -> Policy:
        return self.reference if policy is None else policy.policy

    def _objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        names = self.objectives if objectives is None else tuple(objectives)
        if not names or len(set(names)) != len(names) or not set(names) <= set(self.objectives):
            raise UserError(
                f"objectives {list(names)}: allowed are different ones of {', '.join(self.objectives)}"
            )
        return names

    def _tables(self, names: tuple[str, ...]) -> RewardTables:
        return self.tables.select([self.objectives.index(name) for name in names])


def check_preferences(values: ArrayLike, m: int, what: str, axes: int) -> np.ndarray:
    """float64 (m,), with 1 axis, or (n, m), with 2; every row on the simplex to 1e-6, else UserError."""
    array = np.asarray(values, dtype=np.float64)
    shape = "(m,)" if axes == 1 else "(n, m)"
    if array.ndim != axes or array.shape[-1] != m:
        raise UserError(f"{what} of shape {array.shape}: {shape} with m = {m} objectives is allowed")
    if not np.isfinite(array).all() or (array < 0).any() or (abs(array.sum(axis=-1) - 1.0) > 1e-6).any():
        raise UserError(f"{what} {array.tolist()}: weights must be finite, at least 0, and sum to 1")
    return array


def check_beta(beta: float) -> float:
    """The weight of the KL, if it is one; else UserError."""
    if not math.isfinite(beta) or beta <= 0:
        raise UserError(f"beta is {beta}: a finite number above 0 is allowed")
    return float(beta)


def check_seed(seed: int) -> int:
    """The seed, if it is one; else UserError."""
    if seed < 0:
        raise UserError(f"world seed is {seed}: 0 or more is allowed")
    return seed
