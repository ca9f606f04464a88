"""Your own file of single responses, each with a score for every objective."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from lightning_moa.data.answer_files import read_answers
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import DataConfig
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.tables import AnswerTable, PairTable
from lightning_moa.errors import UserError


class ScoredAnswers(PreferenceData):
    """Prompts with single responses that carry scores: sequences and prompts, but no pairs.

    A child gives `read`. The same prompt may have several responses; they are all on one side of the split.
    """

    config: DataConfig
    no_pairs = "data=answers has single responses, no pairs, so nothing can be learnt from preferences of it"
    """What is said where pairs are asked for."""

    def __init__(self, config: DataConfig, objectives: Sequence[str] | None = None) -> None:
        super().__init__(config, objectives)
        self.report.unit = "answers"
        self._answers: dict[str, AnswerTable] | None = None

    @abstractmethod
    def read(self) -> dict[str, AnswerTable]:
        """The responses of "train" and "eval"."""

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """Those of `config.labels`."""
        return tuple(choice.objective for choice in choose_labels(self.config.labels, objectives))

    def tables(self) -> dict[str, PairTable]:
        """Raises `UserError`: there are no pairs."""
        raise UserError(self.no_pairs)

    def answers(self, split: str) -> AnswerTable:
        """The responses of a split ("train" or "eval"), read once."""
        if self._answers is None:
            self._answers = self.read()
        return self._answers[split]

    def sft_rows(self, split: str) -> tuple[list[str], list[str]]:
        """Prompts and responses, whatever their scores."""
        return self.answers(split).prompts, self.answers(split).responses

    def sequence_rewards(self, split: str) -> np.ndarray | None:
        """(k, m) their scores, as they stand, higher is better."""
        return self.answers(split).rewards

    def _rows(self, split: str) -> AnswerTable:
        return self.answers(split)


class Answers(ScoredAnswers):
    """Responses of a local file or folder, each with a number for every objective, in one of these forms, told apart by
    their columns and said in a printed line:

    - a prompt and a response a row (`prompt_column`, `response_column`), other columns of numbers;
    - a prompt and a list of completions, each with numbers of its own;
    - messages that end in the response, other columns of numbers.

    `data.labels.<objective>=<column>` chooses a score, '-column' one of which less is better. A row without a score for
    every objective is dropped and counted; any other value is an error that names its row. Likelihood methods are
    trained on the scores as they stand; what is sampled is scored by a reward model that is fitted to them, or by what
    `likelihood.rewards` or `ppo.rewards` names.
    """

    def read(self) -> dict[str, AnswerTable]:
        """Those of `config.path`."""
        return read_answers(self.config, self.objectives, self.report)  # type: ignore[arg-type]
