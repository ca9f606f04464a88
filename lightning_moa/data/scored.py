"""Responses with a reward for each objective: what HaM, SCA and RiC train on, offline and then online."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lightning_moa.batches import PromptBatch
from lightning_moa.data.batching import StepLoader, prompt_batch, sequence_batch
from lightning_moa.data.encoding import Encoded, EncodingRules, encode
from lightning_moa.data.stepping import StepData
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Rewrite = Callable[[str, np.ndarray], str]
"""A prompt and the rewards (m,) of its response to the prompt that is trained on."""


class ScoredRows(StepData):
    """Prompts, a response each, and its rewards.

    Args:
        frame: columns `prompt`, `response`, `score_<objective>` (as the reward models gave it) and
            `reward_<objective>` in [0, 1], higher is better; and, where responses were sampled, `ended`, false for
            one that was cut before its end, which is not closed then.
        objectives: m names.
        rules: the data set's template and lengths.
        rewrite: puts the rewards into the prompt; None leaves prompts as they are.

    Raises:
        UserError: no rows, or a reward that is missing or outside [0, 1].
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        objectives: Sequence[str],
        rules: EncodingRules,
        rewrite: Rewrite | None = None,
    ) -> None:
        super().__init__()
        self.frame = frame.reset_index(drop=True)
        self.objectives = tuple(objectives)
        self.rules = rules
        self.rewards = check_unit(
            self.frame[[f"reward_{name}" for name in objectives]].to_numpy(), objectives
        )
        if not len(self.frame):
            raise UserError("scored rows: there are none")
        self._rewrite = rewrite
        self._encoded: tuple[object, Encoded] | None = None

    @classmethod
    def read(cls, folder: Path, *args: Any, **kwargs: Any) -> ScoredRows:
        """Those that `write` has left in a folder."""
        return cls(pd.read_parquet(folder / ROWS), *args, **kwargs)

    def write(self, folder: Path) -> None:
        """One parquet file."""
        self.frame.to_parquet(folder / ROWS, index=False)

    def encoded(
        self, tokenizer: PreTrainedTokenizerFast, split: str = "train", view: str = "sequences"
    ) -> Encoded:
        """The rows as tokens, worked out once per tokenizer."""
        if self._encoded is None or self._encoded[0] is not tokenizer:
            prompts, change = self.frame["prompt"].tolist(), self._rewrite
            responses = [(text,) for text in self.frame["response"]]
            rewrite = None if change is None else lambda i, prompt: change(prompt, self.rewards[i])
            ended = self.frame["ended"].tolist() if "ended" in self.frame else None
            made = encode(tokenizer, prompts, responses, self.rules, rewrite, ended)
            if not len(made):
                raise UserError(
                    f"no scored row fits data.max_response_length={self.rules.max_response_length} and "
                    f"data.max_length={self.rules.max_length} tokens"
                )
            self._encoded = (tokenizer, made)
        return self._encoded[1]

    @property
    def dropped(self) -> Counter[str]:
        """Rows left out, by reason, once they are encoded."""
        return Counter() if self._encoded is None else self._encoded[1].dropped

    def use(
        self,
        tokenizer: PreTrainedTokenizerFast,
        view: str,
        *,
        batch_size: int,
        steps: int,
        seed: int,
    ) -> ScoredRows:
        """Set what `train_dataloader()` yields, as `PreferenceData.use` does."""
        encoded, pad = self.encoded(tokenizer), int(tokenizer.pad_token_id)
        self._loader = StepLoader(
            lambda rows: sequence_batch(encoded, rows, pad, self.rewards),
            len(encoded),
            batch_size=batch_size,
            steps=steps,
            seed=seed,
        )
        return self

    def batches(
        self, tokenizer: PreTrainedTokenizerFast, batch_size: int, limit: int | None = None
    ) -> Iterator[Any]:
        """All rows that fit, or the first `limit` of them, once and in order."""
        encoded, pad = self.encoded(tokenizer), int(tokenizer.pad_token_id)
        rows = len(encoded) if limit is None else min(limit, len(encoded))
        for start in range(0, rows, batch_size):
            chosen = np.arange(start, min(start + batch_size, rows))
            yield sequence_batch(encoded, chosen, pad, self.rewards)


ROWS = "rows.parquet"


def check_unit(rewards: np.ndarray, objectives: Sequence[str]) -> np.ndarray:
    """The rewards, (n, m), if all lie in [0, 1].

    Raises:
        UserError: names the objective and the row of the first one that doesn't.
    """
    # Written so that NaN fails too.
    bad = np.argwhere(~((rewards >= 0) & (rewards <= 1)))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"reward '{objectives[column]}' of row {row} is {rewards[row, column]}: rewards that weigh a likelihood "
            f"must lie in [0, 1]"
        )
    return rewards


def prompts_in_pairs(
    tokenizer: PreTrainedTokenizerFast,
    rules: EncodingRules,
    prompts: Sequence[str],
    rewrite: Callable[[int, str], str] | None,
    batch_size: int,
) -> Iterator[tuple[PromptBatch, PromptBatch]]:
    """Batches of rewritten prompts, and of the same prompts as they were, to sample and to compare from.

    Both carry the prompts' own text, which reward models want, as much of it as fits once it is rewritten, and the same
    index: the place among `prompts`. Prompts without a token are left out.
    """
    pad = int(tokenizer.pad_token_id)
    asking = encode(tokenizer, prompts, None, rules, rewrite)
    plain = encode(tokenizer, asking.shown, None, rules)
    common, plain = plain.index, replace(plain, index=asking.index[plain.index])
    for start in range(0, len(common), batch_size):
        rows = np.arange(start, min(start + batch_size, len(common)))
        yield prompt_batch(asking, common[rows], pad), prompt_batch(plain, rows, pad)
