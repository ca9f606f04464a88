"""What the callbacks share that sample: when they look, which policies under which preferences, and the scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback

from lightning_moa.batches import moved
from lightning_moa.errors import UserError
from lightning_moa.evaluation import Decoding, joined, sample_grid, score
from lightning_moa.policies import Policy
from lightning_moa.policies.generation import check_decoding, evaluating
from lightning_moa.processes import own_share
from lightning_moa.rewards import Rewards, RuleRewards, as_rewards
from lightning_moa.rewards.base import Rule


class Look(Callback):
    """Looks at what a policy says, every so many updates or at each validation; of a fit that has none, at its end.

    Prompts are the held-out ones of the `Trainer`'s data module, the same at each look, and so is the sampling noise.

    Args:
        rewards: what scores responses: a `Rewards`, or objective -> function (prompts, responses) -> n numbers, higher
            is better; None: the data's own, where they are known (a synthetic world), else nothing is scored.
        every: updates between two looks; None: at each validation, or once at the end.
        prompts: how many.
        max_new_tokens, temperature, top_p: how responses are sampled; temperature 0 is greedy.

    Raises:
        UserError: a value out of range; or, before anything is trained, the `Trainer` has no data module with prompts
            and a tokenizer.
    """

    def __init__(
        self,
        rewards: Rewards | Mapping[str, Rule] | None = None,
        *,
        every: int | None = None,
        prompts: int = 64,
        max_new_tokens: int = 16,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> None:
        if every is not None and every < 1:
            raise UserError(f"every={every}: must be at least 1 update, or None for each validation")
        self._given = None if rewards is None else as_rewards(rewards)
        self.rewards = self._given
        self._of_trainer: Any = None
        if prompts < 1:
            raise UserError(f"prompts={prompts}: must be at least 1")
        check_decoding(max_new_tokens, temperature, top_p)
        self.every = every
        self.prompts = prompts
        self.decoding = Decoding(max_new_tokens, temperature, top_p)
        self.data: Any = None
        """The `TrainingData` whose held-out prompts are sampled to; None: the `Trainer`'s. A study gives its own."""
        self._seen = 0

    @abstractmethod
    def look(self, trainer: L.Trainer, module: Any) -> None:
        """Sample, score, and tell."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        # Those of a former training are not this one's.
        if self.data is None or self.data is self._of_trainer:
            self.data = self._of_trainer = getattr(trainer, "datamodule", None)
        data = self.data
        if not hasattr(data, "source") or not hasattr(data, "tokenizer"):
            raise UserError(
                f"{type(self).__name__}: prompts come from the Trainer's data module, a TrainingData; there is none"
            )
        gold = data.source.gold_rewards() if self._given is None else None
        self.rewards = self._given if gold is None else RuleRewards(gold)

    @property
    def state_key(self) -> str:
        """Several of a kind in one `Trainer` are told apart by when they look, and at what."""
        return self._generate_state_key(every=self.every, prompts=self.prompts, **vars(self.decoding))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Not at the validation's end, when others monitor what is logged here, whichever stands first among callbacks.
        if self.every is None and not trainer.sanity_checking:
            self.look(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.every is None and not trainer.enable_validation:
            self.look(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # An update may be made of several batches, and a rollout have several updates.
        before, self._seen = self._seen, trainer.global_step
        if self.every is not None and self._seen // self.every > before // self.every:
            self.look(trainer, pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._seen = trainer.global_step

    def objectives(self, module: Any) -> tuple[str, ...]:
        """What preferences weigh: the module's objectives, where it knows their names, else what is scored."""
        names = getattr(module, "names", None) or (self.rewards and self.rewards.objectives)
        if not names:
            raise UserError(
                f"{type(module).__name__}: its objectives' names are not known; give objectives=[...]"
            )
        return tuple(names)

    def members(self, policy: Policy, preferences: np.ndarray) -> list[tuple[str, Policy, np.ndarray | None]]:
        """Name, policy and preferences (n, m) of all that can be sampled; None for one that knows no preference."""
        if policy.m:
            return [("policy", policy, preferences)]
        return [(name, member, None) for name, member in policy.members()]

    @torch.no_grad()
    def sampled(
        self, trainer: L.Trainer, module: Any, policy: Policy, preferences: np.ndarray | None
    ) -> pd.DataFrame:
        """Responses as of `sample_grid`, a column `reward_<objective>` for what is scored; of all processes."""
        grid = np.ones((1, 1)) if preferences is None else preferences
        batches = own_share(self.data.batches("eval", "prompts", limit=self.prompts))
        with evaluating(module.policy):
            frame = sample_grid(
                policy,
                (moved(batch, module.device) for batch in batches),
                torch.from_numpy(grid),
                self.decoding,
                self.data.tokenizer,
            )
        return joined(score(frame, {} if self.rewards is None else {"reward": self.rewards}))


def log_numbers(trainer: L.Trainer, values: Mapping[str, float]) -> None:
    """To the loggers, at the update that the training has come to, and to what `EarlyStopping`, `ModelCheckpoint` and
    `StopOnKL` can monitor."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=trainer.global_step)
        logger.save()
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
