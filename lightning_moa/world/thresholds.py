"""A world in which rewards count only where all of them reach a threshold in one response.

What is wanted is a utility of each response, E[lambda . u(r(y))] - beta KL: the expected scalarised return of
multi-objective reinforcement learning (Roijers, Steckelmacher and Nowe 2018). Scalarisations of mean rewards are after
the scalarised expected return, f(E[r(y)]) - beta KL, instead: what a mixture of policies has on average, and is of no
use if no response has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.world.exact import ExactWorld, Optimum, check_beta, check_preferences, check_seed
from lightning_moa.world.grammar import Grammar
from lightning_moa.world.language import RewardTables
from lightning_moa.world.lexicon import Size
from lightning_moa.world.policy import solve
from lightning_moa.world.rewards import OBJECTIVES, reward_tables
from lightning_moa.world.text import token_rewards, walk
from lightning_moa.world.tracked import Tracked

NAMES = ("helpful", "humorous")
THRESHOLDS = (0.5, 0.5)
STEP = 0.25
"""What a word earns is a multiple of this; sums are exact."""


@dataclass(frozen=True, eq=False)
class BenignGrammar(Grammar):
    """The grammar of benign prompts alone, whose topics are alike."""

    @classmethod
    def of(cls, size: Size) -> Self:
        both = super().of(size)
        alike = tuple(ids[:, :1] for ids in both.members)
        cases = np.zeros_like(both.cases)
        return replace(both, log_groups=both.log_groups[..., :1], cases=cases, case_members=alike)

    def parse_prompt(self, text: str) -> tuple[int, int]:
        """0 and the topic, of "verb topic"."""
        risky, topic = super().parse_prompt(text)
        if risky:
            raise UserError(f"prompt {text!r} is risky: this world's are benign")
        return risky, topic


@dataclass(frozen=True, eq=False)
class ThresholdWorld(ExactWorld):
    """Benign requests, answered helpfully and humorously in the same response, or in vain.

    A response earns r(y), helpful and humorous, as in `World`, but in steps of `STEP` and with words that are as good
    as others of their group. Its gold rewards are u(r): r where every r_i is at least its threshold, else 0. `rewards`,
    `optimum`, `regret` and all that is measured are about these. Labellers of pairs see r, one objective at a time
    (`earned`).

    The best responses for one objective miss the threshold of the other, and those that reach both lie below the line
    between these two: jokes and information share the little room there is for either. No weighted sum of r is largest
    there.
    """

    objectives: ClassVar[tuple[str, ...]] = NAMES
    kinds: ClassVar[tuple[str, ...]] = ("benign",)

    grammar: Tracked
    earnings: RewardTables
    """Of r, over the states of `grammar.base`."""
    thresholds: np.ndarray
    """(2,) above 0, of r."""

    @classmethod
    def build(cls, thresholds: ArrayLike = THRESHOLDS, size: Size | None = None) -> ThresholdWorld:
        """The world; `size` leaves words out (see `Size.tiny`).

        Raises:
            UserError: thresholds that aren't two numbers above 0, or that no response reaches.
        """
        least = np.asarray(thresholds, dtype=np.float64)
        if least.shape != (len(NAMES),) or not np.isfinite(least).all() or (least <= 0).any():
            raise UserError(
                f"thresholds {least.tolist()}: allowed is a number above 0 for each of {', '.join(NAMES)}"
            )
        base = BenignGrammar.of(Size() if size is None else size)
        earnings = _in_steps(base)
        grammar = Tracked.of(base, earnings)
        if not (grammar.sums >= least).all(axis=1).any():
            raise UserError(f"thresholds {least.tolist()}: no response reaches them")
        tables = grammar.tables(lambda sums: counted(sums, least))
        return cls(check_seed(0), np.ones(1), grammar, tables, earnings, least)

    def sample_prompts(self, n: int, rng: np.random.Generator) -> list[str]:
        """n prompts "verb topic", each as likely as another."""
        return [self.prompts[i] for i in rng.integers(len(self.prompts), size=n)]

    @property
    def prompts(self) -> tuple[str, ...]:
        """Every prompt there is, topic by topic."""
        lexicon = self._base.lexicon
        return tuple(f"{verb} {topic}" for topic in lexicon.topics for verb in lexicon.benign_verbs)

    def rewards(
        self, prompts: Sequence[str], responses: Sequence[str], objectives: Sequence[str] | None = None
    ) -> np.ndarray:
        """(n, m) what counts: 0 for a response that misses a threshold, of whatever objective; errors as there."""
        names = self._objectives(objectives)
        return counted(self._earned(prompts, responses), self.thresholds)[:, self._columns(names)]

    def earned(
        self, prompts: Sequence[str], responses: Sequence[str], objectives: Sequence[str] | None = None
    ) -> np.ndarray:
        """(n, m) r(y), whether it counts or not."""
        names = self._objectives(objectives)
        return self._earned(prompts, responses)[:, self._columns(names)]

    def scalarised(self, preference: ArrayLike, beta: float, kl_weight: float | None = None) -> Optimum:
        """The best policy for lambda . E[r] - kl_weight KL, and what it is worth here: its gold rewards, and `value`,
        lambda . gold - beta KL.

        Every policy at which gradient ascent on f(E[r]) - beta KL comes to rest, f smooth and rising in each objective,
        is one of these: ~ reference * exp(w . r / beta), w the slopes of f there.

        Args:
            preference: (2,), on the simplex.
            beta: weight of the KL in `value`.
            kl_weight: weight of the KL that the policy was made with; beta if None.
        """
        weights = check_preferences(preference, len(NAMES), "preference", axes=1)
        beta = check_beta(beta)
        own = beta if kl_weight is None else check_beta(kl_weight)
        policy = self.grammar.lift(solve(self._base, self.earnings, weights, own))
        return self._described(weights, beta, NAMES, policy)

    @property
    def _base(self) -> BenignGrammar:
        base = self.grammar.base
        assert isinstance(base, BenignGrammar)
        return base

    def _columns(self, names: Sequence[str]) -> list[int]:
        return [NAMES.index(name) for name in names]

    def _earned(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return token_rewards(self.earnings, walk(self._base, prompts, responses)).sum(axis=1)


def counted(earned: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(n, m) rewards, those of a response that misses a threshold put to 0."""
    return earned * (earned >= thresholds).all(axis=-1, keepdims=True)


def _in_steps(grammar: BenignGrammar) -> RewardTables:
    """What words earn on benign prompts, all of quality 1, rounded to steps."""
    tables = reward_tables(grammar, 0).select([OBJECTIVES.index(name) for name in NAMES])
    earned = np.round((tables.scale + tables.offset)[..., :1] / STEP) * STEP
    return RewardTables(np.zeros_like(earned), earned, np.ones_like(tables.quality))
