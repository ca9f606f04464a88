"""What the objectives share that learn from scored responses, offline and then online.

offline rows -> policies -> online rows -> policies -> ... : a round samples from a method's policies, scores, filters,
and its policies go on training on all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightning_moa.answers import Sections
from lightning_moa.data.encoding import EncodingRules
from lightning_moa.objectives.base import Objective, Plan, Run
from lightning_moa.objectives.settings import SCORED, LikelihoodConfig, OnlineConfig
from lightning_moa.policies.in_prompt import RewardPrompt

if TYPE_CHECKING:
    from lightning_moa.data.scored import Rewrite, ScoredRows

OF_ROWS = ("rows", "unit_map", "power", "z", "z_factor")
"""Settings that the offline rows hang on."""


class ScoredObjective(Objective):
    """Plans the rows, offline and in rounds, and reads them. Children say what is done with a batch of them."""

    sections: ClassVar[Sections] = SCORED
    planning = ("online",)
    view = "sequences"

    @classmethod
    def vocabulary(cls, section: Callable[[str], Any], objectives: Sequence[str]) -> list[str]:
        """Rewards as they stand in prompts: all methods of a study start from one reference policy."""
        m = len(objectives)
        return RewardPrompt.of(section("ric"), objectives, np.zeros(m), np.ones(m)).tokens()

    @classmethod
    def tasks(cls, plan: Plan) -> dict[str, Any]:
        settings: LikelihoodConfig = plan.settings
        # A method's own steps and rate change no rows.
        spec = {"settings": {key: getattr(settings, key) for key in OF_ROWS}}
        function = "lightning_moa.runs.rows:offline_rows"
        return {"rows": plan.task("offline rows", function, spec, plan.scoring(), cost=8)}

    @classmethod
    def policies(cls, plan: Plan) -> list[Any]:
        """Those of the last round."""
        needs = cls.tasks(plan)
        policies = plan.train(needs)
        online: OnlineConfig = plan.section("online")
        for number in range(1, online.rounds + 1):
            spec = {"online": asdict(online), "round": number, "goals": asdict(plan.section("ric"))}
            inputs = {f"policy{i:05d}": task for i, task in enumerate(policies)}
            rows = plan.task(
                f"{plan.name}, online rows {number}",
                "lightning_moa.runs.rows:online_rows",
                {**spec, "in_prompt": cls.in_prompt},
                {**plan.scoring(), **needs, **inputs},
                cost=8,
            )
            needs = {"rows": rows}
            changes = {"steps": online.steps, "lr": online.lr, "schedule": online.schedule}
            policies = plan.train(needs, start=policies, stage=number, **changes)
        return policies

    @classmethod
    def rows(cls, run: Run) -> ScoredRows:
        from lightning_moa.data.scored import ScoredRows

        rules = EncodingRules.of(run.data.config)
        return ScoredRows.read(run.folder("rows"), run.objectives, rules, cls.rewrite(run))

    @classmethod
    def rewrite(cls, run: Run) -> Rewrite | None:
        """What is done to the prompts."""
        return None
