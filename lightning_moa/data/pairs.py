"""Your own file of pairs: a prompt, two responses, and a column of 0/1 for each objective."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import PairsConfig
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.pair_files import read_pairs, tables_of
from lightning_moa.data.tables import PairTable

if TYPE_CHECKING:
    import pandas as pd


class Pairs(PreferenceData):
    """Pairs of a local file or folder, in any of these forms, told apart by their columns and said in a printed line:

    - a prompt and two responses (`prompt_column`, `response_columns`);
    - prompt, chosen, rejected; or chosen and rejected alone, conversations that begin alike; or messages and
      rejected_response. Their label `chosen` is the chosen one;
    - a prompt and a list of completions, rated one by one, or a response a row with ratings: pairs are made of the
      responses of a prompt, and each rating is a label, for the response that it is higher for.

    A prompt or a response is a text, or a list of messages with role and content; such a prompt may have several turns
    and a system's message.

    Labels are the other columns, and the rule `shorter`: `data.labels.<objective>=<column>`, where the column holds the
    index of the better response (0, 1, false, true, a, b), or null, -1, 0.5 or tie where it is neither; '-column'
    reverses it. A column `<name>_better_id` may be called `<name>`. A column of numbers that are partly below 0 and
    partly beyond 1 or -1 holds strengths, -3 to 3: below 0 the first response is the better one. One of -1, 0 and 1
    alone holds indices.
    `data.scores.<objective>=[column_0,column_1]` makes a label of two ratings.
    Any other value is an error that names its row. Texts are taken as they stand.
    """

    config: PairsConfig

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """Those of `config.labels`."""
        return tuple(choice.objective for choice in choose_labels(self.config.label_columns(), objectives))

    def tables(self) -> dict[str, PairTable]:
        """The pairs of "train" and "eval"."""
        return read_pairs(self.config, self.objectives, self.report)


class PublishedPairs(Pairs):
    """Pairs of a published set, whose columns are one of the forms above."""

    strengths: ClassVar[tuple[str, ...]] = ()
    """Label columns that hold strengths, whatever numbers a part of the set has."""

    @abstractmethod
    def frames(self) -> Mapping[str, pd.DataFrame]:
        """The rows of "train" and, where there is one, of "eval": of `config.path`, or of the hub."""

    def tables(self) -> dict[str, PairTable]:
        """The pairs of "train" and "eval"."""
        return tables_of(self.frames(), self.config, self.objectives, self.report, self.strengths)
