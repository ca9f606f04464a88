"""Policies over a language, and their exact expected rewards, KL and mode shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from lightning_moa.world.language import START, Language, RewardTables


@dataclass(frozen=True, eq=False)
class Policy:
    """A policy: first the group of the next word, then the word.

    Axes: step T, group G or words of a group k_g, state S, kind of prompt R, case C.
    """

    log_groups: np.ndarray
    """(T, G, S, R, C) log-probability of a group at a step in a state; -inf where it never comes."""
    log_tokens: tuple[np.ndarray, ...]
    """for each group (k_g, S, R, C) log-probability of its words, given the group."""

    @cached_property
    def group_steps(self) -> np.ndarray:
        """(T, G, S, R, C) cumulative probabilities over the groups, the last one exactly 1."""
        return _cumulative(self.log_groups, axis=1)

    def token_steps(self, group: int, states: np.ndarray, kinds: np.ndarray, cases: np.ndarray) -> np.ndarray:
        """(k_g, n) cumulative probabilities over the words for n states, kinds and cases, the last one exactly 1."""
        return _cumulative(self.log_tokens[group][:, states, kinds, cases], axis=0)


@dataclass(frozen=True, eq=False)
class Expectation:
    """What a policy gets in exact expectation over prompts and responses."""

    rewards: np.ndarray
    """(m,) expected reward of a response, higher is better."""
    kl: float
    """KL(policy || reference) of a whole response, in nats."""
    modes: np.ndarray
    """(R, M) probability of each mode on each kind of prompt."""


def reference_policy(language: Language) -> Policy:
    """The reference: the language's probabilities, alike at every step and for every topic."""
    groups, shape = language.log_groups, language.shape
    return Policy(
        log_groups=np.broadcast_to(groups[..., None], (language.limit, len(groups), *shape)),
        log_tokens=tuple(
            np.broadcast_to(log[:, None, None, None], (len(log), *shape)) for log in language.log_tokens
        ),
    )


def solve(language: Language, tables: RewardTables, preference: np.ndarray, beta: float) -> Policy:
    """The optimum of lambda . r - beta KL, by soft dynamic programming from the last step to the first.

    It is the reference tilted by the preferred reward, pi*(y|x) ~ pi_ref(y|x) exp(lambda . r(x, y) / beta).
    With Q_t(s, g) = log pi_ref(g|s) + log sum_w pi_ref(w|g) exp(lambda . r(s, w) / beta) + V_{t+1}(s'), the
    next group has probability exp(Q_t(s, g) - V_t(s)), V_t(s) = log sum_g exp Q_t(s, g), and V after the last
    step is 0: a response that reaches the limit is cut and earns what it has.

    Args:
        tables: rewards of the m objectives.
        preference: (m,), on the simplex.
        beta: weight of the KL, above 0, in units of reward per nat.
    """
    scale = preference[:, None, None, None] * tables.scale
    log_sums = np.empty((len(language.log_groups), *language.shape))
    log_tokens = []
    alike = not tables.scale.any()
    for group, ids in enumerate(language.case_members):
        if alike:
            # No word is better than another of its group.
            log_sums[group] = np.tensordot(preference, tables.offset[:, group], axes=1)[..., None] / beta
            log = language.log_tokens[group]
            log_tokens.append(np.broadcast_to(log[:, None, None, None], (len(log), *language.shape)))
            continue
        tilt = np.einsum("isr,iwk->wsrk", scale[:, group], tables.quality[:, ids])
        tilt += np.tensordot(preference, tables.offset[:, group], axes=1)[..., None]
        tilt /= beta
        tilt += language.log_tokens[group][:, None, None, None]
        log_sums[group] = _logsumexp(tilt)
        log_tokens.append(tilt - log_sums[group])
    log_sums += language.log_groups[..., None]

    value = np.zeros(log_sums.shape[1:])
    log_groups = np.empty((language.limit, *log_sums.shape))
    for step in reversed(range(language.limit)):
        score = log_sums + value[language.next_state]
        value = _logsumexp(score)
        np.subtract(score, value, out=log_groups[step])
    return Policy(log_groups, tuple(log_tokens))


def largest(language: Language, tables: RewardTables) -> np.ndarray:
    """(m,) the largest reward that one response which the reference can give has, over all prompts."""
    gains = np.full((len(tables.scale), len(language.log_groups), *language.shape), -np.inf)
    for group, ids in enumerate(language.case_members):
        said = np.isfinite(language.log_tokens[group])
        quality = tables.quality[:, ids[said]]
        # A scale may be below 0, and the least quality the best.
        ends = [
            tables.scale[:, group, ..., None] * end(quality, axis=1)[:, None, None]
            for end in (np.min, np.max)
        ]
        gains[:, group] = np.maximum(*ends) + tables.offset[:, group, ..., None]
    gains += np.where(np.isfinite(language.log_groups), 0.0, -np.inf)[..., None]
    value = np.zeros((len(gains), *language.shape))
    for _ in range(language.limit):
        value = (gains + value[:, language.next_state]).max(axis=1)
    return np.asarray(value[:, START].max(axis=(1, 2)))


def expect(language: Language, tables: RewardTables, policy: Policy, shares: np.ndarray) -> Expectation:
    """Exact expectations by a forward pass over the occupancies of (state, kind of prompt).

    Args:
        tables: rewards of the m objectives.
        shares: (R,) probability of each kind of prompt; topics are uniform.
    """
    occupancy = np.zeros(language.shape)
    occupancy[START] = shares[:, None] * np.bincount(language.cases) / len(language.cases)
    visits = np.zeros(policy.log_groups.shape[1:])
    kl = 0.0
    transition = _transition(language.next_state)
    for log_step in policy.log_groups:
        flow = np.exp(log_step)
        flow *= occupancy
        kl += _weighted(flow, log_step)
        visits += flow
        occupancy = (transition @ flow.reshape(transition.shape[1], -1)).reshape(occupancy.shape)
    # The logs of policy and reference are summed apart: they share their -inf, which must not meet.
    kl -= _weighted(visits.sum(axis=-1), language.log_groups)
    rewards = np.einsum("gsr,igsr->i", visits.sum(axis=-1), tables.offset)
    for group, (log_token, ids) in enumerate(zip(policy.log_tokens, language.case_members, strict=True)):
        if not visits[group].any():
            continue
        flow = np.exp(log_token)
        flow *= visits[group]
        kl += _weighted(flow, log_token) - _weighted(flow.sum(axis=(1, 2, 3)), language.log_tokens[group])
        quality = np.einsum("wsrk,iwk->isr", flow, tables.quality[:, ids], optimize=True)
        rewards += np.einsum("isr,isr->i", quality, tables.scale[:, group])
    weights = np.bincount(language.cases) / len(language.cases)
    modes = (np.exp(policy.log_groups[0, : len(language.modes), START]) * weights).sum(axis=-1)
    return Expectation(rewards, max(kl, 0.0), modes.T)


def _weighted(flow: np.ndarray, logs: np.ndarray) -> float:
    """Sum of flow * logs; a log of -inf has no flow and counts as 0."""
    return float(np.vdot(flow, np.maximum(logs, np.finfo(np.float64).min)))


def _transition(next_state: np.ndarray) -> csr_array:
    """(S, G * S) 0/1 matrix that carries the flow of (group, state) to the next state."""
    flat = next_state.reshape(-1)
    return csr_array(
        (np.ones(len(flat)), (flat, np.arange(len(flat)))), shape=(next_state.shape[1], len(flat))
    )


def _logsumexp(scores: np.ndarray) -> np.ndarray:
    """Log of the sum of exponentials over the first axis, which holds at least one finite score."""
    top = scores.max(axis=0)
    return np.log(np.exp(scores - top).sum(axis=0)) + top


def _cumulative(log_probabilities: np.ndarray, axis: int) -> np.ndarray:
    steps = np.exp(log_probabilities).cumsum(axis=axis)
    steps /= steps.take([-1], axis=axis)
    return steps
