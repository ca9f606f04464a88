"""A preference that enters the network as text: rewards written into the prompt (RiC)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from lightning_moa.errors import UserError
from lightning_moa.policies.settings import RiCConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPARE = 0.005
"""How far a weight may be off per objective: that of a weight that was rounded to two decimals."""


class RewardPrompt:
    """Rewards in context (Yang et al. 2024; HaM, section 2.2): x' = x + "<r1> r_1 ... <rJ> r_J".

    In training the prompt carries the rewards that its response has, so the policy learns what responses of
    given rewards look like; in use it carries the rewards that one would like to have, `target_rewards(preference)`.

    Args:
        objectives: J names.
        low: (J,) smallest reward of each objective, r_min.
        high: (J,) largest, r_max, above `low`. Higher is better.
        decimals: to which values are rounded.
        marker: what stands before a value; {i} becomes the objective's number, from 1.
        before: an ending of prompts that has to stay last, such as "\\n\\nAssistant:"; "" for none.

    Raises:
        UserError: no objectives, numbers that aren't J finite ones, a low that isn't below its high,
            negative decimals, or a marker without {i}.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        low: ArrayLike,
        high: ArrayLike,
        decimals: int = 1,
        marker: str = "<r{i}>",
        before: str = "",
    ) -> None:
        self.objectives = tuple(objectives)
        if not self.objectives:
            raise UserError("rewards in the prompt: at least one objective is needed")
        self.low = self._numbers("low", low)
        self.high = self._numbers("high", high)
        for name, least, most in zip(self.objectives, self.low, self.high, strict=True):
            if not least < most:
                raise UserError(f"reward '{name}': low={least} must be below high={most}")
        if decimals < 0:
            raise UserError(f"decimals={decimals}: must be at least 0")
        if "{i}" not in marker:
            raise UserError(f"marker={marker!r}: must hold {{i}}, the objective's number")
        self.decimals = decimals
        self.before = before
        self.markers = tuple(marker.replace("{i}", str(i)) for i in range(1, len(self.objectives) + 1))

    @classmethod
    def of(
        cls, settings: RiCConfig, objectives: Sequence[str], low: ArrayLike, high: ArrayLike
    ) -> RewardPrompt:
        """As a study's section `ric` says; low and high (J,) are the rewards' range."""
        return cls(
            objectives,
            low,
            high,
            decimals=settings.decimals,
            marker=settings.marker,
            before=settings.before,
        )

    def text(self, rewards: ArrayLike) -> str:
        """The text of rewards (J,), such as "<r1> 0.3 <r2> 0.9"; never "-0.0".

        A reward outside of [low, high] is written as the nearer end: so only `tokens` occur, and what is
        asked for is the most that was trained on. Raises `UserError` for NaN, inf or another shape.
        """
        values = np.clip(self._numbers("rewards", rewards), self.low, self.high)
        return " ".join(
            f"{marker} {self._spell(value)}" for marker, value in zip(self.markers, values, strict=True)
        )

    def insert(self, prompt: str, rewards: ArrayLike) -> str:
        """The prompt with rewards (J,): at its end, or in front of the ending `before`, a space on each side.

        Raises `UserError` where the prompt doesn't end in `before`, or as `text` does.
        """
        if not prompt.endswith(self.before):
            raise UserError(f"prompt that ends in {prompt[-40:]!r}: must end in {self.before!r}")
        head = prompt.removesuffix(self.before)
        return f"{head} {self.text(rewards)}" + (f" {self.before}" if self.before else "")

    def target_rewards(self, preference: ArrayLike) -> np.ndarray:
        """The rewards to ask for, by preferences (J,) or (n, J); the shape stays, values are float64.

            f_j(w) = high_j                                  where w_j >= 1/J
                     J w_j (high_j - low_j) + low_j          else

        Weights count by their share of their sum, which may differ from 1 by 0.005 J, as that of weights
        rounded to two decimals does: (.33, .33, .33) is the preference for all objectives alike, and asks
        for `high` of each. A share within 1e-9 of 1/J counts as 1/J.

        Raises `UserError` for another shape, NaN, a negative weight, or a sum farther from 1.
        """
        count = len(self.objectives)
        weights = np.asarray(preference, dtype=np.float64)
        if weights.ndim not in (1, 2) or weights.shape[-1] != count:
            raise UserError(
                f"preference of shape {weights.shape}: {count} weights are needed, one for each of "
                f"{', '.join(self.objectives)}"
            )
        totals = weights.sum(axis=-1, keepdims=True)
        # Written so that NaN fails too; 1e-9 because sums of decimal weights are not exact.
        fine = (weights >= 0).all(axis=-1) & (abs(totals[..., 0] - 1) <= SPARE * count + 1e-9)
        if not fine.all():
            wrong = weights.reshape(-1, count)[np.argmin(np.atleast_1d(fine))]
            raise UserError(f"preference {wrong.tolist()}: allowed are weights >= 0 that sum to 1")
        shares = count * weights / totals
        return np.where(shares >= 1 - 1e-9 * count, self.high, shares * (self.high - self.low) + self.low)

    def draw_goals(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """(n, J) rewards to ask for in an online phase, drawn as RiC does.

        Each row is drawn uniformly in [low, high]; its coordinate that is smallest, as a share of its own
        range, keeps its value and all others become `high`: goals near the front's ends and between them.
        The generator is advanced. Raises `UserError` for n below 1.
        """
        if n < 1:
            raise UserError(f"n={n} goals: must be at least 1")
        shares = generator.random((n, len(self.objectives)))
        smallest = shares == shares.min(axis=1, keepdims=True)
        return np.where(smallest, self.low + shares * (self.high - self.low), self.high)

    def tokens(self) -> list[str]:
        """All words of `text`: the J markers, then the values from the smallest low to the largest high.

        A word-level tokenizer needs them in its vocabulary.
        """
        scale = 10**self.decimals
        first, last = (round(float(self._spell(end)) * scale) for end in (self.low.min(), self.high.max()))
        return [*self.markers, *(self._spell(step / scale) for step in range(first, last + 1))]

    def check(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Raise `UserError` where a tokenizer can't spell one of `tokens`, or spells two of them alike.

        That is: where one becomes the unknown token or nothing. A byte-level tokenizer spells everything.
        """
        words = self.tokens()
        remedy = "add RewardPrompt.tokens() to its vocabulary, or choose a byte-level tokenizer"
        spelled: dict[tuple[int, ...], str] = {}
        read = tokenizer(words, add_special_tokens=False, split_special_tokens=True)
        for word, ids in zip(words, read["input_ids"], strict=True):
            if not ids or tokenizer.unk_token_id in ids:
                raise UserError(f"the tokenizer can't spell {word!r} of the rewards in a prompt: {remedy}")
            twin = spelled.setdefault(tuple(ids), word)
            if twin != word:
                raise UserError(f"the tokenizer spells the rewards {twin!r} and {word!r} alike: {remedy}")

    def _spell(self, value: float) -> str:
        # The z turns -0.0 to 0.0.
        return f"{value:z.{self.decimals}f}"

    def _numbers(self, name: str, values: ArrayLike) -> np.ndarray:
        numbers = np.array(values, dtype=np.float64)
        if numbers.shape != (len(self.objectives),) or not np.isfinite(numbers).all():
            raise UserError(
                f"{name}={numbers.tolist()}: a finite number for each of {', '.join(self.objectives)} is needed"
            )
        return numbers
