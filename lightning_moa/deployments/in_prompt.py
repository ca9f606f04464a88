"""The preference in the prompt (RiC)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from lightning_moa.deployments.base import Deployed, Deployment, Load, Trained, need_one, shown
from lightning_moa.deployments.trained_on import Rows, TrainedOn, as_rows
from lightning_moa.errors import UserError
from lightning_moa.policies.settings import RiCConfig


@dataclass(frozen=True)
class InPrompt(Deployment):
    """One policy, whose prompts say which rewards are wanted, for each of these preferences.

    Args:
        preferences: (n, m), n >= 1, weights as `RewardPrompt.target_rewards` takes them.

    Raises:
        UserError: none, or one that isn't such weights.
    """

    preferences: Rows

    sections = {"ric": RiCConfig}  # noqa: RUF012

    def __post_init__(self) -> None:
        from lightning_moa.policies.in_prompt import RewardPrompt

        rows = as_rows(self.preferences)
        if not rows or not rows[0]:
            raise UserError("InPrompt: one or more preferences are needed")
        object.__setattr__(self, "preferences", rows)
        names = [f"objective {i}" for i in range(len(rows[0]))]
        for row in rows:
            RewardPrompt(names, [0.0] * len(names), [1.0] * len(names)).target_rewards(row)

    def check(self, trained_on: TrainedOn) -> None:
        need_one(self, trained_on)

    def asked(self, preferences: Sequence[Sequence[float]]) -> Self:
        return replace(self, preferences=as_rows(preferences))

    def policies(self, trained: Trained) -> Iterator[Deployed]:
        import torch

        from lightning_moa.policies import RewardPrompt

        policy = trained.load()
        goals = RewardPrompt.of(trained.section("ric"), trained.objectives, *trained.reward_range())
        goals.check(trained.tokenizer)
        (_, member), *_ = policy.members()
        for row in torch.tensor(self.preferences, dtype=torch.float64):
            rewrite = partial(goals.insert, rewards=goals.target_rewards(row.numpy()))
            yield Deployed(shown(row.tolist(), 3), member, row[None], rewrite=rewrite, ending=goals.before)
        policy.unload()

    def load(self, grid: int, policies: int, members: int) -> Load:
        return Load(passes=len(self.preferences))
