"""The LightningDataModule that every data set is, and the one to begin one's own with (`RowData`).

A data set's own file (`hh_rlhf.py`, `pku_saferlhf.py`, ...) only reads its rows. Everything after that is
shared: the user's `labels` choose a column for each objective, bad rows are dropped and counted, prompts are
split (`rows.py`), texts are encoded (`encoding.py`), batches are made (`batching.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightning_moa.data.batching import (
    Batch,
    MakeBatch,
    StepLoader,
    pair_batch,
    prompt_batch,
    sequence_batch,
)
from lightning_moa.data.config_checks import check_config
from lightning_moa.data.configs import DataConfig
from lightning_moa.data.encoding import Encoded, EncodingRules
from lightning_moa.data.given_rows import rows_of
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.order import spread
from lightning_moa.data.remembered import encode_once
from lightning_moa.data.rows import pair_tables
from lightning_moa.data.stepping import StepData
from lightning_moa.data.tables import AnswerTable, DropReport, GoldReward, PairTable, check_labelled
from lightning_moa.errors import UserError
from lightning_moa.world import ExactFront

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPLITS = ("train", "eval")
VIEWS = ("sequences", "pairs", "prompts")


class PreferenceData(StepData):
    """Pairs of responses with a label per objective, in a training and an evaluation split.

    A subclass gives `tables()`. `use(...)` says what `train_dataloader()` yields; `batches(...)` goes through
    a whole split once, in order. `report` counts what was left out, per split and per encoding.

    config: the data set's options. objectives: m names, in order; None for the data set's default.
    Raises `UserError` for options or objectives that are not allowed.
    """

    config: DataConfig
    objectives: tuple[str, ...]
    close_cut = False
    """As of `EncodingRules`; set before anything is encoded."""

    def __init__(self, config: DataConfig, objectives: Sequence[str] | None = None) -> None:
        super().__init__()
        check_config(config)
        self.config = config
        self.objectives = self.choose_objectives(objectives)
        self.report = DropReport()
        self._cached_tables: dict[str, PairTable] | None = None
        self._encoded: dict[tuple[str, str], Encoded] = {}
        self._tokenizer: PreTrainedTokenizerFast | None = None

    @abstractmethod
    def tables(self) -> dict[str, PairTable]:
        """The pairs of "train" and "eval", labels (n, m) in the order of `self.objectives`."""

    @abstractmethod
    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """The m objectives' names, in order. Raises `UserError` for one that the data set cannot give."""

    def table(self, split: str) -> PairTable:
        """The pairs of a split ("train" or "eval"), read once."""
        _check_choice("split", split, SPLITS)
        if self._cached_tables is None:
            self._cached_tables = self.tables()
        return self._cached_tables[split]

    def sft_rows(self, split: str) -> tuple[list[str], list[str]]:
        """Prompts and responses of k rows to train a likelihood on: both responses of each pair."""
        table = self.table(split)
        prompts = [prompt for prompt in table.prompts for _ in range(2)]
        return prompts, [response for pair in table.responses for response in pair]

    def sequence_rewards(self, split: str) -> np.ndarray | None:
        """(k, m) rewards of `sft_rows(split)`, higher is better, where the data has them; else None."""
        _check_choice("split", split, SPLITS)
        return None

    def prompt_list(self, split: str) -> list[str]:
        """The distinct prompts of a split; those to evaluate on so that any first of them stand for all."""
        rows = self._rows(split)
        return distinct_prompts(rows.prompts, rows.subsets, split, self.config.split_seed)

    def subsets(self, split: str) -> dict[str, str]:
        """Prompt -> the part of the data set that it is of; empty where there are no parts."""
        rows = self._rows(split)
        return first_subsets(rows.prompts, rows.subsets)

    def _rows(self, split: str) -> PairTable | AnswerTable:
        """The rows that a split's prompts stand in."""
        return self.table(split)

    def fit_texts(self) -> list[str]:
        """Texts of the training split, to fit a tokenizer on: each prompt in its template, every response."""
        rules = EncodingRules.of(self.config)
        return [rules.prompt_text(prompt) for prompt in self.prompt_list("train")] + self.sft_rows("train")[1]

    def gold_rewards(self) -> dict[str, GoldReward] | None:
        """The true reward of each objective, where it is known (a synthetic world); else None."""
        return None

    def exact_front(self, preferences: np.ndarray, beta: float) -> ExactFront | None:
        """The best policies of the preferences, where they are known (a synthetic world); else None.

        The best policy for a preference lambda maximises sum_i lambda_i E[r_i] - beta KL(policy ||
        reference). preferences: (n, m) on the simplex, in the order of `self.objectives`.
        """
        return None

    def use(
        self,
        tokenizer: PreTrainedTokenizerFast,
        view: str,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        rewards: np.ndarray | None = None,
        ref_logps: np.ndarray | None = None,
        chosen: np.ndarray | None = None,
    ) -> PreferenceData:
        """Set what `train_dataloader()` yields, and return self.

        view: "sequences" (`SequenceBatch`), "pairs" (`PairBatch`) or "prompts" (`PromptBatch`) of the
        training split. batch_size: rows of a step, over all `world_size` processes; this one, `rank`, gets an
        equal contiguous share. steps: number of batches; batch t depends on (seed, t) alone, and those before
        `start_step` are left out. rewards: (k, m) of `sft_rows("train")`, for sequences (None: those that the
        data has), or (n, 2, m) of `table("train")`'s responses, for pairs. ref_logps: (n, 2) their summed
        reference log-probs. chosen: places among the encoded rows that batches are drawn from; None: all.

        Raises `UserError` where pairs of a split have no label of an objective at all.
        """
        if view == "pairs" and rewards is None:
            check_labelled({split: self.table(split) for split in SPLITS})
        make, rows = self._view(tokenizer, "train", view, rewards, ref_logps)
        if chosen is not None:
            of_all, rows = make, len(chosen)

            def make(places: np.ndarray) -> Batch:
                return of_all(chosen[places])

        self._loader = StepLoader(
            make,
            rows,
            batch_size=batch_size,
            steps=steps,
            seed=seed,
            start_step=start_step,
            rank=rank,
            world_size=world_size,
        )
        return self

    def batches(
        self,
        tokenizer: PreTrainedTokenizerFast,
        split: str,
        view: str,
        batch_size: int,
        *,
        limit: int | None = None,
        rewards: np.ndarray | None = None,
        ref_logps: np.ndarray | None = None,
    ) -> Iterator[Batch]:
        """A split once, in order, the last batch as small as it comes.

        limit: only the first so many rows that fit the lengths. Other arguments as of `use`.
        """
        make, rows = self._view(tokenizer, split, view, rewards, ref_logps)
        rows = rows if limit is None else min(rows, limit)
        for start in range(0, rows, batch_size):
            yield make(np.arange(start, min(start + batch_size, rows)))

    def encoded(self, tokenizer: PreTrainedTokenizerFast, split: str, view: str) -> Encoded:
        """A split's texts as tokens, worked out once per tokenizer; what is dropped goes into `report`.

        Raises `UserError` where no row fits the allowed lengths.
        """
        _check_choice("split", split, SPLITS)
        _check_choice("view", view, VIEWS)
        if tokenizer is not self._tokenizer:
            self._tokenizer = tokenizer
            self._encoded.clear()
        if (split, view) not in self._encoded:
            prompts, responses = self._texts(split, view)
            rules = replace(EncodingRules.of(self.config), close_cut=self.close_cut)
            result = encode_once(tokenizer, prompts, responses, rules)
            stage = f"{split} as {view}"
            self.report.restart(stage)
            self.report.kept[stage] = len(result)
            for reason, count in result.dropped.items():
                self.report.drop(stage, reason, count)
            for what, count in result.changed.items():
                self.report.change(stage, what, count)
            if not len(result):
                raise UserError(
                    f"no row of the {split} split fits data.max_response_length="
                    f"{self.config.max_response_length} and data.max_length={self.config.max_length} tokens: "
                    + ", ".join(f"{reason} {count}" for reason, count in result.dropped.items())
                )
            self._encoded[split, view] = result
        return self._encoded[split, view]

    def _texts(self, split: str, view: str) -> tuple[list[str], Sequence[Sequence[str]] | None]:
        if view == "pairs":
            table = self.table(split)
            return table.prompts, table.responses
        if view == "sequences":
            prompts, responses = self.sft_rows(split)
            return prompts, [(response,) for response in responses]
        return self.prompt_list(split), None

    def _view(
        self,
        tokenizer: PreTrainedTokenizerFast,
        split: str,
        view: str,
        rewards: np.ndarray | None,
        ref_logps: np.ndarray | None,
    ) -> tuple[MakeBatch, int]:
        """How to make a view's batch of encoded rows, and how many such rows there are."""
        encoded = self.encoded(tokenizer, split, view)
        pad = _pad_of(tokenizer)
        if view == "pairs":
            table = self.table(split)
            if ref_logps is not None:
                _check_shape("ref_logps", ref_logps, (len(table), 2))
            if rewards is not None:
                _check_shape("rewards", rewards, (len(table), 2, len(self.objectives)))
            return lambda rows: pair_batch(encoded, rows, pad, table.labels, ref_logps, rewards), len(encoded)
        if view == "sequences":
            known = self.sequence_rewards(split) if rewards is None else rewards
            if known is not None:
                _check_shape("rewards", known, (len(self.sft_rows(split)[0]), len(self.objectives)))
            return lambda rows: sequence_batch(encoded, rows, pad, known), len(encoded)
        return lambda rows: prompt_batch(encoded, rows, pad), len(encoded)


class RowData(PreferenceData):
    """A data set of one's own: give `rows()`, and everything after it is done here.

    `config.labels` chooses a label for each objective ('-label' reverses it), as well as the rule `shorter`; bad rows
    are dropped and counted; a share of the prompts is held out (`config.eval_fraction`), unless `eval_rows()` gives
    some; texts are encoded, batches made. Options of its own are a dataclass, the class attribute `Config`:

        @dataclass
        class MyConfig(DataConfig):
            labels: dict[str, str] = option({"helpful": "better", "concise": "shorter"}, "objective: label")
            year: int = option(2024, "only rows of this year")

        class MyData(RowData):
            Config = MyConfig

            def rows(self):
                for row in read_my_file(self.config.path, self.config.year):
                    yield row.question, row.answers[0], row.answers[1], {"better": row.vote}
    """

    Config: ClassVar[type[DataConfig]] = DataConfig

    @abstractmethod
    def rows(self) -> Iterable[Sequence[Any] | Mapping[str, Any]]:
        """Every row: (prompt, response_0, response_1, labels), or a mapping with these three texts and the labels.

        labels: label -> index of the better response, 0 or 1, or None where nobody said. A text may be None; its row
        is dropped and counted.
        """

    def eval_rows(self) -> Iterable[Sequence[Any] | Mapping[str, Any]] | None:
        """The rows to evaluate on, as those of `rows`; None: some prompts of `rows` are held out."""
        return None

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """Those of `config.labels`."""
        return tuple(choice.objective for choice in choose_labels(self.config.labels, objectives))

    def tables(self) -> dict[str, PairTable]:
        """The pairs of "train" and "eval".

        Raises:
            UserError: names the row that has another shape, and what is wrong with it.
        """
        name, held_out = type(self).__name__, self.eval_rows()
        rows = {"train": rows_of(self.rows(), f"{name}.rows()")}
        if held_out is not None:
            rows["eval"] = rows_of(held_out, f"{name}.eval_rows()")
        return pair_tables(rows, choose_labels(self.config.labels, self.objectives), self.config, self.report)


def distinct_prompts(prompts: Sequence[str], subsets: Sequence[str], split: str, seed: int) -> list[str]:
    """Each prompt once: those to train on in order of first appearance, those to evaluate on in that of `order.spread`.

    subsets: of each of the prompts; empty where there are none.
    """
    distinct = list(dict.fromkeys(prompts))
    if split != "eval":
        return distinct
    first = first_subsets(prompts, subsets)
    order = spread([(prompt,) for prompt in distinct], [first.get(prompt, "") for prompt in distinct], seed)
    return [distinct[place] for place in order]


def first_subsets(prompts: Sequence[str], subsets: Sequence[str]) -> dict[str, str]:
    """Prompt -> the part that its first row is of; empty where there are no parts."""
    return dict(zip(reversed(prompts), reversed(subsets), strict=True)) if subsets else {}


def _pad_of(tokenizer: PreTrainedTokenizerFast) -> int:
    if tokenizer.pad_token_id is None:
        raise UserError("the tokenizer has no padding token; load_tokenizer gives it one")
    return int(tokenizer.pad_token_id)


def _check_choice(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserError(f"{what}={value!r}: allowed are {', '.join(allowed)}")


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
