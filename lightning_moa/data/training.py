"""The data module of a `Trainer` of one's own: any data set, with its own loaders for training and validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_moa.answers import is_foreign
from lightning_moa.data.base import VIEWS, PreferenceData
from lightning_moa.data.batching import StepLoader
from lightning_moa.data.configs import DataConfig, PairsConfig
from lightning_moa.data.registry import DATASETS, build, data_entry
from lightning_moa.data.tokenizer import load_tokenizer, train_bpe
from lightning_moa.errors import UserError
from lightning_moa.fields import check
from lightning_moa.turns import readable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class TrainingData(L.LightningDataModule):
    """Rows, their tokenizer, and batches of the kind that the module which is trained learns from.

    An epoch has as many batches as fit into the rows; the next one goes through the rows in another order. Batch t of a
    training is a function of (seed, t) alone, so that one that goes on from a checkpoint gets the same rows.

    Args:
        source: a file or folder of pairs (jsonl, json, csv, parquet); a data set's name, such as synthetic or hh_rlhf,
            or 'module:Class'; or a data set.
        labels: objective -> label column of a file of pairs, the index of the better response; '-column' reverses it.
        tokenizer: hub id or folder, mostly the model's; or a tokenizer. None: fitted on the training rows.
        batch_size: rows of a batch, over all processes.
        objectives: m names, in order; None: those of the labels, or the data set's own.
        rewards: (prompts, responses) -> (n, m) scores of responses, higher is better, for what is trained on
            sequences, taken to [0, 1] by the training rows' extremes; a prompt of several turns comes as one plain
            text. None: the data set's own, where it has some, or else 1 for a pair's better response, 0 for the other,
            0.5 where nobody said.
        seed: of the order.
        vocab_size: of a tokenizer that is fitted.
        options: the data set's other options, such as {"max_length": 256, "template": "Q: {prompt} A:"}.

    Raises:
        UserError: there is no such file or data set, or an option that it doesn't have.
    """

    def __init__(
        self,
        source: str | Path | PreferenceData = "synthetic",
        labels: Mapping[str, str] | None = None,
        *,
        tokenizer: Any = None,
        batch_size: int = 32,
        objectives: Sequence[str] | None = None,
        rewards: Callable[[Sequence[str], Sequence[str]], np.ndarray] | None = None,
        seed: int = 0,
        vocab_size: int = 2000,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise UserError(f"{name}={value!r}: allowed are whole numbers of at least {least}")
        if isinstance(objectives, str):
            raise UserError(f"objectives={objectives!r}: a list of names is expected")
        if labels is not None and not _are_texts(labels):
            raise UserError(
                f"labels={labels!r}: a mapping of objectives to columns is expected, text to text"
            )
        self.source = _source(source, labels, objectives, options or {})
        self.batch_size = batch_size
        self.seed = seed
        self.vocab_size = vocab_size
        self.view: str | None = None
        """What a batch is; None: as the module says that is trained."""
        self._tokenizer = tokenizer
        self.made_tokenizer = tokenizer is None
        """Whether it is made for these rows."""
        self._score = rewards
        self._rewards: dict[str, np.ndarray] = {}
        self._ref_logps: dict[str, np.ndarray] = {}
        self._pair_rewards: dict[str, np.ndarray] = {}

    @property
    def objectives(self) -> tuple[str, ...]:
        """The m objectives' names, in order."""
        return self.source.objectives

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Loaded, or fitted on the training rows, when it is first asked for."""
        if self._tokenizer is None:
            own = getattr(self.source, "world_tokenizer", None)
            self._tokenizer = own() if own else train_bpe(self.source.fit_texts(), self.vocab_size)
        elif isinstance(self._tokenizer, str | Path):
            self._tokenizer = load_tokenizer(self._tokenizer)
        tokenizer: PreTrainedTokenizerFast = self._tokenizer
        return tokenizer

    def setup(self, stage: str) -> None:
        """Encode the rows; what was dropped, and why, is told."""
        self.view = _view_of(self.trainer.lightning_module) if self.trainer is not None else self.view
        for split in ("train", "eval") if stage == "fit" else ("eval",):
            self.source.encoded(self.tokenizer, split, self.view or "pairs")
        self._ref_logps.clear()
        self._pair_rewards.clear()
        if stage == "fit":
            rank_zero_info("\n".join(self.source.report.lines()))

    def take_reference(self, split: str, logps: np.ndarray) -> None:
        """Let the batches of pairs carry the reference policy's log-probs: (n, 2) of `source.table(split)`."""
        self._ref_logps[split] = logps

    def take_rewards(self, split: str, rewards: np.ndarray) -> None:
        """Let the batches of pairs carry what their responses are worth: (n, 2, m) of `source.table(split)`."""
        self._pair_rewards[split] = rewards

    def rewards(self, split: str) -> np.ndarray:
        """(k, m) rewards in [0, 1] of the split's sequences, see the class."""
        if split not in self._rewards:
            self._rewards[split] = self._rewards_of(split)
        return self._rewards[split]

    def train_dataloader(self) -> EpochLoader:
        """Batches of the training rows, epoch after epoch."""
        rows = len(self.source.encoded(self.tokenizer, "train", self._view))
        count = max(1, rows // self.batch_size)
        self.source.use(
            self.tokenizer,
            self._view,
            batch_size=self.batch_size,
            steps=count,
            seed=self.seed,
            **self._carried("train"),
        )
        loader = self.source.train_dataloader()
        if self.trainer is None:
            return EpochLoader(loader, count, lambda: 0)
        loader.shared(self.trainer.global_rank, self.trainer.world_size)
        # The trainer's own count, which its checkpoints hold: a batch that was trained on comes before this one.
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        again = _overfit(self.trainer, count)
        return EpochLoader(
            loader, count, lambda: progress.total.completed % again if again else progress.total.completed
        )

    def val_dataloader(self) -> HeldOut:
        """The held-out rows, once and in order."""
        here, all_of_them = (
            (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        )
        return HeldOut(self.batches("eval"), here, all_of_them)

    def test_dataloader(self) -> HeldOut:
        """The same as for validation: there are two splits."""
        return self.val_dataloader()

    def batches(self, split: str, view: str | None = None, limit: int | None = None) -> list[Any]:
        """A split once, in order; of another view, and not more than `limit` rows, where that is asked."""
        view = view or self._view
        carried = self._carried(split) if view == self.view else {}
        found = self.source.batches(self.tokenizer, split, view, self.batch_size, limit=limit, **carried)
        return list(found)

    @property
    def _view(self) -> str:
        if self.view is None:
            raise UserError(f"data.view is not said: one of {', '.join(VIEWS)}, or fit a module by a Trainer")
        return self.view

    def _carried(self, split: str) -> dict[str, Any]:
        """What batches of the view carry besides texts and labels."""
        if self._view == "pairs":
            carried = {"ref_logps": self._ref_logps, "rewards": self._pair_rewards}
            return {name: known[split] for name, known in carried.items() if split in known}
        return {"rewards": self.rewards(split)} if self._view == "sequences" else {}

    def _rewards_of(self, split: str) -> np.ndarray:
        scores = self._scores(split)
        if scores is None:
            labels = self.source.table(split).labels
            better = np.stack([1 - labels, labels], axis=1).reshape(-1, labels.shape[1])
            return np.where(np.isnan(better), 0.5, better)
        fitted = scores if split == "train" else self._scores("train")
        assert fitted is not None
        low, high = fitted.min(0), fitted.max(0)
        if not (high > low).all():
            raise UserError("rewards: an objective has the same score in all training rows")
        unit: np.ndarray = np.clip((scores - low) / (high - low), 0, 1)
        return unit

    def _scores(self, split: str) -> np.ndarray | None:
        prompts, responses = self.source.sft_rows(split)
        if self._score is not None:
            scores = np.asarray(self._score([readable(each) for each in prompts], responses), dtype=float)
            if scores.shape != (len(prompts), len(self.objectives)) or not np.isfinite(scores).all():
                raise UserError(
                    f"rewards: finite scores of the shape {(len(prompts), len(self.objectives))} are needed, "
                    f"{scores.shape} came"
                )
            return scores
        known = self.source.sequence_rewards(split)
        if known is not None:
            return known
        gold = self.source.gold_rewards()
        return None if gold is None else np.stack([gold[n](prompts, responses) for n in self.objectives], -1)


class EpochLoader:
    """An epoch's batches: those from the place on that the training has come to.

    Args:
        steps: gives batch t for any t.
        count: batches of an epoch.
        place: how many batches have been trained on.
    """

    def __init__(self, steps: StepLoader, count: int, place: Callable[[], int]) -> None:
        self.steps, self.count, self.place = steps, count, place

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        # Asked when the first batch is wanted: a trainer goes on from its checkpoint between that and `iter`.
        first = self.place()
        for step in range(first, first + self.count):
            yield self.steps.batch(step)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the place is the trainer's."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


class HeldOut:
    """Batches that are gone through once; of several processes each has as many, and what is left over none."""

    def __init__(self, batches: Sequence[Any], rank: int = 0, world_size: int = 1) -> None:
        whole = len(batches) // world_size * world_size
        self.batches = batches[rank:whole:world_size] if whole else batches[:1]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def _overfit(trainer: Any, count: int) -> int:
    """Batches that each epoch goes through again, of `count`, where the trainer's `overfit_batches` says so; else 0."""
    asked: int | float = trainer.overfit_batches
    return min(count, int(asked * count) if isinstance(asked, float) else asked)


def _source(
    source: str | Path | PreferenceData,
    labels: Mapping[str, str] | None,
    objectives: Sequence[str] | None,
    options: Mapping[str, Any],
) -> PreferenceData:
    if isinstance(source, PreferenceData):
        if labels or objectives or options:
            raise UserError("labels, objectives and options are those of the data set that was given")
        return source
    name, config = str(source), None
    if name in DATASETS or is_foreign(name):
        config = _made(data_entry(name).config, {"name": name, **options}, name)
        if labels:
            config.labels = dict(labels)
    elif Path(name).exists():
        config = _made(PairsConfig, {"path": name, "labels": dict(labels or {}), **options}, name)
    else:
        raise UserError(
            f"{name}: there is no such file, and no data set of that name; these are {', '.join(DATASETS)}"
        )
    return build(config, objectives)


def _are_texts(labels: Any) -> bool:
    return isinstance(labels, Mapping) and all(
        isinstance(each, str) for pair in labels.items() for each in pair
    )


def _made(kind: type[DataConfig], options: Mapping[str, Any], name: str) -> DataConfig:
    known, given = kind.__dataclass_fields__, dict(options)
    for option, value in options.items():
        if option not in known:
            raise UserError(f"options={{{option!r}: ...}}: {name} has the options {', '.join(known)}")
        try:
            taken: Any = OmegaConf.unsafe_merge(OmegaConf.structured(kind), {option: value})
        except OmegaConfBaseException as error:
            said = str(error).splitlines()[0]
            raise UserError(f"options={{{option!r}: {value!r}}}: {said}") from error
        if isinstance(value, int | float):
            # As files of settings have it: a number where a text is expected is one.
            given[option] = taken[option]
    made = kind(**given)
    check(made, "options: ")
    return made


def _view_of(module: Any) -> str:
    view = getattr(module, "view", None)
    if view not in VIEWS:
        raise UserError(
            f"{type(module).__name__}.view={view!r}: it must say what it is trained on, one of {', '.join(VIEWS)}"
        )
    return str(view)
